/* Sudden deaths: the others go on at once, and what the dead held comes back. */
#include "harness.h"

/* Locks, says so, and waits for its end. */
MEMBER(holds) {
  uint32_t *lock = PSMaddress(handle, strtoull(argv[0], NULL, 10));
  CHECK_EQ(PSMlock(handle, lock), 0);
  h_gate_open(h_gate_from(argv[1]));
  for (;;) pause();
}

static char *offset_text(PSMHandle handle, const void *block) {
  return h_text("%llu", (unsigned long long)PSMoffset(handle, block));
}

CASE(lock_of_the_dead) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  uint32_t *lock = PSMcalloc(handle, 1, sizeof *lock);
  CHECK(lock != NULL);
  for (int round = 0; round < 20; round++) {
    h_gate ready = h_gate_new();
    pid_t child = h_member(handle, "holds", offset_text(handle, lock), h_gate_text(ready), NULL);
    h_gate_pass(ready);
    CHECK_EQ(PSMunlock(handle, lock), PSM_E_STATE); /* another process's */
    h_kill(child);
    double began = h_now();
    CHECK_EQ(PSMlock(handle, lock), PSM_OWNER_DIED);
    CHECK(h_now() - began < 2);
    CHECK_EQ(PSMunlock(handle, lock), 0);
    CHECK_EQ(PSMlock(handle, lock), 0); /* told once */
    CHECK_EQ(PSMunlock(handle, lock), 0);
    h_gate_close(ready);
  }
  h_sound(handle);
  PSMdeinit(handle);
}

MEMBER(waits) {
  uint32_t *lock = PSMaddress(handle, strtoull(argv[0], NULL, 10));
  h_gate_open(h_gate_from(argv[1]));
  int result = PSMlock(handle, lock);
  h_sleep_us(2000);
  CHECK_EQ(PSMunlock(handle, lock), 0);
  PSMdeinit(handle);
  h_quit(result == PSM_OWNER_DIED ? 50 : result == 0 ? 60 : 1);
}

CASE(several_wait_for_the_lock_of_the_dead) {
  enum { N = 4 };
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  uint32_t *lock = PSMcalloc(handle, 1, sizeof *lock);
  h_gate ready = h_gate_new();
  char *where = offset_text(handle, lock);
  pid_t holder = h_member(handle, "holds", where, h_gate_text(ready), NULL);
  h_gate_pass(ready);
  pid_t child[N];
  for (int i = 0; i < N; i++) child[i] = h_member(handle, "waits", where, h_gate_text(ready), NULL);
  for (int i = 0; i < N; i++) h_gate_pass(ready);
  h_sleep_us(30000);
  h_kill(holder);
  int sum = 0;
  for (int i = 0; i < N; i++) sum += h_wait(child[i]);
  CHECK_EQ(sum, 50 + 60 * (N - 1)); /* exactly one is told */
  PSMdeinit(handle);
}

MEMBER(trylocks_and_stays) {
  CHECK_EQ(PSMtrylock(handle, PSMaddress(handle, strtoull(argv[0], NULL, 10))), 0);
  h_gate_open(h_gate_from(argv[1]));
  for (;;) pause();
}

MEMBER(hears_of_no_death) {
  void *lock = PSMaddress(handle, strtoull(argv[0], NULL, 10));
  h_work(handle); /* its first call takes the span lock, with which it must not be stopped */
  h_gate_open(h_gate_from(argv[1]));
  int result = PSMlock(handle, lock);
  CHECK_EQ(PSMunlock(handle, lock), 0);
  PSMdeinit(handle);
  h_quit(result == PSM_OK ? 60 : 1);
}

CASE(trylock_never_waits) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  uint32_t *lock = PSMcalloc(handle, 1, sizeof *lock);
  h_gate ready = h_gate_new();
  CHECK_EQ(PSMtrylock(handle, lock), 0);
  CHECK_EQ(PSMtrylock(handle, lock), PSM_E_STATE); /* by this process: not recursive */
  CHECK_EQ(PSMlastError(), PSM_E_STATE);
  CHECK(strstr(PSMerrorString(PSM_E_STATE), "is held") != NULL);
  CHECK_EQ(PSMunlock(handle, lock), 0);
  char *place = h_text("%llu", (unsigned long long)PSMoffset(handle, lock));
  pid_t holder = h_member(handle, "trylocks_and_stays", place, h_gate_text(ready), NULL);
  h_gate_pass(ready);
  CHECK_EQ(PSMtrylock(handle, lock), PSM_E_STATE);
  h_stop(holder);
  CHECK_EQ(PSMtrylock(handle, lock), PSM_E_STATE); /* the stopped one is alive */
  CHECK_EQ(PSMunlock(handle, lock), PSM_E_STATE);
  pid_t waiter = h_member(handle, "hears_of_no_death", place, h_gate_text(ready), NULL);
  h_gate_pass(ready);
  h_stop(waiter); /* who waits does not take it before us */
  h_kill(holder);
  CHECK_EQ(PSMtrylock(handle, lock), PSM_OWNER_DIED);
  CHECK_EQ(PSMmembers(handle, NULL, 0), 2); /* the dead one has been reaped */
  h_continue(waiter);
  CHECK_EQ(h_wait_within(waiter, 0.3), -1);
  CHECK_EQ(PSMunlock(handle, lock), 0); /* wakes it, told of no death */
  CHECK_EQ(h_wait(waiter), 60);
  h_sound(handle);
  PSMdeinit(handle);
}

MEMBER(holds_and_leaves) {
  h_gate ready = h_gate_from(argv[1]), go = h_gate_from(argv[2]);
  CHECK_EQ(PSMlock(handle, PSMaddress(handle, strtoull(argv[0], NULL, 10))), 0);
  h_gate_open(ready);
  h_gate_pass(go);
  PSMdeinit(handle); /* without unlocking */
  h_gate_open(ready);
  for (;;) pause();
}

MEMBER(takes_it_over) {
  void *lock = PSMaddress(handle, strtoull(argv[0], NULL, 10));
  h_gate_open(h_gate_from(argv[1]));
  h_quit(PSMlock(handle, lock) == PSM_OWNER_DIED ? 50 : 1);
}

/* A stopped process is alive: its lock is waited for. One that leaves gives it up. */
CASE(lock_of_the_stopped_and_of_the_gone) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  uint32_t *lock = PSMcalloc(handle, 1, sizeof *lock);
  h_gate ready = h_gate_new(), go = h_gate_new();
  char *where = offset_text(handle, lock);
  pid_t holder =
      h_member(handle, "holds_and_leaves", where, h_gate_text(ready), h_gate_text(go), NULL);
  h_gate_pass(ready);
  h_stop(holder);
  pid_t waiter = h_member(handle, "takes_it_over", where, h_gate_text(ready), NULL);
  h_gate_pass(ready);
  CHECK_EQ(h_wait_within(waiter, 0.3), -1);
  CHECK_EQ(PSMreap(handle), 0);
  CHECK_EQ(PSMmembers(handle, NULL, 0), 3);
  void *block = PSMalloc(handle, 100 * KIB); /* nobody waits for the stopped one */
  CHECK(block != NULL);
  PSMfree(handle, block);
  h_continue(holder);
  h_gate_open(go);
  h_gate_pass(ready);
  CHECK_EQ(h_wait(waiter), 50);
  CHECK_EQ(PSMlock(handle, lock), PSM_OWNER_DIED); /* the waiter quit, holding it */
  CHECK_EQ(PSMunlock(handle, lock), 0);
  h_kill(holder);
  PSMdeinit(handle);
  CHECK(!h_exists(h_shm_path("")));
}

MEMBER(has_a_cache) {
  PSMfree(handle, PSMalloc(handle, 64));
  h_gate_open(h_gate_from(argv[0]));
  for (;;) pause();
}

CASE(members_that_died) {
  enum { N = 5 };
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  h_gate ready = h_gate_new();
  pid_t child[N];
  PSMMember members[16];
  for (int i = 0; i < N; i++) {
    child[i] = h_member(handle, "has_a_cache", h_gate_text(ready), NULL);
    h_gate_pass(ready);
  }
  CHECK_EQ(h_stat(handle).members, N + 1);
  CHECK_EQ(PSMreap(handle), 0);
  for (int i = 0; i < 3; i++) h_kill(child[i]);
  int count = PSMmembers(handle, members, 16), dead = 0;
  CHECK_EQ(count, N + 1);
  for (int i = 0; i < count; i++) {
    bool killed = false;
    for (int j = 0; j < 3; j++) killed = killed || members[i].pid == (uint32_t)child[j];
    CHECK_EQ(members[i].alive, !killed);
    dead += killed;
  }
  CHECK_EQ(dead, 3);
  CHECK_EQ(PSMreap(handle), 3);
  CHECK_EQ(PSMreap(handle), 0);
  count = PSMmembers(handle, members, 2);
  CHECK_EQ(count, N - 3 + 1);
  for (int i = 3; i < N; i++) h_kill(child[i]);
  CHECK_EQ(PSMreap(handle), 2);
  CHECK_EQ(PSMmembers(handle, members, 16), 1);
  CHECK_EQ(members[0].pid, getpid());
  CHECK_EQ(h_stat(handle).blocks, 0);
  CHECK(h_stat(handle).caches <= 1);
  h_sound(handle);
  PSMdeinit(handle);
}

#if !defined(_WIN32) /* where no program closes what it does not know */
CASE(daemon_that_closed_everything) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  h_gate ready = h_gate_new(), go = h_gate_new();
  void **root = PSMgetUser(handle);
  pid_t child = h_fork();
  if (child == 0) {
    void *block = PSMalloc(handle, 64);
    for (int fd = 3; fd < 1024; fd++)
      if (fd != ready.fd[1] && fd != go.fd[0]) close(fd);
    h_gate_open(ready);
    h_gate_pass(go);
    PSMfree(handle, block);
    *root = PSMalloc(handle, 64);
    CHECK(*root != NULL);
    CHECK_EQ(PSMgetError(handle), 0);
    h_gate_open(ready);
    h_gate_pass(go);
    PSMdeinit(handle);
    h_quit(0);
  }
  h_gate_pass(ready);
  CHECK_EQ(PSMreap(handle), 0);
  CHECK_EQ(PSMmembers(handle, NULL, 0), 2);
  CHECK_EQ(h_wait(h_spawn("comes_by", h_shm_name(""), NULL)), 0);
  CHECK_EQ(h_stat(handle).blocks, 1);
  PSMdeinit(handle); /* the daemon is the last user */
  CHECK(h_exists(h_shm_path("")));
  h_gate_open(go);
  h_gate_pass(ready);
  handle = h_init(h_shm_name(""), MIB);
  root = PSMgetUser(handle);
  CHECK(*root != NULL);
  CHECK_SETS(0, PSMfree(handle, *root));
  h_gate_open(go);
  CHECK_EQ(h_wait(child), 0);
  CHECK_EQ(PSMmembers(handle, NULL, 0), 1);
  h_sound(handle);
  PSMdeinit(handle);
  CHECK(!h_exists(h_shm_path("")));
}
EXEC_CHILD(comes_by) {
  PSMHandle handle = h_init(argv[0], MIB); /* to join reaps the dead */
  CHECK_EQ(PSMreap(handle), 0);
  PSMdeinit(handle);
  return 0;
}
#else
LEFT_OUT(daemon_that_closed_everything, "no program of Windows closes what it does not know")
#endif

/* ---- Many kills ---------------------------------------------------------------- */

enum { SLOTS = 256 };

/* Blocks in the table belong to whoever takes them out: an atomic exchange. */
static void work_for_ever(PSMHandle handle, void **table, uint64_t seed) {
  for (;;) {
    void **slot = &table[h_below(&seed, SLOTS)];
    size_t size = h_below(&seed, 30) ? h_below(&seed, 600) : h_below(&seed, 60 * KIB);
    char *block = PSMalloc(handle, size);
    if (block && size) block[0] = block[size - 1] = 1;
    switch (h_below(&seed, 4)) {
      case 0:
        PSMfree(handle, block);
        break;
      case 1:
        block = PSMrealloc(handle, block, size / 2 + 1); /* fall through */
      default:
        PSMfree(handle, __atomic_exchange_n(slot, block, __ATOMIC_ACQ_REL));
    }
  }
}

MEMBER(works_for_ever) {
  work_for_ever(handle, PSMaddress(handle, strtoull(argv[0], NULL, 10)),
                strtoull(argv[1], NULL, 10));
}

static char *seed_text(uint64_t seed) { return h_text("%llu", (unsigned long long)seed); }

/* Kill for a while; what is lost is at most one block for each kill, and it is counted. */
static void kill_many(size_t segment_size, int kills) {
  enum { N = 3 };
  PSMHandle handle = h_init(h_shm_name(""), segment_size);
  uint64_t seed = h_seed;
  void **table = PSMcalloc(handle, SLOTS, sizeof *table);
  CHECK(table != NULL);
  pid_t child[N] = {0};
  for (int round = 0; round < kills + N; round++) {
    pid_t *victim = &child[round % N];
    if (*victim) {
      h_sleep_us((unsigned)h_below(&seed, 3000));
      h_kill(*victim);
      double began = h_now();
      if (round % 3) PSMreap(handle);
      PSMfree(handle, PSMalloc(handle, 100));
      PSMfree(handle, PSMalloc(handle, 20 * KIB));
      CHECK(h_now() - began < 3);
      CHECK_EQ(PSMgetError(handle), 0);
    }
    if (round >= kills) continue;
    *victim = h_member(handle, "works_for_ever", offset_text(handle, table),
                       seed_text(h_seed + (uint64_t)round), NULL);
    if (round % 10 == 0) CHECK_EQ(PSMcheck(handle), 0);
  }
  CHECK(PSMreap(handle) >= 0);
  CHECK_EQ(PSMmembers(handle, NULL, 0), 1);
  h_sound(handle);
  for (int i = 0; i < SLOTS; i++) CHECK_SETS(0, PSMfree(handle, table[i]));
  CHECK_SETS(0, PSMfree(handle, table));
  PSMStat stat = h_stat(handle);
  /* A worker holds two at the most: one that is not in the table yet, or not there any more,
   * and the other half of a PSMrealloc. */
  CHECK(stat.blocks <= (uint64_t)(2 * kills));
  CHECK_EQ(stat.caches, 1);
  PSMBlock block = {NULL, 0};
  uint64_t lost = 0;
  while (PSMwalk(handle, &block) == 1) {
    lost++;
    CHECK_SETS(0, PSMfree(handle, block.address));
    block = (PSMBlock){NULL, 0};
  }
  CHECK_EQ(lost, stat.blocks);
  size_t whole = h_largest(handle);
  h_sound(handle);
  PSMdeinit(handle);
  /* With those given back there is as much as in a new one. */
  handle = h_init(h_shm_name(""), segment_size);
  CHECK_EQ(whole, h_largest(handle));
  PSMdeinit(handle);
  CHECK(!h_exists(h_shm_path("")));
}

CASE(kills_in_a_roomy_segment) { kill_many(32 * MIB, h_rounds(300)); }
CASE(kills_in_a_tight_segment) { kill_many(768 * KIB, h_rounds(300)); }

/* PSMallocTo loses nothing: every block is in the table, or free. */
enum { PUBLISHED = 3000 };

static void publish(PSMHandle handle, void **mine, uint64_t seed) {
  for (int i = 0; i < PUBLISHED; i++)
    (void)PSMallocTo(handle, h_below(&seed, 100) ? h_below(&seed, 300) : h_below(&seed, 60 * KIB),
                     &mine[i]);
  for (;;) pause();
}

MEMBER(publishes) {
  publish(handle, PSMaddress(handle, strtoull(argv[0], NULL, 10)), strtoull(argv[1], NULL, 10));
}

CASE(alloc_to_loses_nothing) {
  PSMHandle handle = h_init(h_shm_name(""), 4 * MIB);
  uint64_t seed = h_seed;
  void **table = PSMcalloc(handle, PUBLISHED, sizeof *table);
  CHECK(table != NULL);
  int cut_short = 0;
  for (int round = 0; round < h_rounds(300); round++) {
    pid_t victim = h_member(handle, "publishes", offset_text(handle, table),
                            seed_text(h_seed + (uint64_t)round), NULL);
    h_sleep_us((unsigned)h_below(&seed, 1500));
    h_kill(victim);
    cut_short += table[PUBLISHED - 1] == NULL;
    CHECK(PSMreap(handle) >= 0);
    uint64_t held = 0;
    for (int i = 0; i < PUBLISHED; i++) held += table[i] != NULL;
    CHECK_EQ(h_stat(handle).blocks, held + 1);
    for (int i = 0; i < PUBLISHED; i++) CHECK_EQ(PSMfreeFrom(handle, &table[i]), 0);
    CHECK_EQ(h_stat(handle).blocks, 1);
    h_sound(handle);
  }
  CHECK(cut_short > 0);
  PSMdeinit(handle);
}

/* Who takes back by PSMfreeFrom is killed too: then one block may be lost, but no place is left
 * that points to a free block. */
static void publish_for_ever(PSMHandle handle, void **mine, uint64_t seed) {
  for (;;) {
    void **slot = &mine[h_below(&seed, 16)];
    PSMfreeFrom(handle, slot);
    PSMallocTo(handle, h_below(&seed, 30) ? h_below(&seed, 600) : h_below(&seed, 60 * KIB), slot);
  }
}

MEMBER(publishes_for_ever) {
  publish_for_ever(handle, PSMaddress(handle, strtoull(argv[0], NULL, 10)),
                   strtoull(argv[1], NULL, 10));
}

CASE(free_from_leaves_no_dangling_place) {
  enum { N = 3 };
  PSMHandle handle = h_init(h_shm_name(""), 16 * MIB);
  uint64_t seed = h_seed;
  void **table = PSMcalloc(handle, N * 16, sizeof *table);
  CHECK(table != NULL);
  pid_t child[N] = {0};
  const int kills = h_rounds(300);
  for (int round = 0; round < kills + N; round++) {
    pid_t *victim = &child[round % N];
    if (*victim) {
      h_sleep_us((unsigned)h_below(&seed, 2500));
      h_kill(*victim);
      CHECK(PSMreap(handle) >= 0); /* before anybody else writes to its places */
    }
    *victim = 0;
    if (round >= kills) continue;
    *victim = h_member(handle, "publishes_for_ever", offset_text(handle, table + 16 * (round % N)),
                       seed_text(h_seed + (uint64_t)round), NULL);
  }
  h_sound(handle);
  uint64_t held = 0, blocks = h_stat(handle).blocks;
  for (int i = 0; i < N * 16; i++) {
    if (!table[i]) continue;
    held++;
    for (int j = 0; j < i; j++) CHECK(table[j] != table[i]);
    CHECK(PSMusableSize(handle, table[i]) > 0);
  }
  printf("  %llu blocks lost in %d kills\n", (unsigned long long)(blocks - held - 1), kills);
  CHECK(blocks >= held + 1 && blocks <= held + 1 + (uint64_t)kills);
  for (int i = 0; i < N * 16; i++) CHECK_EQ(PSMfreeFrom(handle, &table[i]), 0);
  h_sound(handle);
  PSMdeinit(handle);
}

/* Members are killed while they join and leave. */
CASE(killed_while_joining_and_leaving) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  void *keep = PSMalloc(handle, 1000);
  h_fill(keep, 1000, 1);
  uint64_t seed = h_seed;
  for (int round = 0; round < h_rounds(150); round++) {
    pid_t child = h_spawn("joins_and_leaves", h_shm_name(""), NULL);
    h_sleep_us((unsigned)h_below(&seed, 4000 + H_START_US));
    h_kill(child);
    void *block = PSMalloc(handle, 100);
    CHECK(block != NULL);
    PSMfree(handle, block);
    CHECK(h_intact(keep, 1000, 1));
    CHECK(h_exists(h_shm_path("")));
  }
  CHECK(PSMreap(handle) >= 0);
  CHECK_EQ(PSMmembers(handle, NULL, 0), 1);
  /* What a child had allocated and not yet freed when it died is still there; no more. */
  uint64_t held = 0;
  for (PSMBlock block = {NULL, 0}; PSMwalk(handle, &block) == 1;) {
    if (block.address == keep) continue;
    CHECK_SETS(0, PSMfree(handle, block.address));
    held++;
  }
  CHECK(held <= (uint64_t)h_rounds(150));
  CHECK_EQ(h_stat(handle).blocks, 1);
  h_sound(handle);
  PSMdeinit(handle);
  CHECK(!h_exists(h_shm_path("")));
}
EXEC_CHILD(joins_and_leaves) {
  PSMHandle handle;
  do {
    handle = h_init(argv[0], MIB);
    PSMfree(handle, PSMalloc(handle, 50));
    PSMdeinit(handle);
  } while (handle);
  return 1;
}

EXEC_CHILD(creates) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  *(void **)PSMgetUser(handle) = PSMalloc(handle, 100);
  h_gate_open(h_gate_from(argv[0]));
  pause(); /* for ever */
  return 1;
}
EXEC_CHILD(comes_second) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  h_gate_open(h_gate_from(argv[0]));
  h_gate_pass(h_gate_from(argv[1]));
  CHECK_SETS(0, PSMfree(handle, *(void **)PSMgetUser(handle)));
  CHECK_EQ(PSMreap(handle), 1);
  h_sound(handle);
  PSMdeinit(handle);
  CHECK(!h_exists(h_shm_path("")));
  return 0;
}

/* The creator dies by SIGKILL, the others do not notice. */
CASE(creator_dies_others_go_on) {
  h_gate ready = h_gate_new(), go = h_gate_new();
  pid_t creator = h_spawn("creates", h_gate_text(ready), NULL);
  h_gate_pass(ready);
  pid_t second = h_spawn("comes_second", h_gate_text(ready), h_gate_text(go), NULL);
  h_gate_pass(ready);
  h_kill(creator);
  h_gate_open(go);
  CHECK_EQ(h_wait(second), 0);
}
