/* The states of blocks: what a reaper makes of the marks of the dead, and what PSMcheck, PSMstat
 * and PSMwalk read there. */
#include "harness.h"

#include "states.h"

enum { BYTES = 16 << 20, LIST = 1000, LIST_SIZE = 40 << 10 };

static PSMHandle shared;

/* ---- Members that keep, and how they end ---- */

/* A list in the segment, in a large block, of what others are to free. */
static void **list_new(PSMHandle handle, int count, size_t size) {
  void **list = PSMalloc(handle, LIST_SIZE);
  CHECK(list != NULL && LIST * sizeof *list <= LIST_SIZE && count <= LIST);
  take(handle, list, count, size);
  return list;
}

static char *list_text(PSMHandle handle, void **list) {
  return h_text("%llu", (unsigned long long)PSMoffset(handle, list));
}

static void **list_from(PSMHandle handle, const char *text) {
  return PSMaddress(handle, strtoull(text, NULL, 10));
}

/* Blocks of its own, of all sizes, and of a list's every third: ready, how, list, count, first. */
MEMBER(keeps) {
  size_t small_max = h_stat(handle).small_max;
  for (size_t size = 64; size < small_max; size += size / 2) keep_many(handle, size);
  void *large = PSMalloc(handle, small_max);
  CHECK_SETS(0, PSMfree(handle, large));
  void **list = list_from(handle, argv[2]);
  for (int i = atoi(argv[4]); i < atoi(argv[3]); i += 3) CHECK_SETS(0, PSMfree(handle, list[i]));
  end_as(argv[1], argv[0]);
}

/* Of the list's blocks some are of a group that the living one owns, and most of groups that are
 * nobody's. */
static void keepers_end(size_t segment, const char *how, int count) {
  PSMHandle handle = h_init(h_shm_name(""), segment);
  void **list = list_new(handle, count, 200);
  h_gate ready = h_gate_new();
  pid_t child[3];
  for (int i = 0; i < 3; i++)
    child[i] = h_member(handle, "keeps", h_gate_text(ready), how, list_text(handle, list),
                        h_text("%d", count), h_text("%d", i), NULL);
  for (int i = 0; i < 3; i++) h_gate_pass(ready);
  bool killed = !strcmp(how, "killed");
  if (killed) CHECK(kept(handle) > 100);
  for (int i = 0; i < 3; i++)
    if (killed)
      h_kill(child[i]);
    else
      CHECK_EQ(h_wait(child[i]), 0);
  CHECK_EQ(h_members(handle), 1);
  CHECK_EQ(kept(handle), 0);
  CHECK_EQ(h_stat(handle).blocks, 1);
  h_sound(handle);
  /* The list is large, and this one's magazines are empty: what is held is in its slot. */
  CHECK(h_stat(handle).cached <= 64 * 208);
  CHECK_SETS(0, PSMfree(handle, list));
  all_is_back(handle);
  PSMdeinit(handle);
}
CASE(killed_in_units_of_16_kib) { keepers_end(BYTES, "killed", 900); }
CASE(killed_in_units_of_64_kib) { keepers_end(96 * MIB, "killed", 900); }
CASE(exits_without_leaving) { keepers_end(BYTES, "exit", 900); }
CASE(quits_without_leaving) { keepers_end(96 * MIB, "quit", 900); }

/* What begins a magazine anew says again that there are marks: ready. */
MEMBER(keeps_again) {
  keep_many(handle, 300);
  CHECK_EQ(PSMtrim(handle, NULL), 0);
  CHECK_EQ(kept(handle), 0);
  void *block = PSMalloc(handle, 300);
  CHECK_SETS(0, PSMfree(handle, block));
  CHECK_EQ(kept(handle), 1);
  end_as("killed", argv[0]);
}

CASE(kept_again_after_all_was_given_back) {
  PSMHandle handle = h_init(h_shm_name(""), BYTES);
  h_gate ready = h_gate_new();
  pid_t child = h_member(handle, "keeps_again", h_gate_text(ready), NULL);
  h_gate_pass(ready);
  CHECK_EQ(kept(handle), 1);
  h_kill(child);
  CHECK_EQ(h_members(handle), 1);
  all_is_back(handle);
  PSMdeinit(handle);
}

/* All of a list but every 16th: ready, list, count. */
MEMBER(frees_most) {
  void **list = list_from(handle, argv[1]);
  for (int i = 0; i < atoi(argv[2]); i++)
    if (i % 16 != 0) CHECK_SETS(0, PSMfree(handle, list[i]));
  end_as("killed", argv[0]);
}

static int by_address(const void *a, const void *b) {
  const char *x = *(char *const *)a, *y = *(char *const *)b;
  return x < y ? -1 : x > y;
}

static void all_differ(void **blocks, int count) {
  qsort(blocks, (size_t)count, sizeof *blocks, by_address);
  for (int i = 1; i < count; i++) CHECK(blocks[i] != blocks[i - 1]);
}

/* The dead have freed more than they kept: their marks stay on what is free, and some of that
 * is in the slot of a living one by now. It is there already, and must not come twice. */
CASE(stale_marks_are_no_claims) {
  enum { COUNT = 512, MORE = 2000 };
  static void *blocks[COUNT + MORE];
  PSMHandle handle = h_init(h_shm_name(""), BYTES);
  void **list = list_new(handle, COUNT, 200);
  h_gate ready = h_gate_new();
  pid_t child = h_member(handle, "frees_most", h_gate_text(ready), list_text(handle, list),
                         h_text("%d", (int)COUNT), NULL);
  h_gate_pass(ready);
  uint32_t alive = kept(handle);
  CHECK(alive > 0 && alive <= 8);
  int count = 0;
  for (int i = 0; i < COUNT; i += 16) blocks[count++] = list[i];
  take(handle, blocks + count, 70, 200); /* the slot holds what the dead gave back */
  count += 70;
  h_kill(child);
  CHECK_EQ(h_members(handle), 1);
  CHECK_EQ(kept(handle), 0);
  h_sound(handle);
  CHECK_EQ(h_stat(handle).blocks, count + 1);
  take(handle, blocks + count, MORE, 200);
  count += MORE;
  all_differ(blocks, count);
  CHECK_EQ(h_stat(handle).blocks, count + 1);
  give(handle, blocks, count);
  CHECK_SETS(0, PSMfree(handle, list));
  all_is_back(handle);
  PSMdeinit(handle);
}

/* Says that the block behind its own is used, and gets no further: ready. */
MEMBER(begins_to_take) {
  struct inside in = look_inside(handle);
  char *block = PSMalloc(handle, 300);
  uint64_t offset = PSMoffset(handle, block + PSMusableSize(handle, block)) - in.g.data;
  uint32_t unit = (uint32_t)(offset >> in.g.shift);
  uint32_t cls = unit_value(word_of(&in, unit));
  uint32_t index =
      block_index(&in.g.classes->at[cls], (uint32_t)(offset - ((uint64_t)unit << in.g.shift)));
  CHECK(index > 0 && bit_is_set(&in, unit, cls, index));
  at_store(block_state(&in, unit, index), used_state(offset));
  *(void **)PSMgetUser(handle) = block;
  end_as("killed", argv[0]);
}

CASE(killed_before_the_bit_is_gone) {
  PSMHandle handle = h_init(h_shm_name(""), BYTES);
  h_gate ready = h_gate_new();
  pid_t child = h_member(handle, "begins_to_take", h_gate_text(ready), NULL);
  h_gate_pass(ready);
  h_kill(child);
  CHECK_EQ(h_members(handle), 1);
  char *block = *(void **)PSMgetUser(handle);
  char *behind = block + PSMusableSize(handle, block);
  CHECK_EQ(h_stat(handle).blocks, 1);
  CHECK_SETS(PSM_E_DOUBLE_FREE, PSMfree(handle, behind));
  CHECK_SETS(0, PSMfree(handle, block));
  all_is_back(handle);
  PSMdeinit(handle);
}

/* ---- A walk from head to head ---- */

enum { RUNS = 10 };

/* Slabs of one block each, of as many classes, a single free unit behind each, and a wall behind that. */
static void slabs_apart(PSMHandle handle, void **small, void **wall) {
  void *single[RUNS];
  size_t unit = h_stat(handle).unit;
  for (size_t i = 0; i < RUNS; i++) {
    CHECK((small[i] = PSMalloc(handle, 64 + 128 * i)) != NULL);
    CHECK((single[i] = PSMalloc(handle, unit)) != NULL);
    CHECK((wall[i] = PSMalloc(handle, 2 * unit)) != NULL);
  }
  give(handle, single, RUNS);
}

static uint32_t slabs_now(PSMHandle handle) {
  struct inside in = look_inside(handle);
  uint32_t slabs = 0;
  for (uint32_t unit = 0, units; unit < in.g.units; unit += units) {
    uint32_t word = word_of(&in, unit);
    units = unit_kind(word) == UNIT_SLAB ? 1 : unit_value(word);
    slabs += unit_kind(word) == UNIT_SLAB;
  }
  return slabs;
}

/* Keeps one block in each of many slabs: ready, list. */
MEMBER(keeps_slabs_apart) {
  void *small[RUNS];
  slabs_apart(handle, small, list_from(handle, argv[1]));
  give(handle, small, RUNS);
  end_as("killed", argv[0]);
}

/* What is found in one slab, which then joins the unit behind it, is not all. */
CASE(reaper_goes_on_behind_a_slab_that_goes_back) {
  PSMHandle handle = h_init(h_shm_name(""), BYTES);
  h_gate ready = h_gate_new();
  void **list = PSMalloc(handle, LIST_SIZE);
  pid_t child =
      h_member(handle, "keeps_slabs_apart", h_gate_text(ready), list_text(handle, list), NULL);
  h_gate_pass(ready);
  CHECK_EQ(kept(handle), RUNS);
  h_kill(child);
  CHECK_EQ(h_members(handle), 1);
  CHECK_EQ(kept(handle), 0);
  CHECK_EQ(slabs_now(handle), 0);
  give(handle, list, RUNS);
  CHECK_SETS(0, PSMfree(handle, list));
  all_is_back(handle);
  PSMdeinit(handle);
}

static void *slabs_of_nobody(void *arg) {
  void **blocks = arg;
  slabs_apart(shared, blocks, blocks + RUNS);
  return NULL;
}

/* As if each had been freed by one who was killed before he looked at the rest of the slab. */
CASE(trim_goes_on_behind_a_slab_that_goes_back) {
  static void *blocks[2 * RUNS];
  shared = h_init(h_shm_name(""), BYTES);
  struct inside in = look_inside(shared);
  h_join(h_thread(slabs_of_nobody, blocks));
  CHECK_EQ(slabs_now(shared), RUNS);
  for (int i = 0; i < RUNS; i++) {
    uint64_t offset = PSMoffset(shared, blocks[i]) - in.g.data;
    uint32_t unit = (uint32_t)(offset >> in.g.shift);
    uint32_t cls = unit_value(word_of(&in, unit));
    uint32_t index =
        block_index(&in.g.classes->at[cls], (uint32_t)offset & ((UINT32_C(1) << in.g.shift) - 1));
    CHECK_EQ(at_load(block_state(&in, unit, index)), used_state(offset));
    at_store(block_state(&in, unit, index), BLOCK_FREE);
    (void)at_or(free_of(&in, unit, cls, index), UINT64_C(1) << index % PSM_GROUP);
  }
  CHECK_EQ(h_stat(shared).blocks, RUNS);
  CHECK_EQ(slabs_now(shared), RUNS);
  CHECK_EQ(PSMtrim(shared, NULL), 0);
  CHECK_EQ(slabs_now(shared), 0);
  give(shared, blocks + RUNS, RUNS);
  all_is_back(shared);
  PSMdeinit(shared);
}

/* ---- Publish ---- */

CASE(published_is_never_what_is_kept) {
  PSMHandle handle = h_init(h_shm_name(""), BYTES);
  void **place = PSMgetUser(handle);
  void *block = PSMalloc(handle, 700);
  CHECK_SETS(0, PSMfree(handle, block));
  CHECK_EQ(PSMallocTo(handle, 700, place), 0);
  void *published = *place;
  CHECK(published != NULL && published != block);
  CHECK_EQ(kept(handle), 1);
  CHECK(PSMusableSize(handle, published) >= 700);
  CHECK_EQ(PSMfreeFrom(handle, place), 0);
  CHECK(*place == NULL);
  CHECK_EQ(kept(handle), 2);
  *place = published;
  CHECK_EQ(PSMfreeFrom(handle, place), PSM_E_DOUBLE_FREE);
  CHECK_PTR(*place, published);
  CHECK_PTR(PSMalloc(handle, 700), published);
  CHECK_PTR(PSMalloc(handle, 700), block);
  CHECK_EQ(h_stat(handle).blocks, 2);
  h_sound(handle);
  PSMdeinit(handle);
}

/* ---- Looking inside ---- */

/* Just what is allocated is counted and walked, whoever keeps the rest. */
static void agree(PSMHandle handle, void **live, int count) {
  PSMBlock block = {NULL, 0};
  uint64_t used = 0;
  int walked = 0;
  qsort(live, (size_t)count, sizeof *live, by_address);
  for (int result; (result = PSMwalk(handle, &block)) != 0; walked++) {
    CHECK_EQ(result, 1);
    CHECK(walked < count);
    CHECK_PTR(block.address, live[walked]);
    CHECK_EQ(block.size, PSMusableSize(handle, block.address));
    used += block.size;
  }
  PSMStat stat = h_stat(handle);
  CHECK_EQ(walked, count);
  CHECK_EQ(stat.blocks, count);
  CHECK_EQ(stat.used, used);
}

static void *frees_some(void *arg) {
  void **blocks = arg;
  for (int i = 0; i < 30; i++) CHECK_SETS(0, PSMfree(shared, blocks[i]));
  agree(shared, blocks + 30, LIST - 30);
  return NULL;
}

CASE(walk_and_count_leave_out_what_is_kept) {
  static void *live[LIST];
  uint64_t chance = h_seed;
  PSMHandle handle = shared = h_init(h_shm_name(""), BYTES);
  size_t small_max = h_stat(handle).small_max;
  int count = 0;
  for (int round = 0; round < 8; round++) {
    while (count < LIST)
      CHECK((live[count++] = PSMalloc(handle, h_below(&chance, small_max / 4))) != NULL);
    agree(handle, live, count);
    for (; count > LIST / 2; count--) {
      size_t chosen = h_below(&chance, (size_t)count);
      CHECK_SETS(0, PSMfree(handle, live[chosen]));
      live[chosen] = live[count - 1];
    }
    uint32_t some = kept(handle);
    CHECK(some > 0);
    agree(handle, live, count);
    PSMStat stat = h_stat(handle);
    CHECK(stat.cached >= some * 64);
    CHECK(stat.used + stat.cached + stat.free <= stat.size - stat.metadata);
  }
  take(handle, live + count, LIST - count, 100);
  h_join(h_thread(frees_some, live));
  h_sound(handle);
  PSMdeinit(handle);
}

CASE(marks_of_nobody_are_found) {
  static const uint8_t nobody[] = {0, 60, 65, 191, 200, 254};
  PSMHandle handle;
  for (size_t i = 0; i < sizeof nobody; i++) {
    uint32_t unit, index;
    handle = h_init(h_shm_name(""), BYTES);
    void *block = PSMalloc(handle, 500);
    CHECK_SETS(0, PSMfree(handle, block));
    CHECK_EQ(kept_now(handle, &unit, &index), 1);
    struct inside in = look_inside(handle);
    _Atomic uint8_t *state = block_state(&in, unit, index);
    /* A thread that is about to set the bit says FREE; a mark of its own is sound. */
    at_store(state, BLOCK_FREE);
    h_sound(handle);
    at_store(state, nobody[i]);
    CHECK_EQ(PSMcheck(handle), PSM_E_CORRUPT);
    CHECK(strstr(PSMerrorString(PSMlastError()), "kept by nobody") != NULL);
    PSMdeinit(handle);
  }
  /* Where the bit is set, a mark means nothing. */
  uint32_t unit, index;
  handle = h_init(h_shm_name(""), BYTES);
  PSMfree(handle, PSMalloc(handle, 500));
  CHECK_EQ(kept_now(handle, &unit, &index), 1);
  CHECK_EQ(PSMtrim(handle, NULL), 0);
  struct inside in = look_inside(handle);
  CHECK(bit_is_set(&in, unit, unit_value(word_of(&in, unit)), index));
  at_store(block_state(&in, unit, index), 60);
  h_sound(handle);
  CHECK_EQ(h_stat(handle).blocks, 0);
  PSMdeinit(handle);
}

/* ---- Death and life at once ---- */

static _Atomic int busy;

/* What this one owns is looked at by a reaper all the while. */
static void *go_on(void *arg) {
  enum { RING = 300 };
  static void *blocks[RING];
  void **list = arg; /* some are there for others to free */
  int at = 0;
  for (uint64_t seed = 1; at_load(&busy) != 0; seed += 1, at = (at + 1) % RING) {
    void *block = PSMalloc(shared, 200);
    CHECK(block != NULL);
    h_fill(block, 200, seed);
    if (blocks[at] != NULL) {
      CHECK(h_intact(blocks[at], 200, seed - RING));
      void *nothing = NULL;
      void *_Atomic *place = (void *_Atomic *)(void *)&list[seed % LIST];
      if (at_load(place) != NULL || !at_cas(place, &nothing, blocks[at]))
        CHECK_SETS(0, PSMfree(shared, blocks[at]));
    }
    blocks[at] = block;
  }
  for (at = 0; at < RING; at++) PSMfree(shared, blocks[at]);
  return NULL;
}

/* Frees what it finds in a list and keeps some, until it is killed: ready, list. */
MEMBER(frees_what_it_finds) {
  void *_Atomic *list = (void *_Atomic *)(void *)list_from(handle, argv[1]);
  static void *mine[8];
  for (uint64_t round = 0;; round++) {
    if (round == 3) h_gate_open(h_gate_from(argv[0]));
    take(handle, mine, 8, 200);
    for (int i = 0; i < LIST; i++) {
      void *block = at_load(&list[i]) != NULL ? at_exchange(&list[i], NULL) : NULL;
      if (block != NULL) CHECK_SETS(0, PSMfree(handle, block));
    }
    give(handle, mine, 8);
  }
}

CASE(owner_goes_on_while_the_dead_are_reaped) {
#ifdef __SANITIZE_THREAD__
  SKIP("the thread sanitizer does not fork with threads");
#endif
  enum { DEATHS = 30 };
  shared = h_init(h_shm_name(""), BYTES);
  void **list = PSMcalloc(shared, 1, LIST_SIZE);
  h_gate ready = h_gate_new();
  at_store(&busy, 1);
  pthread_t thread = h_thread(go_on, list);
  int deaths = h_rounds(DEATHS);
  for (int i = 0; i < deaths; i++) {
    pid_t child[2];
    for (int j = 0; j < 2; j++)
      child[j] = h_member(shared, "frees_what_it_finds", h_gate_text(ready),
                          list_text(shared, list), NULL);
    for (int j = 0; j < 2; j++) h_gate_pass(ready);
    for (int j = 0; j < 2; j++) h_kill(child[j]);
    CHECK_EQ(h_members(shared), 1);
    h_sound(shared);
  }
  at_store(&busy, 0);
  h_join(thread);
  for (int i = 0; i < LIST; i++) PSMfree(shared, list[i]);
  PSMfree(shared, list);
  /* Eight that it had taken may be the dead's for ever, and one that it was about to free. */
  CHECK(h_stat(shared).blocks <= (uint64_t)deaths * 2 * 9);
  CHECK_EQ(PSMtrim(shared, NULL), 0);
  CHECK_EQ(kept(shared), 0);
  h_sound(shared);
  PSMdeinit(shared);
}
