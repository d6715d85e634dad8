/* Clocks, and one member's measurement. */
#ifndef BENCH_TIMER_H
#define BENCH_TIMER_H

#include <stdint.h>
#include <sys/resource.h>
#include <time.h>

#include "harness/failure.h"

static inline uint64_t clock_of(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline uint64_t clock_ns(void) { return clock_of(CLOCK_MONOTONIC); }

/** Page faults of the calling thread since it began. */
static inline uint64_t faults_so_far(void) {
  struct rusage usage;
  getrusage(RUSAGE_THREAD, &usage);
  return (uint64_t)usage.ru_minflt + (uint64_t)usage.ru_majflt;
}

enum { TIMER_CHUNK_MIN = 16, TIMER_CHUNK_MAX = 1024, TIMER_LOOK_NS = 10000000 };

/* Every workload runs until its time is over, not a number of operations: so
 * all members run for the whole of it, and a slow allocator takes no longer
 * than a fast one. All times are ns. */
typedef struct Timer {
  uint64_t ops;
  uint32_t chunk;  /* operations until the next look at the clock */
  uint64_t faults; /* pages that the kernel had to supply meanwhile */
  uint64_t cpu;    /* that the thread ran: what others took is not in it */
  uint64_t start;
  uint64_t end;
  uint64_t deadline;
  uint64_t ops_limit;
} Timer;

static inline void timer_start(Timer *timer, uint64_t ms, uint64_t ops_limit) {
  timer->ops = 0;
  timer->chunk = ops_limit ? TIMER_CHUNK_MAX : TIMER_CHUNK_MIN;
  timer->faults = faults_so_far();
  timer->cpu = clock_of(CLOCK_THREAD_CPUTIME_ID);
  timer->ops_limit = ops_limit;
  timer->start = clock_ns();
  timer->end = timer->start;
  timer->deadline = ops_limit ? UINT64_MAX : timer->start + ms * 1000000u;
}

/** Count `ops` more operations; 0 when it is time to stop. Call it every `chunk` operations: that
 *  is often for a slow allocator, so that it ends in time, and rarely for a fast one. */
static inline int timer_more(Timer *timer, uint64_t ops) {
  uint64_t now = clock_ns(), took = now - timer->end;
  timer->ops += ops;
  timer->end = now;
  if (timer->ops_limit) return timer->ops < timer->ops_limit;
  if (took > TIMER_LOOK_NS)
    timer->chunk = TIMER_CHUNK_MIN;
  else if (timer->chunk < TIMER_CHUNK_MAX)
    timer->chunk *= 2;
  return timer->end < timer->deadline;
}

static inline void timer_stop(Timer *timer) {
  timer->cpu = clock_of(CLOCK_THREAD_CPUTIME_ID) - timer->cpu;
  timer->faults = faults_so_far() - timer->faults;
}

/** For a preparation: end with `cannot` if it takes longer than `ms`. */
static inline void setup_check(uint64_t began, uint64_t ms, uint64_t done, uint64_t wanted) {
  if (clock_ns() - began > ms * 1000000u)
    cannot("too slow: %.0f %% ready after %.0f s", 100.0 * (double)done / (double)wanted,
           (double)ms / 1000);
}

#endif
