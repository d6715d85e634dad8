/* soak [KILLS [SEED]]: a storm of SIGKILLs over processes that share a segment.
 *
 * Eight workers of two threads each allocate, free each other's blocks, fork, join and leave.
 * The supervisor kills them at random moments, starts others, and every few kills has all that
 * live stop between two calls and looks where every block is (oracle.c). The storm has four
 * phases, each with a segment of its own kind. Exit status: 0 ok, 1 something failed.
 *
 * Orphans come to the supervisor, the subreaper; it knows every process by a pidfd, so that it
 * never hits another one. Whatever the end is, no process and no file is left.
 */
#include "supervisor.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#define KIB ((uint64_t)1024)
#define MIB ((uint64_t)1024 * 1024)

static const struct phase {
  const char *text;
  uint64_t size;
  uint32_t places;
  uint64_t cap; /* bytes: how large blocks get */
} phases[] = {
    {"tight, units of 4 KiB", 768 * KIB, 1024, 16 * KIB},
    {"roomy, units of 16 KiB", 16 * MIB, 1024, 48 * KIB},
    {"tight, units of 16 KiB", 5 * MIB, 1536, 64 * KIB},
    {"roomy, units of 64 KiB", 72 * MIB, 1024, 150 * KIB},
};
enum { PHASES = sizeof phases / sizeof *phases };

struct supervisor run;

static char path[128];
static volatile sig_atomic_t interrupted;
static uint64_t seed_given;

/* ---- The end ---- */

void give_up(void) {
  for (int i = 0; i < 2000 && arena->failed == 1; i++) sleep_us(1000);
  if (!all_gone()) printf("some processes cannot be killed\n");
  if (path[0] != '\0') (void)unlink(path);
  printf("FAILED after %llu kills, seed %llu: %s\n", (unsigned long long)run.kills_sent,
         (unsigned long long)seed_given, arena->failure);
  fflush(NULL);
  _exit(1);
}

static void interrupt(int signal) { interrupted = signal; }

static void overdue(int signal) {
  (void)signal;
  fail("the supervisor hangs, in the examination of halt %u", arena->halt);
}

void check_interrupt(void) {
  if (interrupted != 0) fail("interrupted by signal %d", (int)interrupted);
}

void join_segment(void) {
  PSMOptions any = {0, NULL, 0, PSM_OPEN_JOIN};
  if (PSMopen(arena->name, &any, &handle) != 0)
    fail("the supervisor cannot join: %s", PSMerrorString(PSMlastError()));
}

/* ---- Phases ---- */

static void segment_begin(const struct phase *phase, int number) {
  PSMOptions options = {phase->size, NULL, 0, PSM_OPEN_EXCLUSIVE};
  if (!run.member) options.flags |= PSM_OPEN_KEEP;
  snprintf(arena->name, sizeof arena->name, "shm:psm-soak-%d-%d", (int)getpid(), number);
  snprintf(path, sizeof path, "/dev/shm/%s", arena->name + 4);
  arena->size = phase->size;
  arena->places = phase->places;
  arena->cap = phase->cap;
  arena->seed = run.seed;
  arena->inside = 0;
  if (PSMopen(arena->name, &options, &handle) != 0)
    fail("no segment: %s", PSMerrorString(PSMlastError()));
  arena->base = (uintptr_t)handle;
  world = PSMcalloc(handle, 1, sizeof *world);
  if (world == NULL) fail("no room for the tables");
  *(void **)PSMgetUser(handle) = world;
  arena->claims[offset_of(world) / GRAIN] = CLAIM_WORLD;
}

static void table_clear(_Atomic uint64_t *places, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    if (is_block(places[i])) {
      uint64_t offset = offset_of((void *)(uintptr_t)places[i]);
      *claim_at(offset) = 0;
      PSMclearError();
      PSMfree(handle, block_at(offset));
      if (PSMlastError() != 0) fail("what is in the table cannot be freed");
    }
    places[i] = 0;
  }
}

static void segment_end(void) {
  arena->claims[offset_of(world) / GRAIN] = 0;
  PSMfree(handle, world);
  PSMBlock block = {NULL, 0};
  if (PSMwalk(handle, &block) != 0) fail("a block is left");
  PSMdeinit(handle);
  if (run.member && access(path, F_OK) == 0) fail("the last one to leave has not removed the file");
  (void)unlink(path);
}

static void phase_run(const struct phase *phase, int number, uint64_t until) {
  struct {
    uint64_t units, blocks;
  } before, after;
  PSMStat stat;
  run.member = below(&run.seed, 2) == 0;
  segment_begin(phase, number);
  if (PSMstat(handle, &stat) != 0) fail("PSMstat failed");
  uint64_t size = stat.small_max / 64 + below(&run.seed, stat.small_max * 63 / 64);
  before.units = capacity(stat.unit);
  before.blocks = capacity(size);
  printf("%s: %llu units%s\n", phase->text, (unsigned long long)before.units,
         run.member ? "" : "; the supervisor is no member");
  if (!run.member) PSMdeinit(handle);
  arena->lease = now_ns();
  halt_set(0);
  storm(until);
  everybody_leaves();
  table_clear(world->table, TABLE);
  table_clear(world->places, PLACES);
  table_clear(world->races, RACES);
  examine_end();
  after.units = capacity(stat.unit);
  if (after.units != before.units)
    fail("%llu units are to be had, there were %llu", (unsigned long long)after.units,
         (unsigned long long)before.units);
  if (PSMtrim(handle, NULL) != 0) fail("PSMtrim failed");
  after.blocks = capacity(size);
  if (after.blocks != before.blocks)
    fail("%llu blocks of %llu bytes are to be had, there were %llu",
         (unsigned long long)after.blocks, (unsigned long long)size,
         (unsigned long long)before.blocks);
  examine_end();
  segment_end();
}

/* ---- */

static void print(const char *what, uint64_t count) {
  printf("%-44s%14llu\n", what, (unsigned long long)count);
}

static void report(void) {
  uint64_t operations = 0;
  for (int op = 1; op < OP_COUNT; op++) operations += totals.counts[op];
  printf("\n%-44s%14s%12s\n", "", "done", "killed in");
  for (int op = 0; op < OP_COUNT; op++)
    printf("%-44s%14llu%12llu\n", op_texts[op], (unsigned long long)totals.counts[op],
           (unsigned long long)totals.killed_in[op]);
  printf("\n");
  print("kills", totals.kills);
  print("replacements", totals.workers - WORKERS * PHASES);
  print("forks", totals.counts[OP_FORK]);
  print("joins", totals.counts[OP_JOIN]);
  print("leaves", totals.counts[OP_LEAVE]);
  print("operations", operations);
  print("PSMallocTo", totals.counts[OP_ALLOC_TO] + totals.counts[OP_RACE_TO]);
  print("reaps", totals.counts[OP_REAP]);
  print("members reaped by them", totals.reaped);
  print("examinations", totals.examinations);
  print("blocks that the killed held", totals.held);
  print("blocks lost in flight", totals.lost);
  print("most blocks lost to one kill (two threads)", totals.lost_most);
  printf("%-44s%11llu ms (%s)\n", "longest wait", (unsigned long long)(totals.longest / MS),
         op_texts[totals.slowest]);
}

static void arena_make(void) {
  uint64_t largest = 0;
  for (int i = 0; i < PHASES; i++)
    if (phases[i].size > largest) largest = phases[i].size;
  size_t arena_size = arena_bytes(largest);
  run.arena_file = memfd_create("soak", 0);
  if (run.arena_file < 0 || ftruncate(run.arena_file, (off_t)arena_size) != 0) abort();
  arena = mmap(NULL, arena_size, PROT_READ | PROT_WRITE, MAP_SHARED, run.arena_file, 0);
  if (arena == MAP_FAILED) abort();
  staff_prepare();
}

static _Noreturn void worker_exec(char **argv) {
  int file = atoi(argv[2]);
  off_t size = lseek(file, 0, SEEK_END);
  arena = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (arena == MAP_FAILED) _exit(126);
  worker_main(atoi(argv[3]), false);
}

int main(int argc, char **argv) {
  if (argc == 4 && strcmp(argv[1], "--worker") == 0) worker_exec(argv);
  run.asked = argc > 1 ? strtoull(argv[1], NULL, 0) : 10000;
  run.seed = argc > 2 ? strtoull(argv[2], NULL, 0) : now_ns() / 1000 % 1000000000;
  if (run.asked < PHASES || argc > 3) {
    fprintf(stderr, "usage: soak [KILLS [SEED]], at least %d kills\n", PHASES);
    return 2;
  }
  seed_given = run.seed;
  printf("seed %llu, %llu kills\n", (unsigned long long)run.seed, (unsigned long long)run.asked);
  fflush(NULL);
  arena_make();
  fail_end = give_up;
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  prctl(PR_SET_TIMERSLACK, 1);
  signal(SIGINT, interrupt);
  signal(SIGTERM, interrupt);
  signal(SIGALRM, overdue);
  for (int i = 0; i < PHASES; i++) {
    phase_run(&phases[i], i, run.asked * (uint64_t)(i + 1) / PHASES);
    fflush(NULL);
  }
  report();
  printf("ok\n");
  return 0;
}
