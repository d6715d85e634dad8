/* The types of the contract, on Windows 10 and later. */
#ifndef PSM_OS_TYPES_H
#define PSM_OS_TYPES_H

#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#ifndef NOMINMAX
#define NOMINMAX
#endif
#undef _WIN32_WINNT
#define _WIN32_WINNT 0x0A00
#include <windows.h>

typedef HANDLE os_file;
typedef SRWLOCK os_mutex;
typedef INIT_ONCE os_once;

#define OS_NO_FILE INVALID_HANDLE_VALUE
enum { OS_PATH_MAX = 4096 }; /* bytes of UTF-8 */
#define OS_MUTEX_INIT SRWLOCK_INIT
#define OS_ONCE_INIT  INIT_ONCE_STATIC_INIT

#endif
