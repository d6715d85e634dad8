/* Processes, threads, waiting and waking. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "../os.h"

uint32_t os_process_id(void) { return (uint32_t)getpid(); }

/* Field 22 of the stat file, counted from the bracket after the program's
 * name, which may itself hold spaces and brackets. */
uint32_t os_process_start(void) {
  char text[1024];
  int file = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  ssize_t n = read(file, text, sizeof text - 1);
  (void)close(file);
  if (n <= 0) return 0;
  text[n] = '\0';
  const char *at = strrchr(text, ')');
  if (at == NULL || at[1] != ' ') return 0;
  for (int field = 2; field < 22 && at != NULL; field++) at = strchr(at + 1, ' ');
  return at != NULL ? (uint32_t)strtoull(at + 1, NULL, 10) : 0;
}

/* Not every C library comes with the kernel's headers. Where time_t is wider than
 * the first call for it took, there is a second one. */
enum { TO_WAIT = 0, TO_WAKE = 1 };
#if defined(SYS_futex_time64)
enum { FUTEX_CALL = sizeof(time_t) > sizeof(long) ? SYS_futex_time64 : SYS_futex };
#else
enum { FUTEX_CALL = SYS_futex };
#endif

void os_wait(_Atomic uint32_t *word, uint32_t value, uint32_t milliseconds) {
  int saved = errno;
  struct timespec limit = {(time_t)(milliseconds / 1000), (long)(milliseconds % 1000) * 1000000};
  (void)syscall(FUTEX_CALL, word, TO_WAIT, value, &limit, NULL, 0);
  errno = saved;
}

void os_wake(_Atomic uint32_t *word) {
  int saved = errno;
  (void)syscall(FUTEX_CALL, word, TO_WAKE, 1, NULL, NULL, 0);
  errno = saved;
}

void os_mutex_lock(os_mutex *mutex) { (void)pthread_mutex_lock(mutex); }
void os_mutex_unlock(os_mutex *mutex) { (void)pthread_mutex_unlock(mutex); }
void os_run_once(os_once *once, void (*function)(void)) { (void)pthread_once(once, function); }

void os_on_fork(void (*before)(void), void (*parent)(void), void (*child)(void)) {
  (void)pthread_atfork(before, parent, child);
}

void os_thread_yield(void) { (void)sched_yield(); }

static pthread_key_t exit_key;

void os_on_thread_exit(void (*function)(void *)) { (void)pthread_key_create(&exit_key, function); }
void os_thread_watch(void *value) { (void)pthread_setspecific(exit_key, value); }
