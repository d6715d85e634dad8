/* The system's part of the core: one folder per system, chosen here and in os.h. */
#include "os.h"

#if defined(_WIN32)
#include "win32/file.c"
#include "win32/locks.c"
#include "win32/memory.c"
#include "win32/names.c"
#include "win32/process.c"
#else
#include "posix/file.c"
#include "posix/memory.c"
#include "posix/process.c"
#endif
