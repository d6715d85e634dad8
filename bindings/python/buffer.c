/* psm._buffer: bytes of a segment behind Python's buffer protocol.
 *
 * A Buffer is a place in a segment. Each view of it holds an Export, an object
 * that lives exactly as long as the view: it pins the guard, so the segment
 * stays mapped, and it is counted, so the block is not freed beneath it. The
 * view names the Export, not the Buffer, as its owner. Some takers of buffers
 * (numpy.ndarray, torch.frombuffer) release a view at once, keep its owner and
 * go on using the memory; they hold the Export then, and are safe as well.
 *
 * A Buffer is *retired* by who frees it. An Export is counted first and looks
 * for that then; who retires looks for Exports then: one of them sees the other.
 * Nothing here relies on the interpreter's lock.
 */
#include "buffer_abi.h"

#include <stdatomic.h>

#include "guard.h"
#include "views.h"

/* This bit sets PyBUF_ANY_CONTIGUOUS apart from all other kinds of request. */
#define ANY_CONTIGUOUS 0x80

typedef struct {
  PyObject_HEAD
  PyObject *segment; /* it refers to no Buffer, so there can be no cycle */
  PSMGuard *guard;
  uintptr_t address;
  Py_ssize_t nbytes;
  uint64_t key; /* of views.h, if it is a Block; 0: its views keep no block */
  _Atomic int retired;
  _Atomic int pinned; /* by the Buffer itself, until it goes */
} Buffer;

typedef struct {
  PyObject_HEAD
  Buffer *buffer;
} Export;

static PyTypeObject *buffer_type;
static PyTypeObject *export_type;

static void object_free(PyObject *self) {
  PyTypeObject *type = Py_TYPE(self);
  freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
  release(self);
  Py_DECREF((PyObject *)type);
}

/* ---- Export --------------------------------------------------------------- */

/* Counts a view out, and frees the block if it was the last that this waited for. */
static int buffer_uncount(Buffer *buffer) {
  int code = PSM_OK;
  if (buffer->key != 0 && psm_views_remove(buffer->key)) {
    code = psm_guard_free_pinned(buffer->guard, (void *)buffer->address);
  }
  psm_guard_drop(buffer->guard);
  return code;
}

static void export_dealloc(PyObject *self) {
  Buffer *buffer = ((Export *)self)->buffer;
  PyObject *type, *value, *trace;
  int code;
  PyErr_Fetch(&type, &value, &trace);
  Py_BEGIN_ALLOW_THREADS
  code = buffer_uncount(buffer);
  Py_END_ALLOW_THREADS
  if (code != PSM_OK) { /* nobody is left to raise it to */
    PyErr_SetString(PyExc_OSError, PSMerrorString(code));
    PyErr_WriteUnraisable((PyObject *)buffer);
  }
  PyErr_Restore(type, value, trace);
  Py_DECREF((PyObject *)buffer);
  object_free(self);
}

/* Only export_new makes them. */
static PyObject *export_refuse(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
  (void)type;
  (void)args;
  (void)kwargs;
  PyErr_SetString(PyExc_TypeError, "an Export comes from a view of a Block");
  return NULL;
}

static PyObject *export_buffer(PyObject *self, void *unused) {
  (void)unused;
  PyObject *buffer = (PyObject *)((Export *)self)->buffer;
  Py_INCREF(buffer);
  return buffer;
}

static int export_get(PyObject *self, Py_buffer *view, int flags) {
  Buffer *buffer = ((Export *)self)->buffer;
  return PyBuffer_FillInfo(view, self, (void *)buffer->address, buffer->nbytes,
                           guard_readonly(buffer->guard), flags);
}

static PyGetSetDef export_getset[] = {
  {"buffer", export_buffer, NULL, "Buffer: what this is a view of.", NULL},
  {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot export_slots[] = {
  {Py_tp_new, (void *)export_refuse},
  {Py_tp_dealloc, (void *)export_dealloc},
  {Py_tp_getset, export_getset},
  {Py_tp_doc, "What keeps the memory of one view; memoryview(...).obj is one."},
  {Py_bf_getbuffer, (void *)export_get},
  {0, NULL},
};

static PyType_Spec export_spec = {
  .name = "psm._buffer.Export",
  .basicsize = sizeof(Export),
  .flags = Py_TPFLAGS_DEFAULT,
  .slots = export_slots,
};

static int buffer_refuse(const char *why) {
  PyErr_SetString(PyExc_BufferError, why);
  return 0;
}

/* Counts a view in, and pins the guard; 0 with an exception set. */
static int buffer_count(Buffer *buffer) {
  int status;
  if (!psm_guard_take(buffer->guard)) {
    return buffer_refuse("the segment is closed");
  }
  status = buffer->key != 0 ? psm_views_add(buffer->key) : 0;
  if (status == 0 && !atomic_load(&buffer->retired)) {
    return 1;
  }
  if (status == 0) {
    (void)buffer_uncount(buffer);
  } else {
    psm_guard_drop(buffer->guard);
  }
  if (status == PSM_VIEWS_NO_MEMORY) {
    PyErr_NoMemory();
    return 0;
  }
  return buffer_refuse("the block has been freed");
}

/* An Export that is counted and pinned; NULL with an exception set. */
static PyObject *export_new(Buffer *buffer) {
  allocfunc allocate = (allocfunc)PyType_GetSlot(export_type, Py_tp_alloc);
  if (buffer->guard == NULL) {
    buffer_refuse("the block has been freed");
    return NULL;
  }
  if (!buffer_count(buffer)) {
    return NULL;
  }
  Export *made = (Export *)allocate(export_type, 0);
  if (made == NULL) {
    (void)buffer_uncount(buffer);
    return NULL;
  }
  Py_INCREF((PyObject *)buffer);
  made->buffer = buffer;
  return (PyObject *)made;
}

/* ---- Buffer --------------------------------------------------------------- */

static int buffer_init(PyObject *self, PyObject *args, PyObject *kwargs) {
  Buffer *buffer = (Buffer *)self;
  PyObject *segment;
  unsigned long long guard;
  unsigned long long address;
  Py_ssize_t nbytes;
  if (buffer->guard != NULL || kwargs != NULL) {
    PyErr_SetString(PyExc_TypeError, "a Buffer comes from a Segment");
    return -1;
  }
  if (!PyArg_ParseTuple(args, "OKKn", &segment, &guard, &address, &nbytes)) {
    return -1;
  }
  Py_INCREF(segment);
  buffer->segment = segment;
  buffer->guard = (PSMGuard *)(uintptr_t)guard;
  buffer->address = (uintptr_t)address;
  buffer->nbytes = nbytes;
  buffer->key = Py_TYPE(self) == buffer_type ? 0 : psm_views_key(buffer->address);
  psm_guard_ref(buffer->guard);
  return 0;
}

static void buffer_dealloc(PyObject *self) {
  Buffer *buffer = (Buffer *)self;
  if (atomic_load(&buffer->pinned)) {
    Py_BEGIN_ALLOW_THREADS
    psm_guard_drop(buffer->guard);
    Py_END_ALLOW_THREADS
  }
  if (buffer->guard != NULL) {
    psm_guard_unref(buffer->guard);
  }
  Py_XDECREF(buffer->segment);
  object_free(self);
}

static int buffer_get(PyObject *self, Py_buffer *view, int flags) {
  Buffer *buffer = (Buffer *)self;
  view->obj = NULL;
  PyObject *owner = export_new(buffer);
  if (owner == NULL) {
    return -1;
  }
  int status = export_get(owner, view, flags);
  /* numpy.ndarray(..., buffer=this) asks so, and keeps this object in place of
   * the view's owner: from now on the mapping has to last as long as it does. */
  if (status == 0 && (flags & ANY_CONTIGUOUS) && !atomic_exchange(&buffer->pinned, 1)) {
    psm_guard_take_more(buffer->guard);
  }
  Py_DECREF(owner); /* the view has its own reference */
  return status;
}

/* It is never called, as views belong to their Export; but NumPy and others
 * take a type without it for one whose memory needs no care. */
static void buffer_release(PyObject *self, Py_buffer *view) {
  (void)self;
  (void)view;
}

static int buffer_win(Buffer *buffer) {
  int living = 0;
  return atomic_compare_exchange_strong(&buffer->retired, &living, 1);
}

/* One caller gets True and then frees; until then nobody else can. */
static PyObject *buffer_retire(PyObject *self, PyObject *unused) {
  (void)unused;
  Buffer *buffer = (Buffer *)self;
  int won = buffer_win(buffer);
  if (won && psm_views_count(buffer->key) != 0) {
    atomic_store(&buffer->retired, 0);
    won = 0;
  }
  return PyBool_FromLong(won);
}

/* True: the caller frees; False: the last view does; None: it is freed already. */
static PyObject *buffer_retire_later(PyObject *self, PyObject *unused) {
  (void)unused;
  Buffer *buffer = (Buffer *)self;
  int status = buffer_win(buffer) ? psm_views_end(buffer->key) : PSM_VIEWS_ENDING;
  if (status == PSM_VIEWS_ENDING) {
    Py_INCREF(Py_None); /* Py_RETURN_NONE of newer headers leaves this out */
    return Py_None;
  }
  return PyBool_FromLong(status);
}

static PyObject *buffer_revive(PyObject *self, PyObject *unused) {
  (void)unused;
  atomic_store(&((Buffer *)self)->retired, 0);
  Py_INCREF(Py_None);
  return Py_None;
}

static PyObject *get_segment(PyObject *self, void *unused) {
  (void)unused;
  PyObject *segment = ((Buffer *)self)->segment;
  segment = segment == NULL ? Py_None : segment;
  Py_INCREF(segment);
  return segment;
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
  return PyLong_FromUnsignedLongLong(psm_views_count(((Buffer *)self)->key));
}

static PyObject *get_freed(PyObject *self, void *unused) {
  (void)unused;
  return PyBool_FromLong(atomic_load(&((Buffer *)self)->retired));
}

static PyMethodDef buffer_methods[] = {
  {"_retire", buffer_retire, METH_NOARGS, NULL},
  {"_retire_later", buffer_retire_later, METH_NOARGS, NULL},
  {"_revive", buffer_revive, METH_NOARGS, NULL},
  {NULL, NULL, 0, NULL},
};

static PyGetSetDef buffer_getset[] = {
  {"segment", get_segment, NULL, "Segment: what it belongs to.", NULL},
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

/* For who frees by address: views(address) -> int. */
static PyObject *module_views(PyObject *module, PyObject *address) {
  (void)module;
  unsigned long long block = PyLong_AsUnsignedLongLong(address);
  if (PyErr_Occurred() != NULL) {
    return NULL;
  }
  return PyLong_FromUnsignedLongLong(psm_views_count(psm_views_key((uintptr_t)block)));
}

static PyMethodDef module_methods[] = {
  {"views", module_views, METH_O, "How many views this process has of the block at an address."},
  {NULL, NULL, 0, NULL},
};

/* ---- The module ----------------------------------------------------------- */

static int add_type(PyObject *module, const char *name, PyType_Spec *spec, PyObject **type) {
  *type = PyType_FromSpec(spec);
  if (*type == NULL) {
    return -1;
  }
  Py_INCREF(*type); /* the module takes one, and the file keeps one */
  if (PyModule_AddObject(module, name, *type) < 0) {
    Py_DECREF(*type);
    return -1;
  }
  return 0;
}

/* Guards and types belong to the process, so one interpreter may have them. */
static int module_exec(PyObject *module) {
  if (PyInterpreterState_GetID(PyInterpreterState_Get()) != 0) {
    PyErr_SetString(PyExc_ImportError,
                    "psm cannot be imported in a subinterpreter; use it in the main interpreter, "
                    "or in processes");
    return -1;
  }
  if (add_type(module, "Export", &export_spec, (PyObject **)&export_type) < 0 ||
      add_type(module, "Buffer", &buffer_spec, (PyObject **)&buffer_type) < 0) {
    return -1;
  }
  psm_views_begin();
  /* Later than any atexit function of Python: those of others, such as the one
   * that empties multiprocessing's queues, may still need their segments. If
   * there is no room, the kernel notices the end of the process instead. */
  (void)Py_AtExit(psm_guard_close_all);
  return 0;
}

static PyModuleDef_Slot module_slots[] = {
  {Py_mod_exec, (void *)module_exec},
  {0, NULL},
};

static struct PyModuleDef module_def = {
  PyModuleDef_HEAD_INIT,
  .m_name = "psm._buffer",
  .m_methods = module_methods,
  .m_slots = module_slots,
};

__attribute__((visibility("default"))) PyMODINIT_FUNC PyInit__buffer(void) {
  return PyModuleDef_Init(&module_def);
}
