/* Where states and groups lie, and that nothing but a block's own address is taken for one by
 * the state that lies there. */
#include "harness.h"

#include "states.h"

/* ---- In the layout ---- */

static const uint64_t sizes_of_segments[] = {4 * MIB, 16 * MIB, 96 * MIB, UINT64_C(1) << 30};

CASE(no_two_blocks_share_a_state) {
  for (size_t i = 0; i < sizeof sizes_of_segments / sizeof *sizes_of_segments; i++) {
    struct geometry g;
    CHECK(psm_geometry(&g, sizes_of_segments[i], UINT64_C(0x50000000)));
    for (uint32_t cls = 0; cls < g.classes->count; cls++) {
      const struct psm_class *c = &g.classes->at[cls];
      CHECK_EQ(c->stated, g.states_size > 0 && c->size >= 64);
      for (uint32_t block = 1; c->stated && block < c->blocks; block++)
        CHECK(block * c->size / PSM_STATED > (block - 1) * c->size / PSM_STATED);
      if (c->stated) CHECK((c->blocks - 1u) * c->size / PSM_STATED < g.states_size);
    }
  }
}

/* What the bytes of unit 0 before the data are for, in a slab of one class. */
enum { NOTHING, FREE_BITS, OWNER, STATE };

static void paint(const struct geometry *g, uint32_t cls, unsigned char *bytes) {
  struct group_place place = psm_groups_at(g, cls);
  uint32_t groups = g->classes->at[cls].groups;
  CHECK(place.free % 8 == 0 && place.owners % 4 == 0 && place.stride % 8 == 0);
  if (g->classes->at[cls].stated) memset(bytes + g->states, STATE, g->states_size);
  for (uint32_t i = 0; i < groups * 8; i++) CHECK_EQ(bytes[place.free + i], NOTHING);
  memset(bytes + place.free, FREE_BITS, groups * 8);
  for (uint32_t i = 0; i < groups * 4; i++) CHECK_EQ(bytes[place.owners + i], NOTHING);
  memset(bytes + place.owners, OWNER, groups * 4);
}

/* Who is late claims what was a group before: it must not find a `free`, which may be 0. */
CASE(owners_never_lie_where_free_bits_may) {
  for (size_t i = 0; i < sizeof sizes_of_segments / sizeof *sizes_of_segments; i++) {
    struct geometry g;
    CHECK(psm_geometry(&g, sizes_of_segments[i], UINT64_C(0x50000000)));
    unsigned char *owners = (unsigned char *)calloc(1, (size_t)g.data);
    unsigned char *frees = (unsigned char *)calloc(1, (size_t)g.data);
    CHECK(owners != NULL && frees != NULL);
    for (uint32_t cls = 0; cls < g.classes->count; cls++) {
      unsigned char *bytes = (unsigned char *)calloc(1, (size_t)g.data);
      CHECK(bytes != NULL);
      paint(&g, cls, bytes);
      for (uint64_t at = 0; at < g.data; at++) {
        owners[at] |= bytes[at] == OWNER;
        frees[at] |= bytes[at] == FREE_BITS;
      }
      free(bytes);
    }
    for (uint64_t at = 0; at < g.data; at++) CHECK(!(owners[at] && frees[at]));
    /* Units do not reach into each other. */
    CHECK(g.annexes >= g.slabs + (uint64_t)g.units * g.slab_size);
    CHECK(g.states >= g.annexes + (uint64_t)g.units * g.annex_size);
    CHECK(g.cache_area >= g.states + (uint64_t)g.units * g.states_size);
    for (uint32_t cls = 0; cls < g.classes->count; cls++) {
      struct group_place place = psm_groups_at(&g, cls);
      uint32_t groups = g.classes->at[cls].groups;
      uint64_t first = place.free < place.owners ? place.free : place.owners;
      CHECK(place.free + groups * 8 <= first + place.stride);
      CHECK(place.owners + groups * 4 <= first + place.stride);
    }
    free(owners);
    free(frees);
  }
}

/* ---- Pointers that are no block's ---- */

/* Every byte of a small block, and what is near a place of a state in a larger one. */
static size_t next_inside(size_t at, size_t size) {
  if (size <= 1024 || at % 64 < 2 || at % 64 == 63) return at + 1;
  return at % 16 == 0 && at % 64 != 48 ? at + 16 : at / 64 * 64 + 63;
}

static void nothing_inside_is_a_block(PSMHandle handle, size_t size) {
  enum { SOME = 9 };
  void *blocks[SOME];
  keep_many(handle, size);
  take(handle, blocks, SOME, size);
  uint64_t used = h_stat(handle).blocks;
  for (int i = 0; i < SOME; i++) {
    char *block = (char *)blocks[i];
    size = PSMusableSize(handle, block);
    for (size_t at = 1; at < size; at = next_inside(at, size))
      CHECK_SETS(PSM_E_POINTER, PSMfree(handle, block + at));
  }
  CHECK_EQ(h_stat(handle).blocks, used);
  give(handle, blocks, SOME);
  for (int i = 0; i < SOME; i++) CHECK_SETS(PSM_E_DOUBLE_FREE, PSMfree(handle, blocks[i]));
}

static void nothing_inside(size_t bytes) {
  PSMHandle handle = h_init(h_shm_name(""), bytes);
  struct inside in = look_inside(handle);
  for (uint32_t cls = 0; cls < in.g.classes->count; cls++)
    nothing_inside_is_a_block(handle, in.g.classes->at[cls].size);
  h_sound(handle);
  CHECK_EQ(PSMtrim(handle, NULL), 0);
  all_is_back(handle);
  PSMdeinit(handle);
}

CASE(inside_of_blocks_in_units_of_4_kib) { nothing_inside(3 * MIB); }
CASE(inside_of_blocks_in_units_of_16_kib) { nothing_inside(32 * MIB); }
CASE(inside_of_blocks_in_units_of_64_kib) { nothing_inside(96 * MIB); }

/* ---- What was there before ---- */

enum { MANY = 400000 };
static void *before[MANY], *now[MANY];

static int fill(PSMHandle handle, void **blocks, size_t size) {
  int count = 0;
  while (count < MANY && (blocks[count] = PSMalloc(handle, size)) != NULL) count++;
  CHECK(count > 100 && count < MANY);
  return count;
}

static int by_address(const void *a, const void *b) {
  uintptr_t x = (uintptr_t) * (void *const *)a, y = (uintptr_t) * (void *const *)b;
  return (x > y) - (x < y);
}

/* Blocks of one size take the places of those of another, whose states stood there. */
static void after_another_size(PSMHandle handle, size_t size, size_t other) {
  int old = fill(handle, before, size);
  give(handle, before, old);
  CHECK_EQ(PSMtrim(handle, NULL), 0);
  CHECK_EQ(h_stat(handle).blocks, 0);
  int count = fill(handle, now, other);
  CHECK_SETS(0, PSMfree(handle, now[--count])); /* there is room to keep */
  qsort(now, (size_t)count, sizeof *now, by_address);
  for (int i = 0; i < old; i++) {
    if (bsearch(&before[i], now, (size_t)count, sizeof *now, by_address) != NULL) continue;
    PSMclearError();
    PSMfree(handle, before[i]);
    CHECK(PSMlastError() == PSM_E_POINTER || PSMlastError() == PSM_E_DOUBLE_FREE);
  }
  CHECK_EQ(h_stat(handle).blocks, (uint64_t)count);
  give(handle, now, count);
  CHECK_EQ(PSMtrim(handle, NULL), 0);
  h_sound(handle);
}

CASE(old_blocks_are_no_blocks_of_another_size) {
  static const size_t pairs[][2] = {{64, 4096}, {64, 320}, {80, 64},   {208, 1000},
                                    {64, 16},   {48, 64},  {16, 2000}, {5000, 100}};
  PSMHandle handle = h_init(h_shm_name(""), 5 * MIB);
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
    for (int round = 0; round < 2; round++) after_another_size(handle, pairs[i][0], pairs[i][1]);
  all_is_back(handle);
  PSMdeinit(handle);
}
