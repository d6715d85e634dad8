/* Threads of one process; also run under the thread sanitizer. */
#include "harness.h"

static PSMHandle shared;

enum { BOXES = 64 };
typedef struct {
  size_t size;
  uint64_t seed;
} head; /* at the beginning of every block that is passed on */
static _Atomic(head *) mailbox[BOXES];

static head *write_block(uint64_t *seed) {
  size_t size = h_below(seed, 20) ? h_below(seed, 800) : h_below(seed, 40 * KIB);
  head *block = PSMalloc(shared, sizeof *block + size);
  if (!block) return NULL;
  *block = (head){size, h_random(seed)};
  h_fill(block + 1, size, block->seed);
  return block;
}

static void free_block(head *block) {
  if (!block) return;
  CHECK(h_intact(block + 1, block->size, block->seed));
  CHECK_SETS(0, PSMfree(shared, block));
}

static void *exchange(void *arg) {
  uint64_t seed = h_seed + (uintptr_t)arg;
  for (int i = 0; i < h_rounds(60000); i++)
    free_block(__extension__ __atomic_exchange_n((head **)(void *)&mailbox[h_below(&seed, BOXES)],
                                                 write_block(&seed), __ATOMIC_ACQ_REL));
  return NULL;
}

static void exchange_among(uintptr_t threads, size_t size) {
  shared = h_init(h_shm_name(""), size);
  pthread_t thread[64];
  for (uintptr_t i = 0; i < threads; i++) thread[i] = h_thread(exchange, (void *)i);
  for (uintptr_t i = 0; i < threads; i++) h_join(thread[i]);
  for (int i = 0; i < BOXES; i++) free_block(mailbox[i]);
  CHECK_EQ(h_stat(shared).blocks, 0);
  CHECK(h_stat(shared).caches <= 1);
  h_sound(shared);
  PSMdeinit(shared);
}

CASE(exchange_in_a_roomy_segment) { exchange_among(4, 32 * MIB); }
CASE(exchange_in_a_tight_segment) { exchange_among(4, MIB); }

static void *exchange_shortly(void *arg) {
  uint64_t seed = h_seed * 31 + (uintptr_t)arg;
  for (int i = 0; i < h_rounds(2000); i++)
    free_block(__extension__ __atomic_exchange_n((head **)(void *)&mailbox[h_below(&seed, BOXES)],
                                                 write_block(&seed), __ATOMIC_ACQ_REL));
  return NULL;
}

/* A thread without a cache still works. */
CASE(more_threads_than_caches) {
  enum { N = 64 };
  size_t sizes[] = {64 * KIB, MIB, 8 * MIB};
  for (size_t s = 0; s < 3; s++) {
    shared = h_init(h_shm_name(""), sizes[s]);
    pthread_t thread[N];
    for (uintptr_t i = 0; i < N; i++) thread[i] = h_thread(exchange_shortly, (void *)i);
    for (int i = 0; i < N; i++) h_join(thread[i]);
    for (int i = 0; i < BOXES; i++) {
      free_block(mailbox[i]);
      mailbox[i] = NULL;
    }
    CHECK_EQ(h_stat(shared).blocks, 0);
    h_sound(shared);
    PSMdeinit(shared);
  }
}

static void *short_life(void *arg) {
  void *block[20];
  size_t size = 16 + 40 * ((uintptr_t)arg % 10);
  for (int i = 0; i < 20; i++) {
    block[i] = PSMalloc(shared, size);
    CHECK(block[i] != NULL);
  }
  for (int i = 0; i < 20; i++) PSMfree(shared, block[i]);
  return NULL;
}

static void *ask_and_free(void *arg) {
  uint64_t seed = h_seed * 17 + (uintptr_t)arg;
  void *held[100] = {NULL};
  for (int i = 0; i < h_rounds(15000); i++) {
    void **mine = &held[h_below(&seed, 100)];
    if (*mine) {
      CHECK(PSMusableSize(shared, *mine) >= 64);
      CHECK_SETS(0, PSMfree(shared, *mine));
    }
    *mine = PSMalloc(shared, 64);
  }
  for (int i = 0; i < 100; i++) CHECK_SETS(0, PSMfree(shared, held[i]));
  return NULL;
}

/* Groups of one class go from owner to owner: a block that is in use is never taken for free. */
CASE(used_blocks_stay_used) {
  enum { N = 64 };
  shared = h_init(h_shm_name(""), MIB);
  pthread_t thread[N];
  for (uintptr_t i = 0; i < N; i++) thread[i] = h_thread(ask_and_free, (void *)i);
  for (int i = 0; i < N; i++) h_join(thread[i]);
  CHECK_EQ(h_stat(shared).blocks, 0);
  h_sound(shared);
  PSMdeinit(shared);
}

/* A thread's end gives its cache back: thousands leave nothing behind. */
CASE(thread_exit_returns_the_cache) {
  shared = h_init(h_shm_name(""), 512 * KIB);
  size_t largest = h_largest(shared);
  for (uintptr_t i = 0; i < (uintptr_t)h_rounds(3000); i += 2) {
    pthread_t a = h_thread(short_life, (void *)i), b = h_thread(short_life, (void *)(i + 1));
    h_join(a);
    h_join(b);
    if (i % 500 == 0) {
      PSMStat stat = h_stat(shared);
      CHECK_EQ(stat.blocks, 0);
      CHECK(stat.caches <= 1);
    }
  }
  CHECK_EQ(h_largest(shared), largest);
  h_sound(shared);
  PSMdeinit(shared);
}

static void *outlive(void *arg) {
  pthread_barrier_t *barrier = arg;
  CHECK(PSMalloc(shared, 100) != NULL); /* this thread has a cache now */
  pthread_barrier_wait(barrier);        /* the main thread leaves and comes back */
  pthread_barrier_wait(barrier);
  for (int i = 0; i < 100; i++) CHECK(PSMalloc(shared, 100) != NULL);
  pthread_barrier_wait(barrier);
  pthread_barrier_wait(barrier); /* and leaves for good: the thread ends later */
  return NULL;
}

/* What a thread remembers of a segment does not survive it. */
CASE(threads_outlive_segments) {
  for (int round = 0; round < 20; round++) {
    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, NULL, 2);
    shared = h_init(h_shm_name(""), MIB);
    pthread_t thread = h_thread(outlive, &barrier);
    pthread_barrier_wait(&barrier);
    PSMHandle before = shared;
    PSMdeinit(shared);
    PSMinit(h_shm_name(""), MIB, (void *)before, &shared);
    CHECK_PTR(shared, before); /* else this tests nothing */
    CHECK_EQ(h_stat(shared).blocks, 0);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    CHECK_EQ(h_stat(shared).blocks, 100);
    h_sound(shared);
    PSMdeinit(shared);
    pthread_barrier_wait(&barrier);
    h_join(thread);
    pthread_barrier_destroy(&barrier);
  }
}

/* ---- PSMlock as a mutex -------------------------------------------------------- */

typedef struct {
  uint32_t lock, inside;
  uint64_t count;
} counter;
static counter *guarded;

static void *count_up(void *arg) {
  for (int i = 0; i < h_rounds(20000); i++) {
    CHECK_EQ(PSMlock(shared, &guarded->lock), 0);
    CHECK_EQ(guarded->inside++, 0);
    guarded->count++;
    CHECK_EQ(--guarded->inside, 0);
    CHECK_EQ(PSMunlock(shared, &guarded->lock), 0);
  }
  return arg;
}

static void count_up_in_threads(void) {
  pthread_t thread[3];
  for (int i = 0; i < 3; i++) thread[i] = h_thread(count_up, NULL);
  for (int i = 0; i < 3; i++) h_join(thread[i]);
}

MEMBER(counts_up) {
  shared = handle;
  guarded = *(counter **)PSMgetUser(shared);
  count_up_in_threads();
  PSMdeinit(shared);
}

CASE(lock_among_threads_and_processes) {
  shared = h_init(h_shm_name(""), MIB);
  guarded = PSMcalloc(shared, 1, sizeof *guarded);
  CHECK(guarded != NULL);
  *(counter **)PSMgetUser(shared) = guarded;
  pid_t child[2];
  for (int i = 0; i < 2; i++) child[i] = h_member(shared, "counts_up", NULL);
  count_up_in_threads();
  for (int i = 0; i < 2; i++) CHECK_EQ(h_wait(child[i]), 0);
  CHECK_EQ(guarded->count, 9 * h_rounds(20000));
  CHECK_EQ(guarded->lock & 0x7fffffff, 0);
  PSMdeinit(shared);
}

/* ---- Joining and leaving from several threads ------------------------------------- */

static void *come_and_go(void *arg) {
  uint64_t seed = h_seed + (uintptr_t)arg;
  for (int i = 0; i < h_rounds(400); i++) {
    PSMHandle handle = h_init(h_shm_name(h_below(&seed, 2) ? "a" : "b"), MIB);
    void *block[10];
    for (int j = 0; j < 10; j++) {
      block[j] = PSMalloc(handle, h_below(&seed, 1000));
      CHECK(block[j] != NULL);
      CHECK_PTR(PSMsegmentOf(block[j]), handle);
    }
    for (int j = 0; j < 10; j++) CHECK_SETS(0, PSMfree(handle, block[j]));
    PSMdeinit(handle);
  }
  return NULL;
}

CASE(init_and_deinit_from_several_threads) {
  pthread_t thread[4];
  for (uintptr_t i = 0; i < 4; i++) thread[i] = h_thread(come_and_go, (void *)i);
  for (int i = 0; i < 4; i++) h_join(thread[i]);
  CHECK(!h_exists(h_shm_path("a")) && !h_exists(h_shm_path("b")));
}

/* ---- Looking on while others work -------------------------------------------------- */

static _Atomic bool stop;

static void *work(void *arg) {
  uint64_t seed = h_seed + (uintptr_t)arg;
  head *held[32] = {NULL};
  while (!stop) {
    size_t i = h_below(&seed, 32);
    free_block(held[i]);
    held[i] = write_block(&seed);
  }
  for (int i = 0; i < 32; i++) free_block(held[i]);
  return NULL;
}

CASE(look_on_while_others_work) {
  shared = h_init(h_shm_name(""), 4 * MIB);
  pthread_t thread[3];
  for (uintptr_t i = 0; i < 3; i++) thread[i] = h_thread(work, (void *)i);
  void *own = PSMalloc(shared, 100);
  for (int i = 0; i < h_rounds(200); i++) {
    PSMStat stat = h_stat(shared);
    CHECK(stat.blocks <= 1000 && stat.used <= stat.size); /* they move while it counts */
    CHECK_EQ(PSMcheck(shared), 0);
    PSMBlock block = {NULL, 0};
    bool seen = false;
    int more, blocks = 0;
    while ((more = PSMwalk(shared, &block)) == 1) {
      seen = seen || block.address == own;
      CHECK(++blocks < 10000);
    }
    CHECK_EQ(more, 0);
    CHECK(seen);
    if (i % 10 == 0) CHECK_EQ(PSMtrim(shared, NULL), 0);
    CHECK_EQ(PSMreap(shared), 0);
  }
  stop = true;
  for (int i = 0; i < 3; i++) h_join(thread[i]);
  CHECK_EQ(h_stat(shared).blocks, 1);
  h_sound(shared);
  PSMdeinit(shared);
}

/* Of two that free the same block from its place, one does. */
static void **places;
static void *free_from(void *arg) {
  uintptr_t freed = 0;
  pthread_barrier_wait(arg);
  for (int i = 0; i < 10000; i++) {
    bool there = __atomic_load_n(&places[i], __ATOMIC_RELAXED) != NULL;
    int result = PSMfreeFrom(shared, &places[i]);
    CHECK(result == 0 || result == PSM_E_DOUBLE_FREE || result == PSM_E_POINTER);
    freed += there && result == 0;
  }
  return (void *)freed;
}

CASE(free_from_at_once) {
  shared = h_init(h_shm_name(""), 4 * MIB);
  places = PSMcalloc(shared, 10000, sizeof *places);
  CHECK(places != NULL);
  for (int i = 0; i < 10000; i++) CHECK_EQ(PSMallocTo(shared, 32, &places[i]), 0);
  pthread_barrier_t barrier;
  pthread_barrier_init(&barrier, NULL, 3);
  pthread_t thread[3];
  for (int i = 0; i < 3; i++) thread[i] = h_thread(free_from, &barrier);
  for (int i = 0; i < 3; i++) h_join(thread[i]);
  for (int i = 0; i < 10000; i++) CHECK(places[i] == NULL);
  CHECK_EQ(h_stat(shared).blocks, 1);
  h_sound(shared);
  PSMdeinit(shared);
}
