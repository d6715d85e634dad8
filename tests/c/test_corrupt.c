/* Metadata that contradicts itself: PSMcheck says what, all members learn of it,
 * and calls go on without touching anything outside the segment. */
#include "harness.h"

#include "layout.h"

/* The metadata of an open segment, from outside. */
struct inside {
  PSMHandle handle;
  struct geometry g;
  char *base;
  struct header_shm *header;
  struct spans_shm *spans;
  _Atomic uint32_t *table;
  _Atomic uint32_t *bins;
  _Atomic uint32_t *owners;
};

static struct inside inside_of(PSMHandle handle) {
  struct inside in;
  in.handle = handle;
  in.base = (char *)(void *)in.handle;
  CHECK(psm_geometry(&in.g, MIB, (uintptr_t)in.base));
  in.header = (void *)in.base;
  in.spans = (void *)(in.base + in.g.spans);
  in.table = (void *)(in.base + in.g.table);
  in.bins = (void *)(in.base + in.g.bin_heads);
  in.owners = (void *)(in.base + in.g.owners);
  return in;
}

static struct inside inside_new(void) { return inside_of(h_init(h_shm_name(""), MIB)); }

static uint32_t unit_of(const struct inside *in, const void *block) {
  return (uint32_t)(((uintptr_t)block - (uintptr_t)in->base - in->g.data) >> in->g.shift);
}

static struct slab_shm *slab_of(const struct inside *in, uint32_t unit) {
  return (void *)(in->base + in->g.slabs + (uint64_t)unit * in->g.slab_size);
}

struct group_ref {
  _Atomic uint64_t *free;
  _Atomic uint32_t *owner;
};

/* One of those in the descriptor. */
static struct group_ref group_of(const struct inside *in, uint32_t unit, uint32_t index) {
  _Atomic uint64_t *free = slab_of(in, unit)->groups;
  _Atomic uint32_t *owner = (void *)(free + in->g.near_groups);
  return (struct group_ref){free + index, owner + index};
}

static struct cache_shm *cache_of(const struct inside *in, uint32_t index) {
  return (void *)(in->base + in->g.cache_area + (uint64_t)index * in->g.cache_size);
}

static uint32_t class_of(const struct inside *in, size_t size) {
  return size_class(in->g.classes, size);
}

MEMBER(hears) { h_quit(PSMgetError(handle) == PSM_E_CORRUPT ? 0 : 1); }

/* PSMcheck refuses, with these words in its sentence, and everybody hears. */
static void found(const struct inside *in, const char *words) {
  CHECK_EQ(PSMgetError(in->handle), 0);
  CHECK_EQ(PSMcheck(in->handle), PSM_E_CORRUPT);
  if (strstr(PSMerrorString(PSMlastError()), words) == NULL)
    FAIL("not '%s': %s", words, PSMerrorString(PSMlastError()));
  /* Nobody joins a segment with such a header; a child by fork is a member already. */
  if (!H_HAS_FORK && at_load(&in->header->units) != in->g.units) return;
  CHECK_EQ(h_wait(h_member(in->handle, "hears", NULL)), 0);
}

/* Calls may refuse now; they end, and stay inside. */
static void goes_on(const struct inside *in) {
  PSMStat stat;
  PSMBlock block = {NULL, 0};
  void *blocks[8];
  for (int i = 0; i < 8; i++) blocks[i] = PSMalloc(in->handle, (size_t)40 << i);
  for (int i = 0; i < 8; i++) PSMfree(in->handle, blocks[i]);
  CHECK_EQ(PSMstat(in->handle, &stat), 0);
  for (int steps = 0; PSMwalk(in->handle, &block) == 1; steps++) CHECK(steps < 1 << 16);
  CHECK_EQ(PSMtrim(in->handle, NULL), 0);
  (void)PSMcheck(in->handle);
  PSMdeinit(in->handle);
  CHECK(!h_exists(h_shm_path("")));
}

CASE(header) {
  struct inside in = inside_new();
  in.header->units++;
  found(&in, "header");
  goes_on(&in);
}

CASE(unit_table_without_a_head) {
  struct inside in = inside_new();
  void *block = PSMalloc(in.handle, 20000);
  at_store(&in.table[unit_of(&in, block)], UNIT_TAIL);
  found(&in, "no head");
  CHECK_REFUSED(PSMfree(in.handle, block));
  CHECK_EQ(PSMusableSize(in.handle, block), 0);
  goes_on(&in);
}

CASE(span_beyond_the_end) {
  struct inside in = inside_new();
  void *block = PSMalloc(in.handle, 20000);
  at_store(&in.table[unit_of(&in, block)], unit_word(UNIT_LARGE, 100000));
  found(&in, "no head");
  goes_on(&in);
}

CASE(free_runs_that_are_not_joined) {
  struct inside in = inside_new();
  void *a = PSMalloc(in.handle, 20000), *b = PSMalloc(in.handle, 20000);
  CHECK(unit_of(&in, b) == unit_of(&in, a) + 5);
  at_store(&in.table[unit_of(&in, a)], unit_word(UNIT_FREE, 5));
  at_store(&in.table[unit_of(&in, b)], unit_word(UNIT_FREE, 5));
  found(&in, "not joined");
  goes_on(&in);
}

CASE(slab_of_no_class) {
  struct inside in = inside_new();
  void *block = PSMalloc(in.handle, 100);
  at_store(&in.table[unit_of(&in, block)], unit_word(UNIT_SLAB, 1000));
  found(&in, "no class");
  CHECK_REFUSED(PSMfree(in.handle, block));
  goes_on(&in);
}

CASE(blocks_beyond_the_end_of_a_group) {
  struct inside in = inside_new();
  void *block = PSMalloc(in.handle, 1000); /* four to a unit */
  (void)at_or(group_of(&in, unit_of(&in, block), 0).free, UINT64_C(1) << 60);
  found(&in, "beyond its end");
  goes_on(&in);
}

CASE(group_of_nobody) {
  struct inside in = inside_new();
  void *block = PSMalloc(in.handle, 100);
  at_store(group_of(&in, unit_of(&in, block), 0).owner, 3);
  found(&in, "owned by nobody");
  goes_on(&in);
}

CASE(group_with_a_mark_left) {
  struct inside in = inside_new();
  void *block = PSMalloc(in.handle, 100);
  at_store(group_of(&in, unit_of(&in, block), 0).owner, OWNER_MARK);
  found(&in, "owned by nobody");
  goes_on(&in);
}

CASE(cache_of_no_seat) {
  struct inside in = inside_new();
  at_store(&in.owners[2], PSM_SEATS + 1);
  found(&in, "no seat");
  goes_on(&in);
}

CASE(cache_that_holds_what_it_does_not_own) {
  struct inside in = inside_new();
  void *block = PSMalloc(in.handle, 100);
  at_store(group_of(&in, unit_of(&in, block), 0).owner, 0);
  found(&in, "does not own");
  goes_on(&in);
}

CASE(cache_with_too_many_blocks) {
  struct inside in = inside_new();
  CHECK(PSMalloc(in.handle, 1000) != NULL);
  (void)at_or(&cache_of(&in, 1)->slots[class_of(&in, 1000)].bits, UINT64_C(1) << 50);
  found(&in, "does not own");
  goes_on(&in);
}

CASE(list_without_its_run) {
  struct inside in = inside_new();
  for (uint32_t bin = 0; bin < in.g.bins; bin++) at_store(&in.bins[bin], 0);
  found(&in, "lists");
  goes_on(&in);
}

CASE(list_that_leads_outside) {
  struct inside in = inside_new();
  in.spans->bin_map[0] = ~UINT64_C(0);
  for (uint32_t bin = 0; bin < in.g.bins; bin++) at_store(&in.bins[bin], UINT32_MAX - bin);
  found(&in, "lists");
  goes_on(&in);
}

/* Two runs of one length, so that a list has two links. */
static struct inside inside_with_a_list(uint32_t *first, uint32_t *second) {
  struct inside in = inside_new();
  void *blocks[4];
  for (int i = 0; i < 4; i++) blocks[i] = PSMalloc(in.handle, 20000);
  PSMfree(in.handle, blocks[0]);
  PSMfree(in.handle, blocks[2]);
  *first = unit_of(&in, blocks[2]);
  *second = unit_of(&in, blocks[0]);
  CHECK_EQ(at_load(&slab_of(&in, *first)->next), *second + 1);
  return in;
}

CASE(list_that_goes_round) {
  uint32_t first, second;
  struct inside in = inside_with_a_list(&first, &second);
  at_store(&slab_of(&in, second)->next, first + 1);
  found(&in, "lists");
  goes_on(&in);
}

CASE(list_with_a_wrong_way_back) {
  uint32_t first, second;
  struct inside in = inside_with_a_list(&first, &second);
  at_store(&slab_of(&in, second)->prev, 0);
  found(&in, "lists");
  goes_on(&in);
}

CASE(list_in_the_wrong_bin) {
  uint32_t first, second;
  struct inside in = inside_with_a_list(&first, &second);
  at_store(&in.bins[7], at_load(&in.bins[5]));
  found(&in, "lists");
  goes_on(&in);
}

CASE(list_that_is_not_on_the_map) {
  uint32_t first, second;
  struct inside in = inside_with_a_list(&first, &second);
  in.spans->bin_map[0] = 0;
  found(&in, "lists");
  goes_on(&in);
}

/* An allocation that meets a broken list rebuilds all of them and succeeds. */
CASE(list_that_an_allocation_meets) {
  uint32_t first, second;
  struct inside in = inside_with_a_list(&first, &second);
  at_store(&in.bins[5], in.g.units + 7);
  void *block = PSMalloc(in.handle, 20000);
  CHECK(block != NULL);
  CHECK_EQ(PSMgetError(in.handle), PSM_E_CORRUPT);
  CHECK_EQ(PSMcheck(in.handle), 0);
  goes_on(&in);
}

/* A table that tiles no more cannot be rebuilt from: large blocks are refused. */
CASE(lists_and_table_at_once) {
  struct inside in = inside_new();
  void *block = PSMalloc(in.handle, 20000);
  at_store(&in.table[unit_of(&in, block)], UNIT_TAIL);
  for (uint32_t bin = 0; bin < in.g.bins; bin++) at_store(&in.bins[bin], UINT32_MAX);
  in.spans->bin_map[0] = ~UINT64_C(0);
  CHECK_SETS(PSM_E_NOMEM, CHECK(PSMalloc(in.handle, 40000) == NULL));
  CHECK_EQ(PSMgetError(in.handle), PSM_E_CORRUPT);
  goes_on(&in);
}

/* A thread knows by itself where the group in its slot lies and how long it is. */
CASE(slot_with_blocks_beyond_its_group) {
  struct inside in = inside_new();
  void **root = PSMgetUser(in.handle);
  void *first = PSMalloc(in.handle, 1000); /* four to a unit */
  struct slot_shm *slot = &cache_of(&in, 1)->slots[class_of(&in, 1000)];
  at_store(&slot->bits, ~UINT64_C(7));
  void *last = PSMalloc(in.handle, 1000);
  CHECK_PTR(last, (char *)first + 3 * PSMusableSize(in.handle, first));
  at_store(&slot->bits, ~UINT64_C(15));
  void *other = PSMalloc(in.handle, 1000);
  CHECK(unit_of(&in, other) != unit_of(&in, first));
  at_store(&slot->bits, ~UINT64_C(15));
  CHECK_EQ(PSMallocTo(in.handle, 1000, root), 0);
  CHECK(PSMusableSize(in.handle, *root) >= 1000);
  goes_on(&in);
}

/* As if the holder of the span lock had died: no seat has this tag. */
static void holder_dies(const struct inside *in) {
  at_store(&in->spans->lock, UINT32_C(1) << 11 | 501);
}

/* A large block that was to be published, by one who is dead. */
static struct inside inside_with_a_publication(void **block, void ***place) {
  struct inside in = inside_new();
  *place = PSMgetUser(in.handle);
  *block = PSMalloc(in.handle, 20000);
  at_store(&in.spans->to_block, PSMoffset(in.handle, *block));
  at_store(&in.spans->to_where, PSM_USER_OFFSET);
  at_store(&in.spans->to_old, 0);
  holder_dies(&in);
  return in;
}

CASE(publication_that_did_not_happen) {
  void *block, **place;
  struct inside in = inside_with_a_publication(&block, &place);
  h_sound(in.handle);
  CHECK_REFUSED(PSMfree(in.handle, block)); /* it is free */
  CHECK_EQ(at_load(&in.spans->to_block), 0);
  goes_on(&in);
}

CASE(publication_that_happened) {
  void *block, **place;
  struct inside in = inside_with_a_publication(&block, &place);
  *place = block;
  h_sound(in.handle);
  CHECK(PSMusableSize(in.handle, block) >= 20000);
  PSMfree(in.handle, block);
  goes_on(&in);
}

CASE(publication_to_nowhere) {
  void *block, **place;
  struct inside in = inside_with_a_publication(&block, &place);
  at_store(&in.spans->to_where, 3);
  h_sound(in.handle);
  CHECK(PSMusableSize(in.handle, block) >= 20000);
  at_store(&in.spans->to_block, PSMoffset(in.handle, PSMalloc(in.handle, 100)));
  at_store(&in.spans->to_where, PSM_USER_OFFSET);
  holder_dies(&in);
  h_sound(in.handle); /* a small block is none of the span lock's */
  at_store(&in.spans->to_block, MIB * 7);
  holder_dies(&in);
  h_sound(in.handle);
  goes_on(&in);
}

CASE(marks_of_the_dead) {
  struct inside in = inside_new();
  uint32_t unit = unit_of(&in, PSMalloc(in.handle, 16));
  struct group_ref group = group_of(&in, unit, 1);
  CHECK_EQ(at_load(group.owner), 0);
  at_store(group.owner, OWNER_MARK);
  at_store(&in.spans->marked, unit + 1);
  holder_dies(&in);
  h_sound(in.handle);
  CHECK_EQ(at_load(group.owner), 0);
  at_store(&in.spans->marked, in.g.units + 9); /* nowhere */
  holder_dies(&in);
  h_sound(in.handle);
  goes_on(&in);
}

MEMBER(dies_after_publishing) {
  struct inside in = inside_of(handle);
  void **root = PSMgetUser(handle);
  *root = PSMalloc(handle, 100);
  struct cache_shm *cache = cache_of(&in, 2);
  at_store(&cache->to_where, PSM_USER_OFFSET);
  at_store(&cache->to_block, PSMoffset(handle, *root));
  h_die();
}

/* PSMfreeFrom of a block that a dead process had published a moment ago. */
CASE(publication_taken_before_it_is_settled) {
  struct inside in = inside_new();
  void **root = PSMgetUser(in.handle);
  PSMfree(in.handle, PSMalloc(in.handle, 100)); /* takes cache 1 */
  pid_t child = h_member(in.handle, "dies_after_publishing", NULL);
  CHECK_EQ(h_wait(child), 1000 + SIGKILL);
  CHECK(at_load(&cache_of(&in, 2)->to_block) != 0);
  CHECK_EQ(PSMfreeFrom(in.handle, root), 0);
  CHECK_PTR(*root, NULL);
  CHECK_EQ(PSMreap(in.handle), 1);
  CHECK_EQ(h_stat(in.handle).blocks, 0);
  h_sound(in.handle);
  void *block, **place;
  PSMdeinit(in.handle);
  in = inside_with_a_publication(&block, &place);
  *place = block;
  CHECK_EQ(PSMfreeFrom(in.handle, place), 0);
  CHECK_EQ(PSMlastError(), 0);
  CHECK_EQ(h_stat(in.handle).blocks, 0);
  h_sound(in.handle);
  goes_on(&in);
}

MEMBER(dies_after_claiming) {
  struct inside in = inside_of(handle);
  uint32_t unit = (uint32_t)atoi(argv[0]);
  CHECK(PSMalloc(handle, 16) != NULL); /* takes cache 2 */
  at_store(&cache_of(&in, 2)->slots[class_of(&in, 1000)].group, 1 + (uint64_t)unit * PSM_GROUPS);
  at_store(group_of(&in, unit, 0).owner, 3);
  h_die();
}

/* Killed between the claim of a group and the second look at the table, when the slab had just
 * been cut anew: only the slot of its former class names the group. */
CASE(group_claimed_after_its_slab_was_cut_anew) {
  struct inside in = inside_new();
  void *block = PSMalloc(in.handle, 100);
  uint32_t unit = unit_of(&in, block);
  struct group_ref group = group_of(&in, unit, 0);
  for (int i = 0; i < 100; i++) CHECK(PSMalloc(in.handle, 100) != NULL); /* lets the group go */
  CHECK_EQ(at_load(group.owner), 0);
  pid_t child = h_member(in.handle, "dies_after_claiming", h_text("%u", unit), NULL);
  CHECK_EQ(h_wait(child), 1000 + SIGKILL);
  h_sound(in.handle);
  CHECK_EQ(PSMreap(in.handle), 1);
  CHECK_EQ(at_load(group.owner), 0);
  h_sound(in.handle);
  goes_on(&in);
}
