/* What all workloads do with a block. */
#ifndef BENCH_BLOCKS_H
#define BENCH_BLOCKS_H

enum { CHECK_EVERY = 64 }; /* blocks of a preparation between two looks at the clock */

/* `volatile` keeps the compiler from dropping a block that nobody reads. A
 * block of fewer than 8 bytes has room for 8 in all allocators here. */
static inline void *block_new(size_t size, uint64_t tag) {
  void *block = peer_alloc(size);
  if (!block) cannot("no memory for a block of %zu bytes", size);
  *(volatile uint64_t *)block = tag;
  return block;
}

static uint32_t size_draw(const Options *options, Random *random) {
  uint32_t low = (uint32_t)options->min, high = (uint32_t)options->max;
  return options->log ? random_log_between(random, low, high) : random_between(random, low, high);
}

/** The warm-up before a timed part: a fifth of its time. */
static uint64_t part_ms(const Options *options, int timed) {
  return timed ? options->ms : options->ms / 5;
}

/** A number of operations, if there is one, is for the timed part. */
static uint64_t part_ops(const Options *options, int timed) { return timed ? options->ops : 0; }

#endif
