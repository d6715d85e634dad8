/* The types of the contract, on POSIX systems. */
#ifndef PSM_OS_TYPES_H
#define PSM_OS_TYPES_H

#include <pthread.h>

typedef int os_file;
typedef pthread_mutex_t os_mutex;
typedef pthread_once_t os_once;

enum { OS_NO_FILE = -1, OS_PATH_MAX = 4096 };
#define OS_MUTEX_INIT PTHREAD_MUTEX_INITIALIZER
#define OS_ONCE_INIT  PTHREAD_ONCE_INIT

#endif
