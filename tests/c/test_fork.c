/* A child made by fork is a member with no call of its own. */
#include "harness.h"

static bool is_member(PSMHandle handle, pid_t pid) {
  PSMMember members[16];
  int count = PSMmembers(handle, members, 16);
  CHECK(count >= 0 && count <= 16);
  for (int i = 0; i < count; i++)
    if (members[i].pid == (uint32_t)pid) return members[i].alive;
  return false;
}

CASE(child_is_a_member) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  void **root = PSMgetUser(handle);
  void *small = PSMalloc(handle, 40), *large = PSMalloc(handle, 200 * KIB);
  CHECK(small && large);
  h_fill(large, 200 * KIB, 1);
  h_gate ready = h_gate_new(), go = h_gate_new();
  pid_t child = h_fork();
  if (child == 0) {
    CHECK(is_member(handle, getpid()) && is_member(handle, getppid()));
    CHECK_EQ(PSMmembers(handle, NULL, 0), 2);
    CHECK(h_intact(large, 200 * KIB, 1));
    PSMfree(handle, small);
    PSMfree(handle, large);
    *root = PSMalloc(handle, 100);
    CHECK(*root != NULL);
    h_fill(*root, 100, 2);
    h_gate_open(ready);
    h_gate_pass(go);
    PSMdeinit(handle);
    h_quit(0);
  }
  h_gate_pass(ready);
  CHECK(is_member(handle, getpid()) && is_member(handle, child));
  CHECK_EQ(PSMmembers(handle, NULL, 0), 2);
  CHECK_EQ(h_stat(handle).members, 2);
  CHECK(h_intact(*root, 100, 2));
  CHECK_SETS(PSM_E_DOUBLE_FREE, PSMfree(handle, small));
  PSMfree(handle, *root);
  CHECK_EQ(h_stat(handle).blocks, 0);
  h_gate_open(go);
  CHECK_EQ(h_wait(child), 0);
  CHECK(h_exists(h_shm_path("")));
  CHECK(!is_member(handle, child));
  CHECK_EQ(PSMmembers(handle, NULL, 0), 1);
  h_sound(handle);
  PSMdeinit(handle);
  CHECK(!h_exists(h_shm_path("")));
}

CASE(parent_exits_first_and_a_third_joins) {
  h_gate ready = h_gate_new(), go = h_gate_new();
  for (int leave = 0; leave < 2; leave++) {
    pid_t parent = h_fork();
    if (parent == 0) {
      PSMHandle handle = h_init(h_shm_name(""), MIB);
      uint64_t *user = PSMgetUser(handle);
      *user = 77;
      if (h_fork() == 0) {
        h_gate_pass(go); /* the parent is gone */
        CHECK_EQ(*user, 77);
        void *block = PSMalloc(handle, 1000);
        CHECK(block != NULL);
        h_gate_open(ready);
        h_gate_pass(go); /* the third has joined */
        CHECK_EQ(*user, 78);
        PSMfree(handle, block);
        CHECK_EQ(PSMgetError(handle), 0);
        PSMdeinit(handle);
        CHECK(!h_exists(h_shm_path("")));
        h_gate_open(ready);
        h_quit(0);
      }
      if (leave) PSMdeinit(handle);
      h_quit(0);
    }
    CHECK_EQ(h_wait(parent), 0);
    h_gate_open(go);
    h_gate_pass(ready);
    CHECK_EQ(h_wait(h_spawn("third", h_shm_name(""), NULL)), 0);
    CHECK(h_exists(h_shm_path("")));
    h_gate_open(go);
    h_gate_pass(ready);
  }
}
EXEC_CHILD(third) {
  PSMHandle handle = h_init(argv[0], MIB);
  uint64_t *user = PSMgetUser(handle);
  CHECK_EQ(*user, 77);
  ++*user;
  CHECK_EQ(h_stat(handle).blocks, 1);
  PSMdeinit(handle);
  return 0;
}

CASE(two_segments) {
  PSMHandle a = h_init(h_shm_name("a"), MIB), b = h_init(h_shm_name("b"), 2 * MIB);
  pid_t child = h_fork();
  if (child == 0) {
    CHECK(is_member(a, getpid()) && is_member(b, getpid()));
    PSMdeinit(a);
    void *block = PSMalloc(b, 1000);
    CHECK(block != NULL);
    PSMfree(b, block);
    h_sound(b);
    CHECK_SETS(PSM_E_HANDLE, CHECK(PSMalloc(a, 10) == NULL));
    PSMdeinit(b);
    h_quit(0);
  }
  CHECK_EQ(h_wait(child), 0);
  CHECK_EQ(PSMmembers(a, NULL, 0), 1);
  CHECK_EQ(PSMmembers(b, NULL, 0), 1);
  PSMdeinit(a);
  PSMdeinit(b);
  CHECK(!h_exists(h_shm_path("a")) && !h_exists(h_shm_path("b")));
}

/* The counted uses are inherited too: the child owes as many as its parent. */
CASE(uses_are_inherited) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  CHECK_PTR(h_init(h_shm_name(""), MIB), handle);
  pid_t child = h_fork();
  if (child == 0) {
    PSMdeinit(handle);
    CHECK(PSMalloc(handle, 10) != NULL);
    PSMdeinit(handle);
    CHECK_SETS(PSM_E_HANDLE, PSMdeinit(handle));
    h_quit(0);
  }
  CHECK_EQ(h_wait(child), 0);
  PSMdeinit(handle);
  PSMdeinit(handle);
  CHECK(!h_exists(h_shm_path("")));
}

/* The forking thread has free blocks in its cache: parent and child must not both take them. */
CASE(cache_is_not_shared) {
  enum { N = 2000 };
  PSMHandle handle = h_init(h_shm_name(""), 4 * MIB);
  void *warm[100];
  for (int i = 0; i < 100; i++) warm[i] = PSMalloc(handle, 48);
  for (int i = 0; i < 100; i++) PSMfree(handle, warm[i]);
  void ***table = h_shared(2 * sizeof *table);
  void **blocks = h_shared(2 * N * sizeof *blocks);
  table[0] = blocks, table[1] = blocks + N;
  pid_t child = h_fork();
  const int me = child == 0;
  for (int i = 0; i < N; i++) {
    table[me][i] = PSMalloc(handle, 48);
    CHECK(table[me][i] != NULL);
    h_fill(table[me][i], 48, (uint64_t)(me * N + i));
  }
  if (child == 0) h_quit(0);
  CHECK_EQ(h_wait(child), 0);
  for (int i = 0; i < 2 * N; i++) {
    CHECK(h_intact(blocks[i], 48, (uint64_t)i));
    CHECK_SETS(0, PSMfree(handle, blocks[i]));
  }
  CHECK_EQ(h_stat(handle).blocks, 0);
  h_sound(handle);
  PSMdeinit(handle);
}

static struct {
  PSMHandle handle;
  int stop;
} busy;

static void *allocate_always(void *arg) {
  uint64_t seed = (uintptr_t)arg;
  void *held[64] = {0};
  while (!__atomic_load_n(&busy.stop, __ATOMIC_RELAXED)) {
    size_t i = h_below(&seed, 64), size = h_below(&seed, 20) ? h_below(&seed, 500) : 40 * KIB;
    PSMfree(busy.handle, held[i]);
    held[i] = PSMalloc(busy.handle, size);
  }
  for (int i = 0; i < 64; i++) PSMfree(busy.handle, held[i]);
  return NULL;
}

CASE(fork_while_threads_allocate) {
#ifdef __SANITIZE_THREAD__
  SKIP("the thread sanitizer does not fork with threads");
#endif
  busy.handle = h_init(h_shm_name(""), 8 * MIB);
  uint64_t seed = h_seed;
  pthread_t threads[3];
  for (uintptr_t i = 0; i < 3; i++)
    threads[i] = h_thread(allocate_always, (void *)(i + (uintptr_t)h_seed));
  for (int round = 0; round < h_rounds(100); round++) {
    pid_t child = h_fork();
    if (child == 0) {
      void *block[100];
      for (int i = 0; i < 100; i++) {
        block[i] = PSMalloc(busy.handle, h_below(&seed, 3000));
        CHECK(block[i] != NULL);
      }
      for (int i = 0; i < 100; i++) CHECK_SETS(0, PSMfree(busy.handle, block[i]));
      CHECK_EQ(PSMgetError(busy.handle), 0);
      if (round % 2) PSMdeinit(busy.handle);
      h_quit(0);
    }
    h_random(&seed);
    CHECK_EQ(h_wait(child), 0);
  }
  __atomic_store_n(&busy.stop, 1, __ATOMIC_RELAXED);
  for (int i = 0; i < 3; i++) h_join(threads[i]);
  CHECK(PSMreap(busy.handle) >= 0);
  CHECK_EQ(PSMmembers(busy.handle, NULL, 0), 1);
  CHECK_EQ(h_stat(busy.handle).blocks, 0);
  h_sound(busy.handle);
  PSMdeinit(busy.handle);
  CHECK(!h_exists(h_shm_path("")));
}

/* As a child of a thread, not of the main one. */
static void *fork_in_a_thread(void *arg) {
  PSMHandle handle = arg;
  void *mine = PSMalloc(handle, 64);
  pid_t child = h_fork();
  if (child == 0) {
    PSMfree(handle, mine);
    void *block = PSMalloc(handle, 64);
    CHECK(block != NULL);
    PSMfree(handle, block);
    PSMdeinit(handle);
    h_quit(0);
  }
  CHECK_EQ(h_wait(child), 0);
  CHECK_SETS(PSM_E_DOUBLE_FREE, PSMfree(handle, mine));
  return NULL;
}

CASE(fork_in_threads) {
#ifdef __SANITIZE_THREAD__
  SKIP("the thread sanitizer does not fork with threads");
#endif
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  pthread_t threads[4];
  for (int i = 0; i < 4; i++) threads[i] = h_thread(fork_in_a_thread, handle);
  for (int i = 0; i < 4; i++) h_join(threads[i]);
  CHECK_EQ(h_stat(handle).blocks, 0);
  h_sound(handle);
  PSMdeinit(handle);
  CHECK(!h_exists(h_shm_path("")));
}

CASE(child_exits_without_leaving) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  for (int i = 0; i < 5; i++) {
    pid_t child = h_fork();
    if (child == 0) {
      void *block = PSMalloc(handle, 100);
      PSMfree(handle, block);
      h_quit(0);
    }
    CHECK_EQ(h_wait(child), 0);
  }
  CHECK(PSMreap(handle) >= 0);
  CHECK_EQ(PSMmembers(handle, NULL, 0), 1);
  PSMStat stat = h_stat(handle);
  CHECK_EQ(stat.blocks, 0);
  CHECK(stat.caches <= 1);
  h_sound(handle);
  /* A last one that dies with the parent gone does not make the next user suffer. */
  pid_t child = h_fork();
  if (child == 0) {
    PSMalloc(handle, 100);
    h_quit(0);
  }
  CHECK_EQ(h_wait(child), 0);
  PSMdeinit(handle);
  CHECK(!h_exists(h_shm_path("")));
}

CASE(exec_does_not_stay_a_member) {
  h_gate ready = h_gate_new(), go = h_gate_new();
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  pid_t child = h_spawn("idle", h_gate_text(ready), h_gate_text(go), NULL);
  h_gate_pass(ready);
  CHECK(PSMreap(handle) >= 0);
  CHECK_EQ(PSMmembers(handle, NULL, 0), 1);
  PSMdeinit(handle);
  CHECK(!h_exists(h_shm_path("")));
  h_gate_open(go);
  CHECK_EQ(h_wait(child), 0);
}
EXEC_CHILD(idle) {
  h_gate_open(h_gate_from(argv[0]));
  h_gate_pass(h_gate_from(argv[1]));
  return 0;
}

/* The path is gone: the child still gets a seat of its own, through the descriptor. */
CASE(fork_after_unlink) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  CHECK(unlink(h_shm_path("")) == 0);
  pid_t child = h_fork();
  if (child == 0) {
    CHECK_EQ(PSMmembers(handle, NULL, 0), 2);
    void *block = PSMalloc(handle, 100);
    CHECK(block != NULL);
    PSMfree(handle, block);
    PSMdeinit(handle);
    h_quit(0);
  }
  CHECK_EQ(h_wait(child), 0);
  h_sound(handle);
  PSMdeinit(handle);
}

CASE(generations) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  pid_t child = h_fork();
  for (int depth = 0; child == 0; depth++) {
    void *block = PSMalloc(handle, 200);
    CHECK(block != NULL);
    PSMfree(handle, block);
    CHECK(is_member(handle, getpid()));
    if (depth == 10) {
      PSMdeinit(handle);
      h_quit(0);
    }
    child = h_fork();
    if (child > 0) {
      int result = h_wait(child);
      PSMdeinit(handle);
      h_quit(result);
    }
  }
  CHECK_EQ(h_wait(child), 0);
  CHECK_EQ(PSMmembers(handle, NULL, 0), 1);
  h_sound(handle);
  PSMdeinit(handle);
  CHECK(!h_exists(h_shm_path("")));
}
