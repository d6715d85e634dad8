/* What the private allocators have in common: there is nothing to open, and a
 * pointer can only be given to a thread. */
#ifndef BENCH_PRIVATE_H
#define BENCH_PRIVATE_H

#include "harness/crew.h"

static inline uint64_t peer_give(void *block) { return (uint64_t)(uintptr_t)block; }

static inline void *peer_take(uint64_t given) { return (void *)(uintptr_t)given; }

static int private_open(const char *name, size_t bytes) {
  (void)name;
  (void)bytes;
  return 0;
}

static void private_close(void) {}

#endif
