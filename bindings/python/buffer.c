/* psm._buffer.Buffer: bytes of a segment behind Python's buffer protocol.
 *
 * Each exported view pins the guard, so the segment stays mapped beneath it.
 * `exports` and `retired` are changed under the interpreter's lock only.
 */
#include "buffer_abi.h"

#include "guard.h"

typedef struct {
  PyObject_HEAD
  PSMGuard *guard;
  uintptr_t address;
  Py_ssize_t nbytes;
  Py_ssize_t exports;
  int retired;
} Buffer;

static int buffer_init(PyObject *self, PyObject *args, PyObject *kwargs) {
  Buffer *buffer = (Buffer *)self;
  unsigned long long guard;
  unsigned long long address;
  Py_ssize_t nbytes;
  if (buffer->guard != NULL || kwargs != NULL) {
    PyErr_SetString(PyExc_TypeError, "a Buffer comes from a Segment");
    return -1;
  }
  if (!PyArg_ParseTuple(args, "KKn", &guard, &address, &nbytes)) {
    return -1;
  }
  buffer->guard = (PSMGuard *)(uintptr_t)guard;
  buffer->address = (uintptr_t)address;
  buffer->nbytes = nbytes;
  psm_guard_ref(buffer->guard);
  return 0;
}

static void buffer_dealloc(PyObject *self) {
  PyTypeObject *type = Py_TYPE(self);
  freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
  if (((Buffer *)self)->guard != NULL) {
    psm_guard_unref(((Buffer *)self)->guard);
  }
  release(self);
  Py_DECREF((PyObject *)type);
}

static int buffer_get(PyObject *self, Py_buffer *view, int flags) {
  Buffer *buffer = (Buffer *)self;
  view->obj = NULL;
  if (buffer->guard == NULL || buffer->retired) {
    PyErr_SetString(PyExc_BufferError, "the block has been freed");
    return -1;
  }
  if (!psm_guard_take(buffer->guard)) {
    PyErr_SetString(PyExc_BufferError, "the segment is closed");
    return -1;
  }
  if (PyBuffer_FillInfo(view, self, (void *)buffer->address, buffer->nbytes,
                        guard_readonly(buffer->guard), flags) < 0) {
    psm_guard_drop(buffer->guard);
    return -1;
  }
  buffer->exports++;
  return 0;
}

static void buffer_release(PyObject *self, Py_buffer *view) {
  (void)view;
  Buffer *buffer = (Buffer *)self;
  buffer->exports--;
  Py_BEGIN_ALLOW_THREADS
  psm_guard_drop(buffer->guard);
  Py_END_ALLOW_THREADS
}

/* One caller gets True and then frees; until then nobody else can. */
static PyObject *buffer_retire(PyObject *self, PyObject *unused) {
  (void)unused;
  Buffer *buffer = (Buffer *)self;
  int won = !buffer->retired && buffer->exports == 0;
  if (won) {
    buffer->retired = 1;
  }
  return PyBool_FromLong(won);
}

static PyObject *buffer_revive(PyObject *self, PyObject *unused) {
  (void)unused;
  ((Buffer *)self)->retired = 0;
  Py_INCREF(Py_None); /* Py_RETURN_NONE of newer headers leaves this out */
  return Py_None;
}

static PyObject *get_address(PyObject *self, void *unused) {
  (void)unused;
  return PyLong_FromUnsignedLongLong(((Buffer *)self)->address);
}

static PyObject *get_nbytes(PyObject *self, void *unused) {
  (void)unused;
  return PyLong_FromSsize_t(((Buffer *)self)->nbytes);
}

static PyObject *get_exports(PyObject *self, void *unused) {
  (void)unused;
  return PyLong_FromSsize_t(((Buffer *)self)->exports);
}

static PyObject *get_freed(PyObject *self, void *unused) {
  (void)unused;
  return PyBool_FromLong(((Buffer *)self)->retired);
}

static PyMethodDef buffer_methods[] = {
  {"_retire", buffer_retire, METH_NOARGS, NULL},
  {"_revive", buffer_revive, METH_NOARGS, NULL},
  {NULL, NULL, 0, NULL},
};

static PyGetSetDef buffer_getset[] = {
  {"address", get_address, NULL, "int: the address, the same in every member.", NULL},
  {"nbytes", get_nbytes, NULL, "int: bytes.", NULL},
  {"exports", get_exports, NULL, "int: how many views of it are alive.", NULL},
  {"freed", get_freed, NULL, "bool: whether it was freed through this object.", NULL},
  {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot buffer_slots[] = {
  {Py_tp_init, (void *)buffer_init},
  {Py_tp_dealloc, (void *)buffer_dealloc},
  {Py_tp_methods, buffer_methods},
  {Py_tp_getset, buffer_getset},
  {Py_tp_doc, "Bytes of a segment behind the buffer protocol."},
  {Py_bf_getbuffer, (void *)buffer_get},
  {Py_bf_releasebuffer, (void *)buffer_release},
  {0, NULL},
};

static PyType_Spec buffer_spec = {
  .name = "psm._buffer.Buffer",
  .basicsize = sizeof(Buffer),
  .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
  .slots = buffer_slots,
};

static struct PyModuleDef module_def = {
  PyModuleDef_HEAD_INIT,
  .m_name = "psm._buffer",
  .m_size = -1,
};

__attribute__((visibility("default"))) PyMODINIT_FUNC PyInit__buffer(void) {
  PyObject *module = PyModule_Create(&module_def);
  PyObject *type = module == NULL ? NULL : PyType_FromSpec(&buffer_spec);
  if (type == NULL || PyModule_AddObject(module, "Buffer", type) < 0) {
    Py_XDECREF(type);
    Py_XDECREF(module);
    return NULL;
  }
  /* Later than any atexit function of Python: those of others, such as the one
   * that empties multiprocessing's queues, may still need their segments. If
   * there is no room, the kernel notices the end of the process instead. */
  (void)Py_AtExit(psm_guard_close_all);
  return module;
}
