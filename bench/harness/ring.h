/* A ring: one writer, one reader, of one process or of two. */
#ifndef BENCH_RING_H
#define BENCH_RING_H

#include <sched.h>
#include <stdint.h>

enum { RING_SLOTS = 4096 };

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
static inline void ring_pause(unsigned *turns) {
  if (++*turns > 200) sched_yield();
}

/** Returns  1, or 0: the ring is full. */
static inline int ring_try_push(RingEnd *end, uint64_t value) {
  if (end->mine - end->theirs == RING_SLOTS) {
    end->theirs = __atomic_load_n(&end->ring->tail, __ATOMIC_ACQUIRE);
    if (end->mine - end->theirs == RING_SLOTS) return 0;
  }
  end->ring->slot[end->mine % RING_SLOTS] = value;
  __atomic_store_n(&end->ring->head, ++end->mine, __ATOMIC_RELEASE);
  return 1;
}

/** Returns  1 and the value, or 0: the ring is empty. */
static inline int ring_try_pop(RingEnd *end, uint64_t *value) {
  if (end->mine == end->theirs) {
    end->theirs = __atomic_load_n(&end->ring->head, __ATOMIC_ACQUIRE);
    if (end->mine == end->theirs) return 0;
  }
  *value = end->ring->slot[end->mine % RING_SLOTS];
  __atomic_store_n(&end->ring->tail, ++end->mine, __ATOMIC_RELEASE);
  return 1;
}

static inline void ring_push(RingEnd *end, uint64_t value) {
  unsigned turns = 0;
  while (!ring_try_push(end, value)) ring_pause(&turns);
}

static inline uint64_t ring_pop(RingEnd *end) {
  unsigned turns = 0;
  uint64_t value = 0;
  while (!ring_try_pop(end, &value)) ring_pause(&turns);
  return value;
}

#endif
