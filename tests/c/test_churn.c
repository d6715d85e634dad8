/* Crowds that come, work, fork, leave and are killed, all under one name.
 *
 * A register outside of any segment says who is in, and in which segment: whoever finds a segment
 * new gives it a random number in the user word, its incarnation. Two incarnations with a living
 * user each, at one time, are a split segment. A member that is in, and whose death is told, or
 * whose seat or blocks are not its own any more, has been taken for dead.
 */
#include "harness.h"

enum { HELD = 12, SEGMENT = 8 * 1024 * 1024 };

/* ---- The register --------------------------------------------------------------------- */

struct entry {
  uint64_t incarnation; /* that it is in, or 0: set when in, cleared before it leaves or is gone */
  uint64_t doomed;      /* before it is killed, until it is gone */
  uint64_t id;          /* its membership */
  uint64_t last;        /* the incarnation that `held` is in */
  void *held[HELD];
};

static struct books {
  uint64_t begun, joined, killed, told, stop;
  uint64_t ebb; /* few come in at a time, and the segment ends often */
  int crowd;
  struct entry entry[];
} * books;

static uint64_t load(const uint64_t *word) { return __atomic_load_n(word, __ATOMIC_SEQ_CST); }
static void store(uint64_t *word, uint64_t value) {
  __atomic_store_n(word, value, __ATOMIC_SEQ_CST);
}
static void count(uint64_t *word) { __atomic_add_fetch(word, 1, __ATOMIC_SEQ_CST); }

static bool lives_in(const struct entry *e, uint64_t incarnation) {
  return load(&e->incarnation) == incarnation && load(&e->doomed) == 0 &&
         load(&e->incarnation) == incarnation;
}

/* Before its successor is in, the register has the successor's id: so look at the id last. */
static bool lives_as(const struct entry *e, uint64_t id, uint64_t incarnation) {
  return load(&e->id) == id && lives_in(e, incarnation) && load(&e->id) == id;
}

static void nobody_is_elsewhere(const struct entry *me) {
  for (int i = 0; i < books->crowd; i++) {
    const struct entry *e = &books->entry[i];
    uint64_t incarnation = load(&e->incarnation);
    if (incarnation != 0 && incarnation != me->incarnation && lives_in(e, incarnation))
      FAIL("split: %d is in %llx, and another in %llx", i, (unsigned long long)incarnation,
           (unsigned long long)me->incarnation);
  }
}

static void told_dead_are_dead(PSMHandle handle, const struct entry *me, uint64_t *cursor) {
  PSMMember dead[16];
  int n = PSMdeaths(handle, cursor, dead, 16);
  CHECK(n >= 0 || n == PSM_E_STATE); /* too many since we joined or asked last */
  for (int i = 0; i < n; i++) {
    count(&books->told);
    CHECK(dead[i].id != me->id);
    for (int j = 0; j < books->crowd; j++)
      if (lives_as(&books->entry[j], dead[i].id, me->incarnation))
        FAIL("the living %d is told dead, with the id %llu", j, (unsigned long long)dead[i].id);
  }
}

/* ---- A member's life -------------------------------------------------------------------- */

static const size_t sizes[HELD] = {16, 40, 64, 100, 200, 300, 500, 700, 1000, 40, 64, 20000};

static uint64_t seed_of(const struct entry *e, int place) {
  return (uint64_t)(uintptr_t)&e->held[place];
}

/* A block is in the register, or lost: at most one when its holder is killed. */
static void change(PSMHandle handle, struct entry *e, int place) {
  void *block = e->held[place];
  if (block != NULL) {
    if (!h_intact(block, sizes[place], seed_of(e, place))) FAIL("a block of ours has changed");
    e->held[place] = NULL;
    CHECK_SETS(0, PSMfree(handle, block));
    return;
  }
  PSMclearError();
  block = PSMalloc(handle, sizes[place]);
  if (block == NULL) CHECK_EQ(PSMlastError(), PSM_E_NOMEM);
  if (block != NULL) h_fill(block, sizes[place], seed_of(e, place));
  e->held[place] = block;
}

static void give_all_back(PSMHandle handle, struct entry *e) {
  for (int i = 0; i < HELD; i++)
    if (e->held[i] != NULL) change(handle, e, i);
}

static void be_a_child(PSMHandle handle, uint64_t seed) {
  CHECK_EQ(PSMalive(handle, PSMself(handle)), 1);
  for (int i = 0; i < 10; i++) {
    size_t size = h_below(&seed, 1000);
    void *block = PSMalloc(handle, size);
    if (block != NULL) h_fill(block, size, seed);
    CHECK(block == NULL || h_intact(block, size, seed));
    PSMfree(handle, block);
  }
  if (h_below(&seed, 2)) PSMdeinit(handle);
  h_quit(0);
}

static void be_in(PSMHandle handle, struct entry *e, uint64_t *seed) {
  const uint64_t ebb = load(&books->ebb);
  struct stat path;
  CHECK(stat(h_shm_path(""), &path) == 0);
  const ino_t file = path.st_ino;
  uint64_t cursor = 0;
  for (size_t round = h_below(seed, ebb ? 3 : 30); round > 0 && load(&books->ebb) == ebb; round--) {
    for (int i = 0; i < 20; i++) change(handle, e, (int)h_below(seed, HELD));
    CHECK_EQ(PSMself(handle), e->id);
    CHECK_EQ(PSMalive(handle, e->id), 1);
    CHECK_EQ(*(uint64_t *)PSMgetUser(handle), e->incarnation);
    if (stat(h_shm_path(""), &path) != 0 || path.st_ino != file)
      FAIL("the file of a segment in use is gone");
    nobody_is_elsewhere(e);
    switch (h_below(seed, 12)) {
      case 0:
        CHECK(PSMreap(handle) >= 0);
        break;
      case 1:
        if (h_below(seed, 10) == 0) h_sound(handle);
        break;
      case 2: {
        pid_t child = h_fork();
        if (child == 0) be_a_child(handle, *seed);
        CHECK(waitpid(child, NULL, 0) == child);
        break;
      }
      default:
        told_dead_are_dead(handle, e, &cursor);
    }
    h_sleep_us((unsigned)h_below(seed, 20000));
  }
}

static void live(struct entry *e, uint64_t seed) {
  while (load(&books->stop) == 0) {
    h_sleep_us((unsigned)h_below(&seed, 10000));
    if (load(&books->ebb) != 0 && h_below(&seed, (size_t)books->crowd) != 0) continue;
    PSMHandle handle = h_init(h_shm_name(""), SEGMENT);
    uint64_t *user = PSMgetUser(handle), incarnation = 0, fresh = h_random(&seed) | 1;
    if (__atomic_compare_exchange_n(user, &incarnation, fresh, false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST)) {
      incarnation = fresh;
      count(&books->begun);
    }
    count(&books->joined);
    if (e->last != incarnation) memset(e->held, 0, sizeof e->held);
    e->last = incarnation;
    store(&e->id, PSMself(handle));
    store(&e->incarnation, incarnation);
    give_all_back(handle, e); /* a predecessor's, who was killed: they are as it left them */
    be_in(handle, e, &seed);
    give_all_back(handle, e);
    store(&e->incarnation, 0);
    PSMdeinit(handle);
  }
  h_quit(0);
}

/* ---- The crowd ---------------------------------------------------------------------------- */

static pid_t start(int i, uint64_t *seed) {
  uint64_t own = h_random(seed);
  pid_t pid = h_fork();
  if (pid == 0) live(&books->entry[i], own);
  return pid;
}

static void kill_and_replace(pid_t *pid, int i, uint64_t *seed) {
  struct entry *e = &books->entry[i];
  int status;
  store(&e->doomed, 1);
  CHECK(kill(*pid, SIGKILL) == 0);
  CHECK(waitpid(*pid, &status, 0) == *pid);
  if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) FAIL("member %d failed", i);
  books->killed++;
  store(&e->incarnation, 0);
  store(&e->doomed, 0);
  *pid = start(i, seed);
}

static void stop_for_a_while(pid_t pid, uint64_t *seed) {
  CHECK(kill(pid, SIGSTOP) == 0);
  h_sleep_us((unsigned)h_below(seed, 4000));
  CHECK(kill(pid, SIGCONT) == 0);
}

/* What the killed held is in the register; what is lost besides is at most one block for each,
 * and there is nobody left. */
static void account(PSMHandle handle) {
  for (double end = h_now() + 20; h_members(handle) != 1; h_sleep_us(1000)) CHECK(h_now() < end);
  h_sound(handle);
  for (int i = 0; i < books->crowd; i++)
    if (books->entry[i].last == *(uint64_t *)PSMgetUser(handle))
      give_all_back(handle, &books->entry[i]);
  PSMStat stat = h_stat(handle);
  CHECK(stat.blocks <= books->killed);
  CHECK(stat.caches <= 1);
  for (PSMBlock block = {NULL, 0}; PSMwalk(handle, &block) == 1;)
    CHECK_SETS(0, PSMfree(handle, block.address));
  CHECK_EQ(h_stat(handle).blocks, 0);
  h_sound(handle);
}

/* Slow processors and emulators take longer until it has been a crowd. */
static bool came_and_went(uint64_t segments) {
  return load(&books->begun) > segments && load(&books->joined) > 100 && books->killed > 20 &&
         load(&books->told) > 20;
}

static void churn(int crowd, double seconds) {
#ifdef __SANITIZE_THREAD__
  SKIP("the thread sanitizer is blind between processes");
#endif
  uint64_t seed = h_seed;
  pid_t *pid = calloc((size_t)crowd, sizeof *pid);
  CHECK(pid != NULL);
  books = h_shared(sizeof *books + (size_t)crowd * sizeof *books->entry);
  books->crowd = crowd;
  for (int i = 0; i < crowd; i++) pid[i] = start(i, &seed);
  double tide = h_now();
  uint64_t segments = (uint64_t)seconds / 10;
  for (double end = h_now() + seconds; h_now() < end || !came_and_went(segments);) {
    int i = (int)h_below(&seed, (size_t)crowd);
    if (h_below(&seed, 8) == 0)
      stop_for_a_while(pid[i], &seed);
    else
      kill_and_replace(&pid[i], i, &seed);
    h_sleep_us((unsigned)h_below(&seed, 8000));
    if (h_now() < tide) continue;
    tide = h_now() + 0.05 + (double)h_below(&seed, 400) / 1000;
    store(&books->ebb, books->ebb == 0);
  }
  store(&books->stop, 1);
  PSMHandle handle = h_init(h_shm_name(""), SEGMENT);
  for (int i = 0; i < crowd; i++) CHECK_EQ(h_wait(pid[i]), 0);
  account(handle);
  PSMdeinit(handle);
  CHECK(!h_exists(h_shm_path("")));
  printf("  %llu joined %llu segments, %llu were killed, %llu deaths were told\n",
         (unsigned long long)books->joined, (unsigned long long)books->begun,
         (unsigned long long)books->killed, (unsigned long long)books->told);
  free(pid);
}

/* PSM_CHURN_SECONDS shortens it where several builds run the same. */
CASE(two_hundred_for_a_minute) { churn(200, h_env("PSM_CHURN_SECONDS", 60)); }

/* So few that the segment comes to its end again and again. */
CASE(eight_for_a_while) { churn(8, h_env("PSM_CHURN_SECONDS", 60) > 5 ? 5 : 2); }

/* ---- Forks among busy threads ---------------------------------------------------------------- */

enum { THREADS = 3, TABLE = 64 };

static struct {
  PSMHandle handle;
  void **table; /* blocks of whoever takes them out */
  int stop;
} busy;

/* A block begins with its size and the seed of what fills the rest. */
static void exchange_once(uint64_t *seed) {
  size_t size = 16 + (h_below(seed, 30) ? h_below(seed, 600) : h_below(seed, 60 * KIB));
  uint64_t *block = PSMalloc(busy.handle, size);
  if (block != NULL) {
    block[0] = size;
    block[1] = h_random(seed);
    h_fill(block + 2, size - 16, block[1]);
  }
  block = __atomic_exchange_n(&busy.table[h_below(seed, TABLE)], block, __ATOMIC_ACQ_REL);
  if (block == NULL) return;
  CHECK(h_intact(block + 2, (size_t)block[0] - 16, block[1]));
  CHECK_SETS(0, PSMfree(busy.handle, block));
}

static void *exchange_always(void *arg) {
  uint64_t seed = (uintptr_t)arg;
  void *held[TABLE] = {0};
  while (!__atomic_load_n(&busy.stop, __ATOMIC_RELAXED)) {
    size_t i = h_below(&seed, TABLE);
    if (held[i] != NULL) CHECK(h_intact(held[i], 48 + 8 * i, i));
    PSMfree(busy.handle, held[i]);
    held[i] = PSMalloc(busy.handle, 48 + 8 * i);
    if (held[i] != NULL) h_fill(held[i], 48 + 8 * i, i);
    exchange_once(&seed);
  }
  for (int i = 0; i < TABLE; i++) PSMfree(busy.handle, held[i]);
  return NULL;
}

/* The threads' caches stay the parent's. A child frees what its parent has left it, works on the
 * table of all, and leaves, ends or is killed. */
CASE(forks_among_busy_threads) {
#ifdef __SANITIZE_THREAD__
  SKIP("the thread sanitizer does not fork with threads");
#endif
  busy.handle = h_init(h_shm_name(""), 8 * MIB);
  busy.table = PSMcalloc(busy.handle, TABLE, sizeof *busy.table);
  CHECK(busy.table != NULL);
  pthread_t threads[THREADS];
  uint64_t seed = h_seed;
  uint64_t kills = 0;
  h_gate ready = h_gate_new();
  for (uintptr_t i = 0; i < THREADS; i++)
    threads[i] = h_thread(exchange_always, (void *)(i + (uintptr_t)h_seed));
  for (int round = 0; round < h_rounds(200); round++) {
    const bool killed = h_below(&seed, 2);
    void *left = PSMalloc(busy.handle, 300);
    CHECK(left != NULL);
    h_fill(left, 300, seed);
    pid_t child = h_fork();
    if (child == 0) {
      CHECK(h_intact(left, 300, seed));
      CHECK_SETS(0, PSMfree(busy.handle, left));
      h_gate_open(ready);
      for (int i = 0; killed || i < 200; i++) exchange_once(&seed);
      if (round % 20 == 0) h_sound(busy.handle);
      if (round % 2) PSMdeinit(busy.handle);
      h_quit(0);
    }
    h_gate_pass(ready);
    h_random(&seed);
    for (size_t i = h_below(&seed, 300); i > 0; i--) exchange_once(&seed);
    if (killed) h_kill(child), kills++;
    if (!killed) CHECK_EQ(h_wait(child), 0);
  }
  h_sound(busy.handle);
  __atomic_store_n(&busy.stop, 1, __ATOMIC_RELAXED);
  for (int i = 0; i < THREADS; i++) h_join(threads[i]);
  CHECK_EQ(h_members(busy.handle), 1);
  for (int i = 0; i < TABLE; i++) PSMfree(busy.handle, busy.table[i]);
  PSMfree(busy.handle, busy.table);
  CHECK(h_stat(busy.handle).blocks <= 2 * kills); /* one in hand, one taken out of the table */
  CHECK_EQ(h_stat(busy.handle).caches, 1);
  h_sound(busy.handle);
  PSMdeinit(busy.handle);
  CHECK(!h_exists(h_shm_path("")));
}
