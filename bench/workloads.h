/* The workloads, as a template: a peer_*.c or .cpp defines its allocator and
 * then includes this file, which ends with `main`.
 *
 * It is a template and no table of function pointers, because a call through
 * a pointer costs a tenth of what is measured: here every allocator is called
 * as a program calls it. The peer defines before:
 *
 *   static void *peer_alloc(size_t size);          NULL: none
 *   static void peer_free(void *block);
 *   static uint64_t peer_give(void *block);        for another process
 *   static void *peer_take(uint64_t given);
 *   static const Peer peer;                        see harness.h
 *
 * Sizes and order are computed before the clock starts, from one seed for all
 * peers. The first 8 bytes of each block are written. C11 and C++17.
 */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
  BATCH_BLOCKS = 10000,
  BATCHES = 8,
  STEPS = 1 << 20,     /* of a replacement, then it begins again */
  STEP_SIZE_BITS = 13, /* a step is slot << STEP_SIZE_BITS | size */
  REPLACE_MIN = 16,
  REPLACE_MAX = 4096,
  CHECK_EVERY = 1024, /* operations between two looks at the clock */
  ATTACHES = 1000
};

static uint32_t batch_size[BATCHES][BATCH_BLOCKS];
static uint32_t batch_order[BATCHES][BATCH_BLOCKS];
static uint32_t *replace_steps[MEMBERS_MAX];

/* `volatile` keeps the compiler from dropping a block that nobody reads. */
static inline void *block_new(size_t size, uint64_t tag) {
  void *block = peer_alloc(size);
  if (!block) die("%s: out of memory", peer.name);
  *(volatile uint64_t *)block = tag;
  return block;
}

/* ---- Pairs: allocate and free one block at once -------------------------- */

static void pair_body(const Options *options, uint32_t index, Timer *timer) {
  (void)index;
  for (int timed = 0; timed < 2; timed++) {
    crew_wait();
    timer_start(timer, timed ? options->ms : options->ms / 5, timed ? options->ops : 0);
    do {
      for (uint64_t i = 0; i < CHECK_EVERY; i++) peer_free(block_new(options->size, i));
    } while (timer_more(timer, CHECK_EVERY));
    timer_stop(timer);
  }
}

/* ---- Batches: 10,000 blocks of random sizes, freed in random order ------- */

static void batch_prepare(const Options *options) {
  Random random = {1};
  (void)options;
  for (uint32_t b = 0; b < BATCHES; b++) {
    for (uint32_t i = 0; i < BATCH_BLOCKS; i++) {
      batch_size[b][i] = random_between(&random, 16, 1024);
      batch_order[b][i] = i;
    }
    random_shuffle(&random, batch_order[b], BATCH_BLOCKS);
  }
}

static void batch_body(const Options *options, uint32_t index, Timer *timer) {
  void **live = (void **)pages(BATCH_BLOCKS * sizeof *live);
  for (int timed = 0; timed < 2; timed++) {
    uint32_t b = index;
    crew_wait();
    timer_start(timer, timed ? options->ms : options->ms / 5, timed ? options->ops : 0);
    do {
      const uint32_t *size = batch_size[b % BATCHES];
      const uint32_t *order = batch_order[b % BATCHES];
      for (uint32_t i = 0; i < BATCH_BLOCKS; i++) live[i] = block_new(size[i], i);
      for (uint32_t i = 0; i < BATCH_BLOCKS; i++) peer_free(live[order[i]]);
      b++;
    } while (timer_more(timer, BATCH_BLOCKS));
    timer_stop(timer);
  }
}

/* ---- Replacement: free a random one of the live blocks, allocate another - */

static void replace_prepare(const Options *options) {
  if (options->live < 1 || options->live > 1u << (32 - STEP_SIZE_BITS))
    die("live must be 1 to %u", 1u << (32 - STEP_SIZE_BITS));
  for (uint32_t member = 0; member < options->members; member++) {
    Random random = {member + 1};
    replace_steps[member] = (uint32_t *)pages(STEPS * sizeof(uint32_t));
    for (uint32_t i = 0; i < STEPS; i++) {
      uint32_t slot = random_between(&random, 0, (uint32_t)options->live - 1);
      uint32_t size = random_between(&random, REPLACE_MIN, REPLACE_MAX);
      replace_steps[member][i] = slot << STEP_SIZE_BITS | size;
    }
  }
}

/* The warm-up lets the heap settle, and lets every process meet the pages that
 * the others have filled: each block is replaced ten times on average, or as
 * often as a slow allocator manages in eight times the measured time. */
static void replace_body(const Options *options, uint32_t index, Timer *timer) {
  const uint32_t *steps = replace_steps[index];
  const uint32_t size_mask = (1u << STEP_SIZE_BITS) - 1;
  void **live = (void **)pages((size_t)options->live * sizeof *live);
  uint32_t at = 0;
  for (uint64_t i = 0; i < options->live; i++)
    live[i] = block_new(steps[(STEPS - 1 - i) % STEPS] & size_mask, i);
  for (int timed = 0; timed < 2; timed++) {
    crew_wait();
    timer_start(timer, timed ? options->ms : 8 * options->ms, timed ? options->ops : 0);
    do {
      for (uint32_t i = 0; i < CHECK_EVERY; i++) {
        uint32_t step = steps[at];
        void **slot = &live[step >> STEP_SIZE_BITS];
        at = (at + 1) % STEPS;
        peer_free(*slot);
        *slot = block_new(step & size_mask, at);
      }
    } while (timer_more(timer, CHECK_EVERY) && (timed || timer->ops < 10 * options->live));
    timer_stop(timer);
  }
}

/* ---- One allocates, another frees ---------------------------------------- */

static void produce(const Options *options, Timer *timer, RingEnd *end) {
  uint64_t count = 0;
  timer_start(timer, options->ms, options->ops);
  do {
    const uint32_t *size = batch_size[count / BATCH_BLOCKS % BATCHES];
    for (uint32_t i = 0; i < BATCH_BLOCKS; i++)
      ring_push(end, peer_give(block_new(size[i], count + i)));
    count += BATCH_BLOCKS;
  } while (timer_more(timer, BATCH_BLOCKS));
  ring_push(end, UINT64_MAX);
}

static void consume(Timer *timer, RingEnd *end) {
  uint64_t given, count = 0;
  timer_start(timer, 0, 0);
  while ((given = ring_pop(end)) != UINT64_MAX) {
    void *block = peer_take(given);
    if (*(volatile uint64_t *)block != count++) die("%s: a block was overwritten", peer.name);
    peer_free(block);
  }
  timer->end = clock_ns();
  timer->ops = count;
}

/* Odd members free what the even one before them allocated; one pair has the
 * ring. An operation is one block's whole way. */
static void produce_body(const Options *options, uint32_t index, Timer *timer) {
  RingEnd end = {crew_ring(), 0, 0};
  if (options->members != 2) die("%s needs members=2", options->workload);
  for (int timed = 0; timed < 2; timed++) {
    Options warm = *options;
    warm.ms = timed ? options->ms : options->ms / 5;
    crew_wait();
    if (index == 0) {
      produce(&warm, timer, &end);
    } else {
      consume(timer, &end);
    }
    timer_stop(timer);
  }
}

/* ---- Attach and detach beside a process that holds many blocks ----------- */

static void attach_holder(const Options *options) {
  if (peer.open(options->name, (size_t)options->heap) != 0) die("%s: cannot open", peer.name);
  for (uint64_t i = 0; i < options->live; i++) (void)block_new(options->size, i);
  crew_wait();
  crew_wait();
  peer.close();
}

static int compare_u64(const void *left, const void *right) {
  uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
  return (a > b) - (a < b);
}

/* With `use`, allocate and free once: what a lazy attach would put off. */
static void attach_body(const Options *options, int use, Timer *timer) {
  static uint64_t took[ATTACHES];
  uint64_t done = 0;
  crew_wait();
  timer_start(timer, options->ms, 0);
  do {
    uint64_t start = clock_ns();
    if (peer.open(options->name, (size_t)options->heap) != 0) die("%s: cannot join", peer.name);
    if (use) peer_free(block_new(options->size, done));
    peer.close();
    took[done++] = clock_ns() - start;
  } while (done < ATTACHES && timer_more(timer, 1));
  timer->ops = done;
  timer_stop(timer);
  crew_wait();
  qsort(took, (size_t)done, sizeof *took, compare_u64);
  report(options, &peer, (double)took[done / 2], timer);
}

/* The members here open and close by themselves: a crew of its own. */
static void attach_run(const Options *given, int use) {
  Options options = *given;
  Timer timer;
  options.members = 2;
  if (!peer.shared) die("%s: a private allocator has nothing to attach", peer.name);
  crew_create(&options);
  (void)fflush(stdout);
  pid_t holder = fork();
  if (holder < 0) die("cannot fork");
  if (holder == 0) {
    attach_holder(&options);
    _exit(0);
  }
  attach_body(&options, use, &timer);
  waitpid(holder, NULL, 0);
  shm_unlink(options.name);
}

/* ---- Which, and go ------------------------------------------------------- */

typedef struct Workload {
  const char *name;
  void (*prepare)(const Options *options); /* may be NULL */
  MemberBody *body;
} Workload;

static const Workload workloads[] = {
    {"pair", NULL, pair_body},
    {"batch", batch_prepare, batch_body},
    {"replace", replace_prepare, replace_body},
    {"produce", batch_prepare, produce_body},
};

int main(int argc, char **argv) {
  Options options;
  memset(&options, 0, sizeof options);
  options.members = 1;
  options.ms = 100;
  options.live = 100000;
  options.size = 64;
  options.heap = (uint64_t)2 << 30;
  options_read(&options, argc, argv);
  if (strcmp(options.workload, "attach") == 0 || strcmp(options.workload, "attach_use") == 0) {
    attach_run(&options, options.workload[6] != 0);
    return 0;
  }
  for (size_t i = 0; i < sizeof workloads / sizeof *workloads; i++) {
    if (strcmp(options.workload, workloads[i].name) != 0) continue;
    if (workloads[i].prepare) workloads[i].prepare(&options);
    crew_run(&options, &peer, workloads[i].body);
    Timer total = crew_total(&options);
    report(&options, &peer, (double)total.end / (double)total.ops, &total);
    return 0;
  }
  die("no such workload: %s", options.workload);
}
