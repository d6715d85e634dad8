/* Replay what a program allocated (trace/record.c), again and again.
 *
 * With one member a block is freed where the trace frees it. With several each member plays the
 * whole trace, and hands each block that is to be freed to the next member, which frees it. An
 * operation is one allocation and its free.
 */
#include "trace/format.h"

typedef struct Replay {
  const TraceHeader *trace;
  const uint64_t *records;
  void **slot;
  RingEnd out, in; /* to the next member, from the one before */
  int alone;
} Replay;

static const TraceHeader *replay_trace;

/* A slot is allocated when it is free, and freed when it is not. */
static void replay_check(const TraceHeader *trace) {
  const uint64_t *records = (const uint64_t *)(trace + 1);
  unsigned char *taken = (unsigned char *)pages((size_t)trace->slots);
  for (uint64_t i = 0; i < trace->records; i++) {
    uint32_t slot = trace_slot(records[i]);
    if (slot >= trace->slots || taken[slot] != trace_is_free(records[i]))
      die("the trace contradicts itself at record %llu", (unsigned long long)i);
    taken[slot] ^= 1;
  }
  munmap(taken, (size_t)trace->slots);
}

static void replay_load(const Options *options) {
  struct stat status;
  int file = options->file ? open(options->file, O_RDONLY) : -1;
  if (file < 0 || fstat(file, &status) != 0) die("cannot open the trace: give file=PATH");
  size_t length = (size_t)status.st_size;
  void *mapped = length < sizeof(TraceHeader)
                     ? MAP_FAILED
                     : mmap(NULL, length, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file, 0);
  replay_trace = (const TraceHeader *)mapped;
  if (mapped == MAP_FAILED || replay_trace->magic != TRACE_MAGIC ||
      length != sizeof(TraceHeader) + replay_trace->records * sizeof(uint64_t))
    die("not a whole trace: %s", options->file);
  replay_check(replay_trace);
  close(file);
}

static void replay_drain(Replay *replay) {
  uint64_t given = 0;
  while (ring_try_pop(&replay->in, &given)) peer_free(peer_take(given));
}

static void replay_hand_on(Replay *replay, void *block) {
  unsigned turns = 0;
  while (!ring_try_push(&replay->out, peer_give(block))) {
    replay_drain(replay);
    ring_pause(&turns);
  }
}

static inline void replay_free(Replay *replay, uint32_t slot) {
  void *block = replay->slot[slot];
  replay->slot[slot] = NULL;
  if (replay->alone) {
    peer_free(block);
  } else {
    replay_hand_on(replay, block);
  }
}

static int replay_once(Replay *replay, Timer *timer) {
  uint64_t allocations = 0, look = timer->chunk;
  int more = 1;
  for (uint64_t i = 0; more && i < replay->trace->records; i++) {
    uint64_t record = replay->records[i];
    if (trace_is_free(record)) {
      replay_free(replay, trace_slot(record));
    } else {
      replay->slot[trace_slot(record)] = block_new(trace_size(record), i);
      allocations++;
    }
    if (i >= look) {
      if (!replay->alone) replay_drain(replay);
      more = timer_more(timer, allocations);
      allocations = 0;
      look = i + timer->chunk;
    }
  }
  for (uint32_t slot = 0; slot < replay->trace->slots; slot++)
    if (replay->slot[slot]) replay_free(replay, slot);
  return timer_more(timer, allocations) && more;
}

/* Nobody may end while another waits for room in a ring. */
static void replay_finish(Replay *replay, uint32_t *working) {
  unsigned turns = 0;
  if (replay->alone) return;
  __atomic_sub_fetch(working, 1, __ATOMIC_ACQ_REL);
  while (__atomic_load_n(working, __ATOMIC_ACQUIRE) > 0) {
    replay_drain(replay);
    ring_pause(&turns);
  }
  replay_drain(replay);
}

static uint32_t *replay_working; /* members not yet done, of the warm-up and of the timed part */

static void replay_body(const Options *options, uint32_t index, Timer *timer) {
  uint32_t next = (index + 1) % (uint32_t)options->members;
  Replay replay = {replay_trace,
                   (const uint64_t *)(replay_trace + 1),
                   (void **)pages((replay_trace->slots + 1) * sizeof(void *)),
                   {crew_ring(index), 0, 0},
                   {crew_ring(index), 0, 0},
                   options->members == 1};
  replay.out.ring = crew_ring(next);
  for (int timed = 0; timed < 2; timed++) {
    crew_wait();
    timer_start(timer, timed ? options->ms : options->warm_ms, part_ops(options, timed));
    while (replay_once(&replay, timer) && timed) continue; /* the warm-up is the trace once */
    timer_stop(timer);
    replay_finish(&replay, &replay_working[timed]);
  }
}

static void replay_run(Options *options) {
  replay_load(options);
  replay_working = (uint32_t *)pages_shared(2 * sizeof *replay_working);
  replay_working[0] = replay_working[1] = (uint32_t)options->members;
  crew_run(options, &peer, replay_body);
  report_crew(options, &peer);
}
