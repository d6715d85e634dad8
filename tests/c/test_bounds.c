/* How much is kept at most, that it is there for others when memory is short, and that those
 * who can keep nothing work all the same. */
#include "harness.h"

#include "states.h"

enum { BYTES = 16 << 20 };

static PSMHandle shared;

/* ---- To the last block ---- */

/* How many of a size there are; they form a chain, and go back in the end. */
static int all_of(PSMHandle handle, size_t size) {
  void **chain = NULL, **next;
  int count = 0;
  for (; (next = PSMalloc(handle, size)) != NULL; count++) *next = chain, chain = next;
  CHECK_EQ(PSMlastError(), PSM_E_NOMEM);
  for (; chain != NULL; chain = next) {
    next = *chain;
    CHECK_SETS(0, PSMfree(handle, chain));
  }
  return count;
}

/* Ready. */
MEMBER(keeps_much) {
  for (size_t size = 64; size <= 4000; size += 100) keep_many(handle, size);
  end_as("killed", argv[0]);
}

/* Who keeps much of other sizes, and after one who died, as many as in a new segment. */
CASE(another_size_to_the_last_block) {
  static const size_t sizes[] = {40, 64, 200, 1000, 5000, 8192};
  h_gate ready = h_gate_new();
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    PSMHandle fresh = h_init(h_shm_name("fresh"), 4 * MIB);
    int all = all_of(fresh, sizes[i]);
    PSMdeinit(fresh);
    PSMHandle handle = h_init(h_shm_name(""), 4 * MIB);
    pid_t child = h_member(handle, "keeps_much", h_gate_text(ready), NULL);
    h_gate_pass(ready);
    CHECK(kept(handle) > 200);
    h_kill(child);
    CHECK_EQ(all_of(handle, sizes[i]), all);
    for (size_t size = 64; size <= 4000; size += 100) keep_many(handle, size);
    CHECK(kept(handle) > 200);
    CHECK_EQ(all_of(handle, sizes[i]), all);
    h_sound(handle);
    PSMdeinit(handle);
  }
}

/* One slow way is enough, and no common one: ready, go, how. */
MEMBER(keeps_until_pressed) {
  enum { FULL = 8 };
  void *blocks[FULL + 1];
  for (size_t size = 64; size <= 800; size += 50) keep_many(handle, size);
  take(handle, blocks, FULL + 1, 2000);
  give(handle, blocks, FULL);
  uint32_t most = kept(handle);
  CHECK(most > 300);
  h_gate_open(h_gate_from(argv[0]));
  h_gate_pass(h_gate_from(argv[1]));
  CHECK_EQ(kept(handle), most);
  uint64_t cached = h_stat(handle).cached;
  bool by_freeing = !strcmp(argv[2], "free");
  if (by_freeing)
    CHECK_SETS(0, PSMfree(handle, blocks[FULL]));
  else
    CHECK(PSMalloc(handle, 1500) != NULL);
  CHECK_EQ(kept(handle), by_freeing);
  CHECK(h_stat(handle).cached < cached);
  h_quit(0);
}

CASE(another_member_yields_when_memory_is_short) {
  static const char *const ways[] = {"free", "allocate"};
  for (int i = 0; i < 2; i++) {
    PSMHandle handle = h_init(h_shm_name(""), BYTES);
    h_gate ready = h_gate_new(), go = h_gate_new();
    pid_t child =
        h_member(handle, "keeps_until_pressed", h_gate_text(ready), h_gate_text(go), ways[i], NULL);
    h_gate_pass(ready);
    (void)h_largest(handle);
    h_gate_open(go);
    CHECK_EQ(h_wait(child), 0);
    CHECK_EQ(h_members(handle), 1);
    h_sound(handle);
    PSMdeinit(handle);
  }
}

/* ---- How much is kept ---- */

/* A full magazine that nobody empties passes the older half on, and keeps what came last. */
CASE(older_half_is_given_back) {
  enum { COUNT = 40 };
  void *blocks[COUNT], *fill[COUNT];
  PSMHandle handle = h_init(h_shm_name(""), BYTES);
  take(handle, blocks, COUNT, 500);
  for (int i = 0; i < 9; i++) CHECK_SETS(0, PSMfree(handle, blocks[i]));
  CHECK_EQ(kept(handle), 8 - 4 + 1);
  for (int i = 9; i < 12; i++) CHECK_SETS(0, PSMfree(handle, blocks[i]));
  CHECK_EQ(kept(handle), 8);
  for (int i = 12; i-- > 4;) CHECK_PTR(PSMalloc(handle, 500), blocks[i]);
  CHECK_EQ(kept(handle), 0);
  take(handle, fill, COUNT, 500); /* found empty: it may grow */
  give(handle, fill, COUNT);
  CHECK_EQ(kept(handle), 16);
  PSMdeinit(handle);
}

/* What all threads may keep together. */
static uint64_t budget(PSMHandle handle) { return h_stat(handle).size / 8; }

static uint64_t kept_bytes(PSMHandle handle) {
  struct inside in = look_inside(handle);
  uint64_t bytes = 0;
  for (size_t size = 64; size <= h_stat(handle).small_max; size += 16)
    if (size == in.g.classes->at[size_class(in.g.classes, size)].size)
      bytes += (uint64_t)kept_of(handle, size) * size;
  return bytes;
}

struct crowd {
  pthread_barrier_t barrier;
  size_t largest;
};

static void *keep_and_meet(void *arg) {
  struct crowd *crowd = arg;
  for (size_t size = 64; size <= crowd->largest; size += size / 4) keep_many(shared, size);
  pthread_barrier_wait(&crowd->barrier);
  pthread_barrier_wait(&crowd->barrier);
  return NULL;
}

/* Of many sizes, by one thread or by many: never more than one part in eight. */
static void all_together_keep(int count, size_t largest) {
  enum { MOST = 30 };
  struct crowd crowd = {.largest = largest};
  pthread_t threads[MOST];
  CHECK(count <= MOST);
  shared = h_init(h_shm_name(""), 64 * MIB);
  pthread_barrier_init(&crowd.barrier, NULL, (unsigned)count + 1);
  for (int i = 0; i < count; i++) threads[i] = h_thread(keep_and_meet, &crowd);
  pthread_barrier_wait(&crowd.barrier);
  CHECK(kept_bytes(shared) >= budget(shared) / 8);
  CHECK(kept_bytes(shared) <= budget(shared));
  pthread_barrier_wait(&crowd.barrier);
  for (int i = 0; i < count; i++) h_join(threads[i]);
  pthread_barrier_destroy(&crowd.barrier);
  all_is_back(shared);
  PSMdeinit(shared);
}

CASE(one_keeps_no_more_than_its_part) { all_together_keep(1, 30000); }
CASE(all_together_keep_no_more_than_the_budget) { all_together_keep(30, 8000); }

/* Idle members take nothing from who is at work. */
CASE(many_idle_threads_take_no_room) {
  enum { THREADS = 60, COUNT = 200 };
  static void *blocks[COUNT];
  struct crowd crowd = {.largest = 64};
  pthread_t threads[THREADS];
  shared = h_init(h_shm_name(""), 64 * MIB);
  pthread_barrier_init(&crowd.barrier, NULL, THREADS + 1);
  for (int i = 0; i < THREADS; i++) threads[i] = h_thread(keep_and_meet, &crowd);
  pthread_barrier_wait(&crowd.barrier);
  keep_many(shared, 3000);
  take(shared, blocks, COUNT, 3000);
  give(shared, blocks, COUNT);
  CHECK(kept_of(shared, 3000) >= 64);
  pthread_barrier_wait(&crowd.barrier);
  for (int i = 0; i < THREADS; i++) h_join(threads[i]);
  pthread_barrier_destroy(&crowd.barrier);
  PSMdeinit(shared);
}

/* However large the segment is. */
CASE(most_that_one_magazine_holds) {
  enum { COUNT = 3000, MOST = 1024 };
  static void *blocks[COUNT];
  PSMHandle handle = h_init(h_shm_name(""), 320 * MIB);
  CHECK(look_inside(handle).g.units / 4 > MOST);
  for (int round = 0; round < 12; round++) {
    take(handle, blocks, COUNT, 64);
    give(handle, blocks, COUNT);
    CHECK(kept(handle) <= MOST);
  }
  CHECK(kept(handle) > MOST / 2);
  h_sound(handle);
  PSMdeinit(handle);
}

/* Small blocks have no states, nor has a small segment: what is freed is free at once. */
CASE(what_has_no_states_is_not_kept) {
  static const size_t segments[] = {MIB, 4 * MIB - 4096, 4 * MIB, BYTES};
  for (size_t i = 0; i < 4; i++) {
    PSMHandle handle = h_init(h_shm_name(""), segments[i]);
    for (size_t size = 16; size <= h_stat(handle).small_max; size += size) {
      void *block = PSMalloc(handle, size);
      CHECK_SETS(0, PSMfree(handle, block));
      CHECK_SETS(PSM_E_DOUBLE_FREE, PSMfree(handle, block));
      CHECK_EQ(kept(handle), i >= 2 && size >= 64);
      CHECK_EQ(PSMtrim(handle, NULL), 0);
      CHECK_REFUSED(PSMfree(handle, block));
    }
    h_sound(handle);
    PSMdeinit(handle);
  }
}

/* ---- No unit is free ---- */

enum { LAST = 300 };

/* Some of each slab: none of them goes back. */
static void *free_some_of_the_last(void *arg) {
  void **last = (void **)arg;
  for (int i = 0; i < LAST; i += 3) give(shared, &last[i], 1);
  return NULL;
}

/* Who takes a block then leaves the other blocks of the group to others, but not later. */
static void passed_on(size_t size) {
  static void *blocks[600000];
  int count = 0;
  shared = h_init(h_shm_name(""), BYTES);
  void *unit = PSMalloc(shared, h_stat(shared).unit);
  CHECK(unit != NULL);
  while (count < 600000 && (blocks[count] = PSMalloc(shared, size)) != NULL) count++;
  CHECK_EQ(PSMlastError(), PSM_E_NOMEM);
  CHECK_EQ(h_stat(shared).cached, 0);
  void **last = &blocks[count - LAST];
  h_join(h_thread(free_some_of_the_last, last));
  CHECK_EQ(h_stat(shared).cached, 0);
  CHECK(h_stat(shared).free >= LAST / 3 * size);
  for (int i = 0; i < 9; i += 3) {
    CHECK((last[i] = PSMalloc(shared, size)) != NULL);
    CHECK_EQ(h_stat(shared).cached, 0);
  }
  void *to = NULL;
  memcpy(PSMgetUser(shared), &to, sizeof to);
  CHECK_EQ(PSMallocTo(shared, size, PSMgetUser(shared)), PSM_OK);
  CHECK_EQ(h_stat(shared).cached, 0);
  CHECK_SETS(0, PSMfree(shared, unit));
  for (int i = 9; i < LAST; i += 3) CHECK((last[i] = PSMalloc(shared, size)) != NULL);
  CHECK(h_stat(shared).cached > 0);
  h_sound(shared);
  give(shared, blocks, count);
  CHECK_EQ(PSMfreeFrom(shared, PSMgetUser(shared)), PSM_OK);
  CHECK_EQ(PSMtrim(shared, NULL), 0);
  all_is_back(shared);
  PSMdeinit(shared);
}

CASE(groups_are_passed_on_while_no_unit_is_free) {
  static const size_t sizes[] = {32, 300, 1000, 2000};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) passed_on(sizes[i]);
}

/* ---- More threads than caches, and than marks ---- */

/* Each frees what another has filled, too. */
struct ring {
  pthread_barrier_t barrier;
  void *_Atomic *places;
  int count;
  _Atomic int next;
};

static void *pass_on(void *arg) {
  enum { BLOCKS = 20, SIZES = 3 };
  static const size_t sizes[SIZES] = {64, 100, 700};
  struct ring *ring = arg;
  int me = at_add(&ring->next, 1);
  pthread_barrier_wait(&ring->barrier);
  for (int round = 0; round < BLOCKS; round++) {
    size_t size = sizes[round % SIZES];
    uint64_t seed = (uint64_t)(me * BLOCKS + round);
    char *block = PSMalloc(shared, size);
    CHECK(block != NULL);
    memcpy(block, &seed, 8);
    h_fill(block + 8, size - 8, seed);
    int place = (me + round) % ring->count;
    char *other = at_exchange(&ring->places[place * SIZES + round % SIZES], block);
    if (other == NULL) continue;
    memcpy(&seed, other, 8);
    CHECK(h_intact(other + 8, size - 8, seed));
    CHECK_SETS(0, PSMfree(shared, other));
  }
  pthread_barrier_wait(&ring->barrier);
  pthread_barrier_wait(&ring->barrier);
  return NULL;
}

static void crowd_passes_on(size_t segment, int count) {
  static void *_Atomic places[3 * 300];
  static pthread_t threads[300];
  struct ring ring = {.places = places, .count = count};
  pthread_attr_t small;
  shared = h_init(h_shm_name(""), segment);
  CHECK_EQ(pthread_attr_init(&small), 0);
  CHECK_EQ(pthread_attr_setstacksize(&small, 256 * KIB), 0);
  pthread_barrier_init(&ring.barrier, NULL, (unsigned)count + 1);
  for (int i = 0; i < count; i++) CHECK_EQ(pthread_create(&threads[i], &small, pass_on, &ring), 0);
  for (int turn = 0; turn < 2; turn++) pthread_barrier_wait(&ring.barrier);
  struct inside in = look_inside(shared);
  CHECK_EQ(h_stat(shared).caches, in.g.caches - 1);
  uint64_t blocks = 0;
  for (int i = 0; i < 3 * count; i++) blocks += at_load(&places[i]) != NULL;
  CHECK_EQ(h_stat(shared).blocks, blocks);
  CHECK(kept(shared) > 0);
  h_sound(shared);
  pthread_barrier_wait(&ring.barrier);
  for (int i = 0; i < count; i++) h_join(threads[i]);
  CHECK_EQ(kept(shared), 0);
  for (int i = 0; i < 3 * count; i++) PSMfree(shared, at_load(&places[i]));
  all_is_back(shared);
  PSMdeinit(shared);
}
CASE(crowd_with_few_caches) { crowd_passes_on(4 * MIB, 60); }
/* Of its 256 caches, one of which is everybody's, the last two have no mark. It is large enough
 * for all the others to keep some. */
CASE(crowd_beyond_the_last_mark) { crowd_passes_on(256 * MIB, 270); }
