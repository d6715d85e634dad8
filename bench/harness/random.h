/* Random numbers: the same for every allocator. */
#ifndef BENCH_RANDOM_H
#define BENCH_RANDOM_H

#include <math.h>
#include <stdint.h>

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
  return low + (uint32_t)(((random_next(random) >> 32) * ((uint64_t)high - low + 1)) >> 32);
}

/** The same, each power of two as likely as the next. */
static inline uint32_t random_log_between(Random *random, uint32_t low, uint32_t high) {
  double part = (double)(random_next(random) >> 11) * 0x1p-53;
  return (uint32_t)(low * pow((high + 1.0) / low, part));
}

static inline void random_shuffle(Random *random, uint32_t *items, uint32_t count) {
  for (uint32_t i = count; i > 1; i--) {
    uint32_t j = random_between(random, 0, i - 1);
    uint32_t item = items[i - 1];
    items[i - 1] = items[j];
    items[j] = item;
  }
}

#endif
