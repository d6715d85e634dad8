/* What a benchmark program needs besides an allocator: a clock, random
 * numbers, a crew of processes or threads that start together, and a ring.
 *
 * Nothing here allocates from the heap, so that the allocator under test sees
 * only the workload. The header compiles as C11 and as C++17.
 */
#ifndef BENCH_HARNESS_H
#define BENCH_HARNESS_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { MEMBERS_MAX = 64, NAME_MAX_BYTES = 64, RING_SLOTS = 4096 };

/* ---- Options: WORKLOAD and then key=value ------------------------------- */

typedef struct Options {
  const char *workload;
  uint64_t members;          /* processes, or threads of one process */
  uint64_t threads;          /* 1: the members are threads */
  uint64_t ms;               /* how long the timed part lasts */
  uint64_t ops;              /* if not 0: a fixed number of operations instead */
  uint64_t live;             /* blocks that are alive all the time */
  uint64_t size;             /* bytes of a block, where a workload has one size */
  uint64_t heap;             /* bytes of the shared segment */
  char name[NAME_MAX_BYTES]; /* of the shared segment: no directory, no slash */
} Options;

/** Read the command line; `options` holds the defaults. Exits on nonsense. */
void options_read(Options *options, int argc, char **argv);

/* ---- Time ---------------------------------------------------------------- */

static inline uint64_t clock_of(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline uint64_t clock_ns(void) { return clock_of(CLOCK_MONOTONIC); }

/* One member's measurement. Every workload runs until its time is over, not a
 * number of operations: so all members run for the whole of it, and a slow
 * allocator takes no longer than a fast one. */
typedef struct Timer {
  uint64_t ops;
  uint64_t faults; /* pages that the kernel had to supply meanwhile */
  uint64_t cpu;    /* ns that the thread ran: what others took is not in it */
  uint64_t start;
  uint64_t end;
  uint64_t deadline;
  uint64_t ops_limit;
} Timer;

/** Page faults of the calling thread since it began. */
uint64_t faults_so_far(void);

static inline void timer_start(Timer *timer, uint64_t ms, uint64_t ops_limit) {
  timer->ops = 0;
  timer->faults = faults_so_far();
  timer->cpu = clock_of(CLOCK_THREAD_CPUTIME_ID);
  timer->ops_limit = ops_limit;
  timer->start = clock_ns();
  timer->end = timer->start;
  timer->deadline = ops_limit ? UINT64_MAX : timer->start + ms * 1000000u;
}

/** Count `ops` more operations; 0 when it is time to stop. Call it rarely. */
static inline int timer_more(Timer *timer, uint64_t ops) {
  timer->ops += ops;
  timer->end = clock_ns();
  if (timer->ops_limit) return timer->ops < timer->ops_limit;
  return timer->end < timer->deadline;
}

static inline void timer_stop(Timer *timer) {
  timer->cpu = clock_of(CLOCK_THREAD_CPUTIME_ID) - timer->cpu;
  timer->faults = faults_so_far() - timer->faults;
}

/* ---- Random numbers: the same for every allocator ------------------------ */

typedef struct Random {
  uint64_t state;
} Random;

static inline uint64_t random_next(Random *random) {
  uint64_t z = (random->state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

/** A number in low .. high, both included. */
static inline uint32_t random_between(Random *random, uint32_t low, uint32_t high) {
  return low + (uint32_t)(((random_next(random) >> 32) * (uint64_t)(high - low + 1)) >> 32);
}

void random_shuffle(Random *random, uint32_t *items, uint32_t count);

/* ---- A ring: one writer, one reader, of one process or of two ------------ */

typedef struct Ring {
  uint64_t head __attribute__((aligned(64))); /* written by the writer */
  uint64_t tail __attribute__((aligned(64))); /* written by the reader */
  uint64_t slot[RING_SLOTS] __attribute__((aligned(64)));
} Ring;

typedef struct RingEnd {
  Ring *ring;
  uint64_t mine;   /* own position */
  uint64_t theirs; /* the other's position when last looked at */
} RingEnd;

/** Spin for a while, then let another run: there may be fewer cores than members. */
void ring_pause(unsigned *turns);

static inline void ring_push(RingEnd *end, uint64_t value) {
  unsigned turns = 0;
  while (end->mine - end->theirs == RING_SLOTS) {
    end->theirs = __atomic_load_n(&end->ring->tail, __ATOMIC_ACQUIRE);
    if (end->mine - end->theirs == RING_SLOTS) ring_pause(&turns);
  }
  end->ring->slot[end->mine % RING_SLOTS] = value;
  __atomic_store_n(&end->ring->head, ++end->mine, __ATOMIC_RELEASE);
}

static inline uint64_t ring_pop(RingEnd *end) {
  unsigned turns = 0;
  while (end->mine == end->theirs) {
    end->theirs = __atomic_load_n(&end->ring->head, __ATOMIC_ACQUIRE);
    if (end->mine == end->theirs) ring_pause(&turns);
  }
  uint64_t value = end->ring->slot[end->mine % RING_SLOTS];
  __atomic_store_n(&end->ring->tail, ++end->mine, __ATOMIC_RELEASE);
  return value;
}

/* ---- The crew ------------------------------------------------------------ */

typedef struct Peer {
  const char *name;
  const char *(*version)(void);
  int shared;                                  /* 1: processes can share it */
  int (*open)(const char *name, size_t bytes); /* once in each process; 0 = OK */
  void (*close)(void);
} Peer;

/* What a member does: prepare, crew_wait, then the timed part. */
typedef void MemberBody(const Options *options, uint32_t index, Timer *timer);

/** The barrier, the timers and the ring, before any member exists. */
void crew_create(const Options *options);

/** Run all members to their end. Exits if one of them fails. */
void crew_run(const Options *options, const Peer *peer, MemberBody *body);

/** The sum of all members' timers: its end is the sum of their times. */
Timer crew_total(const Options *options);

/** Wait until all members are here. */
void crew_wait(void);

/** The ring that the members share. */
Ring *crew_ring(void);

/* ---- Memory, failure, results -------------------------------------------- */

/** Zeroed memory that is no heap's. Inherited by fork; never given back. */
void *pages(size_t bytes);

void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/** Print one line of JSON. `ns` is an operation's time as one member sees it. */
void report(const Options *options, const Peer *peer, double ns, const Timer *total);

#ifdef __cplusplus
}
#endif

#endif
