/* The buffer protocol for headers that hide it from limited builds.
 *
 * It joined the limited API in Python 3.11. Interpreters accept its two slots
 * from limited builds since 3.9, and Py_buffer was frozen in 3.11 as it had
 * always been; so one build serves all of them, and it may be made with any.
 */
#ifndef PSM_PYTHON_BUFFER_ABI_H
#define PSM_PYTHON_BUFFER_ABI_H

#include <Python.h>

#if PY_VERSION_HEX < 0x030b0000

typedef struct bufferinfo {
  void *buf;
  PyObject *obj;
  Py_ssize_t len;
  Py_ssize_t itemsize;
  int readonly;
  int ndim;
  char *format;
  Py_ssize_t *shape;
  Py_ssize_t *strides;
  Py_ssize_t *suboffsets;
  void *internal;
} Py_buffer;

PyAPI_FUNC(int) PyBuffer_FillInfo(Py_buffer *view, PyObject *exporter, void *bytes, Py_ssize_t size,
                                  int readonly, int flags);

#define Py_bf_getbuffer 1
#define Py_bf_releasebuffer 2

#endif

#endif /* PSM_PYTHON_BUFFER_ABI_H */
