/* Many processes, random sizes; every block carries a pattern that its size and seed decide and
 * that is checked by whoever frees it, usually another process than the one that wrote it. */
#include "harness.h"

enum { SLOTS = 1024 };

typedef struct {
  uint64_t size, seed;
} head;

typedef struct {
  head *slot[SLOTS];
  uint64_t checked; /* blocks */
  uint64_t refused; /* allocations */
} table;

typedef struct {
  PSMHandle handle;
  table *table;
  uint64_t seed;
  int steps;
} job;

static size_t a_size(uint64_t *seed) {
  switch (h_below(seed, 40)) {
    case 0:
      return h_below(seed, 150 * KIB);
    case 1:
    case 2:
      return h_below(seed, 8 * KIB);
    default:
      return h_below(seed, 512);
  }
}

static void seal(head *block, size_t size, uint64_t seed) {
  *block = (head){size, seed};
  h_fill(block + 1, size, seed);
}

static void open_seal(const head *block) {
  if (!h_intact(block + 1, (size_t)block->size, block->seed))
    FAIL("block %p of %llu bytes is not as it was written", (const void *)block,
         (unsigned long long)block->size);
}

static head *make(job *j) {
  size_t size = a_size(&j->seed);
  head *block;
  switch (h_below(&j->seed, 8)) {
    case 0:
      block = PSMcalloc(j->handle, 1, sizeof *block + size);
      for (size_t i = 0; block && i < (sizeof *block + size) / 8; i++)
        if (((uint64_t *)(void *)block)[i]) FAIL("calloc is not zero");
      break;
    case 1:
      block = PSMalignedAlloc(j->handle, (size_t)16 << h_below(&j->seed, 9), sizeof *block + size);
      break;
    default:
      block = PSMalloc(j->handle, sizeof *block + size);
  }
  if (block)
    seal(block, size, h_random(&j->seed));
  else
    __atomic_add_fetch(&j->table->refused, 1, __ATOMIC_RELAXED);
  return block;
}

/* A block that is nobody else's grows or shrinks. */
static head *resize(job *j, head *block) {
  size_t size = a_size(&j->seed);
  size_t old_size = (size_t)block->size;
  uint64_t seed = block->seed;
  head *moved = PSMrealloc(j->handle, block, sizeof *block + size);
  if (!moved) return block;
  CHECK(h_intact(moved + 1, (old_size < size ? old_size : size) / 8 * 8, seed));
  seal(moved, size, h_random(&j->seed));
  return moved;
}

static void *work(void *arg) {
  job *j = arg;
  for (int step = 0; step < j->steps; step++) {
    head **slot = &j->table->slot[h_below(&j->seed, SLOTS)];
    head *block = h_below(&j->seed, 3) ? make(j) : NULL;
    if (block && h_below(&j->seed, 10) == 0) block = resize(j, block);
    block = __atomic_exchange_n(slot, block, __ATOMIC_ACQ_REL);
    if (!block) continue;
    open_seal(block);
    CHECK_SETS(0, PSMfree(j->handle, block));
    __atomic_add_fetch(&j->table->checked, 1, __ATOMIC_RELAXED);
  }
  return NULL;
}

static void work_in_threads(PSMHandle handle, int threads, int steps, uint64_t seed) {
  job jobs[8];
  pthread_t thread[8];
  table *shared = *(table **)PSMgetUser(handle);
  for (int i = 0; i < threads; i++) {
    jobs[i] = (job){handle, shared, seed * 100 + (uint64_t)i, steps};
    thread[i] = h_thread(work, &jobs[i]);
  }
  for (int i = 0; i < threads; i++) h_join(thread[i]);
}

static PSMHandle begin(size_t size) {
  PSMHandle handle = h_init(h_shm_name(""), size);
  table *shared = PSMcalloc(handle, 1, sizeof *shared);
  CHECK(shared != NULL);
  *(table **)PSMgetUser(handle) = shared;
  return handle;
}

static void end(PSMHandle handle, uint64_t least) {
  table *shared = *(table **)PSMgetUser(handle);
  h_sound(handle);
  for (int i = 0; i < SLOTS; i++) {
    if (!shared->slot[i]) continue;
    open_seal(shared->slot[i]);
    CHECK_SETS(0, PSMfree(handle, shared->slot[i]));
  }
  printf("  %llu blocks checked, %llu refused\n", (unsigned long long)shared->checked,
         (unsigned long long)shared->refused);
  CHECK(shared->checked >= least);
  CHECK_SETS(0, PSMfree(handle, shared));
  PSMStat stat = h_stat(handle);
  CHECK_EQ(stat.blocks, 0);
  CHECK_EQ(stat.used, 0);
  CHECK_EQ(stat.members, 1);
  h_sound(handle);
  PSMdeinit(handle);
  CHECK(!h_exists(h_shm_path("")));
}

static int processes(void) {
  int n = h_env("PSM_TEST_PROCESSES", 4);
  return n < 1 ? 1 : n > 64 ? 64 : n;
}

EXEC_CHILD(worker) /* name, size, threads, steps, seed */
{
  PSMHandle handle = h_init(argv[0], strtoul(argv[1], NULL, 10));
  work_in_threads(handle, atoi(argv[2]), atoi(argv[3]), strtoull(argv[4], NULL, 10));
  PSMdeinit(handle);
  return 0;
}

MEMBER(works) /* threads, steps, seed */
{
  work_in_threads(handle, atoi(argv[0]), atoi(argv[1]), strtoull(argv[2], NULL, 10));
  PSMdeinit(handle);
}

static void run_workers(size_t size, int threads, int steps, bool by_exec) {
  PSMHandle handle = begin(size);
  pid_t child[64];
  for (int i = 0; i < processes(); i++) {
    uint64_t seed = (h_seed + (uint64_t)i) % 1000000007;
    if (by_exec) {
      child[i] = h_spawn("worker", h_shm_name(""), h_text("%zu", size), h_text("%d", threads),
                         h_text("%d", steps), h_text("%llu", (unsigned long long)seed), NULL);
      continue;
    }
    child[i] = h_member(handle, "works", h_text("%d", threads), h_text("%d", steps),
                        h_text("%llu", (unsigned long long)seed), NULL);
  }
  for (int i = 0; i < processes(); i++) CHECK_EQ(h_wait(child[i]), 0);
  CHECK(PSMreap(handle) >= 0);
  end(handle, (uint64_t)steps);
}

CASE(processes_by_exec) { run_workers(64 * MIB, 2, h_rounds(60000), true); }
CASE(processes_by_fork) { run_workers(64 * MIB, 2, h_rounds(60000), false); }
CASE(processes_in_a_tight_segment) { run_workers(3 * MIB, 2, h_rounds(30000), false); }

/* Every third round there is a child, which leaves or just goes. */
static void have_a_child(PSMHandle handle, uint64_t *seed) {
  pid_t child = h_fork();
  if (child == 0) {
    work_in_threads(handle, 1, 200, h_random(seed) % 1000000007);
    if (h_below(seed, 2)) PSMdeinit(handle);
    h_quit(0);
  }
  PSMdeinit(handle);
  CHECK_EQ(h_wait(child), 0);
}

MEMBER(comes_and_goes) /* seed */
{
  uint64_t seed = strtoull(argv[0], NULL, 10);
  PSMdeinit(handle); /* from here on it joins by name */
  for (int round = 0; round < h_rounds(60); round++) {
    PSMHandle again = h_init(h_shm_name(""), 16 * MIB);
    CHECK_PTR(again, handle);
    work_in_threads(again, (int)h_below(&seed, 2) + 1, 200, h_random(&seed) % 1000000007);
    if (H_HAS_FORK && h_below(&seed, 3) == 0)
      have_a_child(again, &seed);
    else
      PSMdeinit(again);
  }
}

/* Members join, work a little, and leave, all the time. */
CASE(members_come_and_go) {
  PSMHandle handle = begin(16 * MIB);
  pid_t child[64];
  for (int i = 0; i < processes(); i++) {
    char *seed = h_text("%llu", (unsigned long long)(h_seed + (uint64_t)i));
    child[i] = h_member(handle, "comes_and_goes", seed, NULL);
  }
  for (int i = 0; i < processes(); i++) CHECK_EQ(h_wait(child[i]), 0);
  CHECK(PSMreap(handle) >= 0);
  end(handle, 1000);
}
