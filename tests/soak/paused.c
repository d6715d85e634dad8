/* The core with pauses: before a word of the segment is changed, the thread may sleep for a moment.
 *
 * Kills, and other threads, then come between any two stores, where they would come once in a
 * million times otherwise. Nothing else differs from the library.
 */
#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64
#include <errno.h>
#include <stdint.h>
#include <time.h>

enum { PAUSE_BITS = 7, PAUSE_MAX_NS = 300000 };

static _Thread_local uint32_t pause_state;

static void dawdle(void) {
  struct timespec t = {0, 0};
  if (pause_state == 0) {
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    pause_state = (uint32_t)t.tv_nsec | 1;
  }
  pause_state ^= pause_state << 13;
  pause_state ^= pause_state >> 17;
  pause_state ^= pause_state << 5;
  if (pause_state >> (32 - PAUSE_BITS) != 0) return;
  int saved = errno;
  t = (struct timespec){0, (long)(pause_state % PAUSE_MAX_NS)};
  (void)nanosleep(&t, NULL);
  errno = saved;
}

#define AT_STORE_HOOK dawdle
#include "psm.c"
