/* The blocks that a thread keeps when it frees them: who may have them, and who gets them back.
 *
 * The segments have units of 16 KiB, and the sizes are of classes with states. */
#include "harness.h"

#include "states.h"

enum { BYTES = 16 << 20, MANY = 2000 };

/* ---- Of one thread ---- */

CASE(freed_last_is_allocated_next) {
  PSMHandle handle = h_init(h_shm_name(""), BYTES);
  for (size_t size = 64; size <= h_stat(handle).small_max; size += size / 3 + 1) {
    void *blocks[5];
    take(handle, blocks, 5, size);
    give(handle, blocks, 5);
    for (int i = 5; i-- > 0;) CHECK_PTR(PSMalloc(handle, size), blocks[i]);
    give(handle, blocks, 5);
  }
  CHECK(kept(handle) > 0);
  CHECK_EQ(h_stat(handle).blocks, 0);
  h_sound(handle);
  PSMdeinit(handle);
}

static PSMHandle shared;

static void *refused(void *block) {
  CHECK_SETS(PSM_E_DOUBLE_FREE, PSMfree(shared, block));
  CHECK_SETS(PSM_E_DOUBLE_FREE, CHECK_EQ(PSMusableSize(shared, block), 0));
  CHECK_SETS(PSM_E_DOUBLE_FREE, CHECK(PSMrealloc(shared, block, 2000) == NULL));
  return NULL;
}

MEMBER(is_refused) {
  shared = handle;
  refused(PSMaddress(handle, strtoull(argv[0], NULL, 10)));
}

CASE(kept_block_is_refused) {
  shared = h_init(h_shm_name(""), BYTES);
  void *block = PSMalloc(shared, 300);
  char *offset = h_text("%llu", (unsigned long long)PSMoffset(shared, block));
  PSMfree(shared, block);
  CHECK_EQ(kept(shared), 1);
  refused(block);
  h_join(h_thread(refused, block));
  CHECK_EQ(h_wait(h_member(shared, "is_refused", offset, NULL)), 0);
  CHECK_EQ(kept(shared), 1);
  CHECK_PTR(PSMalloc(shared, 300), block);
  CHECK_SETS(0, PSMfree(shared, block));
  h_sound(shared);
  PSMdeinit(shared);
}

CASE(trim_gives_back_what_the_caller_keeps) {
  PSMHandle handle = h_init(h_shm_name(""), BYTES);
  keep_many(handle, 1000);
  CHECK(kept(handle) >= 100);
  uint64_t committed = h_stat(handle).committed;
  CHECK_EQ(PSMtrim(handle, NULL), 0);
  CHECK_EQ(kept(handle), 0);
#ifndef _WIN32
  CHECK(h_stat(handle).committed + 64 * KIB < committed);
#endif
  (void)committed;
  PSMdeinit(handle);
}

/* ---- How much is kept ---- */

static void *free_all(void *blocks) {
  for (void **block = blocks; *block != NULL; block++) CHECK_SETS(0, PSMfree(shared, *block));
  CHECK(kept(shared) <= 8);
  return NULL;
}

/* Who frees what others allocate, and allocates nothing, passes it on. */
CASE(who_only_frees_keeps_little) {
  static void *blocks[MANY + 1];
  shared = h_init(h_shm_name(""), BYTES);
  take(shared, blocks, MANY, 100);
  h_join(h_thread(free_all, blocks));
  CHECK_EQ(kept(shared), 0); /* its thread has ended */
  all_is_back(shared);
  PSMdeinit(shared);
}

/* In all: a part in 32 of the bytes, and as many blocks as a quarter of the units, of each class. */
CASE(what_is_kept_is_bounded) {
  static void *blocks[MANY];
  PSMHandle handle = h_init(h_shm_name(""), BYTES);
  struct inside in = look_inside(handle);
  for (size_t size = 64; size <= h_stat(handle).small_max; size = size * 2) {
    int count = (int)(8 * MIB / size) < MANY ? (int)(8 * MIB / size) : MANY;
    for (int round = 0; round < 12; round++) {
      take(handle, blocks, count, size);
      give(handle, blocks, count);
    }
    uint32_t most = kept(handle);
    CHECK(most >= 8);
    CHECK(most <= 1024 && most <= in.g.units / 4);
    CHECK(most * size <= BYTES / 32 + 1024);
    CHECK_EQ(PSMtrim(handle, NULL), 0);
  }
  PSMdeinit(handle);
}

/* ---- Memory is short ---- */

CASE(who_keeps_much_can_have_it_all) {
  PSMHandle handle = h_init(h_shm_name(""), BYTES);
  for (size_t size = 64; size <= 4000; size += 100) keep_many(handle, size);
  CHECK(kept(handle) > 1000);
  all_is_back(handle);
  PSMdeinit(handle);
}

struct keeper {
  pthread_barrier_t barrier;
  bool by_freeing;
};

/* A slow way: the magazine is full, or there is none yet. */
static void *keep_until_pressed(void *arg) {
  struct keeper *keeper = arg;
  void *block = PSMalloc(shared, 900);
  for (size_t size = 64; size <= 800; size += 50) keep_many(shared, size);
  CHECK(kept(shared) > 300);
  pthread_barrier_wait(&keeper->barrier);
  pthread_barrier_wait(&keeper->barrier);
  if (keeper->by_freeing)
    CHECK_SETS(0, PSMfree(shared, block));
  else
    CHECK(PSMalloc(shared, 1500) != NULL);
  CHECK(kept(shared) <= 1);
  pthread_barrier_wait(&keeper->barrier);
  return NULL;
}

CASE(others_yield_when_memory_is_short) {
  for (int by_freeing = 0; by_freeing < 2; by_freeing++) {
    struct keeper keeper = {.by_freeing = by_freeing != 0};
    pthread_barrier_init(&keeper.barrier, NULL, 2);
    shared = h_init(h_shm_name(""), BYTES);
    pthread_t thread = h_thread(keep_until_pressed, &keeper);
    pthread_barrier_wait(&keeper.barrier);
    (void)h_largest(shared);
    pthread_barrier_wait(&keeper.barrier);
    pthread_barrier_wait(&keeper.barrier);
    h_join(thread);
    h_sound(shared);
    PSMdeinit(shared);
    pthread_barrier_destroy(&keeper.barrier);
  }
}

/* ---- Ends ---- */

static void keep_of_each(void) {
  for (size_t size = 64; size <= 2000; size += 300) keep_many(shared, size);
}

static void *keep_and_end(void *arg) {
  keep_of_each();
  CHECK(kept(shared) > 100);
  return arg;
}

CASE(thread_ends_and_keeps_nothing) {
  shared = h_init(h_shm_name(""), BYTES);
  for (int round = 0; round < 3; round++) {
    h_join(h_thread(keep_and_end, NULL));
    CHECK_EQ(kept(shared), 0);
  }
  all_is_back(shared);
  PSMdeinit(shared);
}

static void *keep_and_wait(void *arg) {
  keep_and_end(NULL);
  pthread_barrier_wait(arg);
  for (;;) h_sleep_us(100000);
  return NULL;
}

MEMBER(leaves_before_its_thread) {
  (void)argv;
  static pthread_barrier_t barrier;
  shared = handle;
  pthread_barrier_init(&barrier, NULL, 2);
  (void)h_thread(keep_and_wait, &barrier);
  pthread_barrier_wait(&barrier);
  keep_and_end(NULL);
  PSMdeinit(handle);
}

CASE(member_leaves_before_its_thread_ends) {
  PSMHandle handle = h_init(h_shm_name(""), BYTES);
  CHECK_EQ(h_wait(h_member(handle, "leaves_before_its_thread", NULL)), 0);
  CHECK_EQ(PSMmembers(handle, NULL, 0), 1);
  CHECK_EQ(kept(handle), 0);
  all_is_back(handle);
  PSMdeinit(handle);
}

#ifndef _WIN32
/* Some of what they keep is of groups that live on, of their own, and of nobody's. */
static void keepers_end(bool killed) {
  PSMHandle handle = h_init(h_shm_name(""), BYTES);
  shared = handle;
  void **table = PSMalloc(handle, MANY * sizeof *table);
  take(handle, table, MANY, 200);
  pid_t child[3];
  h_gate ready[3], never = h_gate_new();
  for (int i = 0; i < 3; i++) {
    ready[i] = h_gate_new();
    child[i] = h_fork();
    if (child[i] != 0) continue;
    keep_of_each(); /* beside the others: what is kept is counted when all rest */
    for (int j = i; j < MANY; j += 3) CHECK_SETS(0, PSMfree(handle, table[j]));
    h_gate_open(ready[i]);
    if (killed) h_gate_pass(never);
    h_quit(0);
  }
  for (int i = 0; i < 3; i++) h_gate_pass(ready[i]);
  CHECK(!killed || kept(handle) > 300);
  for (int i = 0; i < 3; i++) {
    if (killed)
      h_kill(child[i]);
    else
      CHECK_EQ(h_wait(child[i]), 0);
  }
  CHECK_EQ(PSMreap(handle), 3);
  CHECK_EQ(kept(handle), 0);
  CHECK_SETS(0, PSMfree(handle, table));
  all_is_back(handle);
  PSMdeinit(handle);
}
CASE(killed_keepers_lose_nothing) { keepers_end(true); }
CASE(keepers_that_end_without_leaving) { keepers_end(false); }

/* ---- Fork ---- */

/* What the parent keeps stays the parent's, and nothing is handed out twice. */
CASE(child_has_none_of_what_its_parent_keeps) {
  static void *mine[MANY], *theirs[MANY];
  PSMHandle handle = h_init(h_shm_name(""), BYTES);
  keep_many(handle, 200);
  uint32_t before = kept(handle);
  CHECK(before > 100);
  h_gate ready = h_gate_new(), go = h_gate_new();
  pid_t child = h_fork();
  if (child == 0) {
    take(handle, theirs, 500, 200);
    for (int i = 0; i < 500; i++) h_fill(theirs[i], 200, (uint64_t)i);
    h_gate_open(ready);
    h_gate_pass(go);
    for (int i = 0; i < 500; i++) CHECK(h_intact(theirs[i], 200, (uint64_t)i));
    give(handle, theirs, 500);
    PSMdeinit(handle);
    h_quit(0);
  }
  h_gate_pass(ready);
  CHECK_EQ(kept(handle), before);
  take(handle, mine, 500, 200);
  for (int i = 0; i < 500; i++) memset(mine[i], 0xee, 200);
  h_gate_open(go);
  CHECK_EQ(h_wait(child), 0);
  give(handle, mine, 500);
  all_is_back(handle);
  PSMdeinit(handle);
}

static _Atomic int busy;

static void *free_and_allocate(void *arg) {
  static _Thread_local void *blocks[300];
  while (at_load(&busy) != 0)
    for (size_t size = 64; size <= 2000; size += 64) {
      int count = (int)(size % 290) + 1;
      take(shared, blocks, count, size);
      give(shared, blocks, count);
      (void)PSMtrim(shared, NULL); /* magazines begin anew, and grow */
    }
  return arg;
}

/* At whatever moment of a magazine that grows. */
CASE(fork_while_magazines_grow) {
#ifdef __SANITIZE_THREAD__
  SKIP("the thread sanitizer does not fork with threads");
#endif
  shared = h_init(h_shm_name(""), BYTES);
  at_store(&busy, 1);
  pthread_t threads[2] = {h_thread(free_and_allocate, NULL), h_thread(free_and_allocate, NULL)};
  for (int i = 0; i < h_rounds(40); i++) {
    pid_t child = h_fork();
    if (child == 0) {
      for (size_t size = 64; size <= 2000; size += 300) keep_many(shared, size);
      PSMdeinit(shared);
      h_quit(0);
    }
    CHECK_EQ(h_wait(child), 0);
  }
  at_store(&busy, 0);
  for (int i = 0; i < 2; i++) h_join(threads[i]);
  CHECK_EQ(PSMmembers(shared, NULL, 0), 1);
  all_is_back(shared);
  PSMdeinit(shared);
}
#else
LEFT_OUT(killed_keepers_lose_nothing, "Windows has no fork")
LEFT_OUT(keepers_that_end_without_leaving, "Windows has no fork")
LEFT_OUT(child_has_none_of_what_its_parent_keeps, "Windows has no fork")
LEFT_OUT(fork_while_magazines_grow, "Windows has no fork")
#endif

/* Threads without a cache of their own, or with one whose number is too great for a mark. */
static void *work_without_keeping(void *arg) {
  static _Thread_local void *blocks[50];
  for (int round = 0; round < 20; round++) {
    take(shared, blocks, 50, 100);
    give(shared, blocks, 50);
  }
  pthread_barrier_wait(arg);
  return NULL;
}

CASE(more_threads_than_caches) {
  enum { THREADS = 80 }; /* and 64 caches */
  static pthread_barrier_t barrier;
  pthread_t threads[THREADS];
  shared = h_init(h_shm_name(""), BYTES);
  pthread_barrier_init(&barrier, NULL, THREADS);
  for (int i = 0; i < THREADS; i++) threads[i] = h_thread(work_without_keeping, &barrier);
  for (int i = 0; i < THREADS; i++) h_join(threads[i]);
  CHECK_EQ(kept(shared), 0);
  all_is_back(shared);
  PSMdeinit(shared);
}
