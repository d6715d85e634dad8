/* Which blocks are kept, by what the segment says, and what many of them takes. Included
 * after harness.h, by tests that know the core from inside. */
#ifndef PSM_TEST_STATES_H
#define PSM_TEST_STATES_H

#include "layout.h"

/* ---- What the segment says ---- */

struct inside {
  struct geometry g;
  char *base;
};

static inline struct inside look_inside(PSMHandle handle) {
  const struct header_shm *header = (const void *)handle;
  struct inside in = {.base = (char *)handle};
  CHECK(psm_geometry(&in.g, header->size, header->base));
  return in;
}

static inline uint32_t word_of(const struct inside *in, uint32_t unit) {
  return at_load((_Atomic uint32_t *)(void *)(in->base + in->g.table) + unit);
}

/* The state of a block of the slab that the unit is. */
static inline _Atomic uint8_t *block_state(const struct inside *in, uint32_t unit, uint32_t index) {
  uint32_t size = in->g.classes->at[unit_value(word_of(in, unit))].size;
  uint64_t at = in->g.states + (uint64_t)unit * in->g.states_size + index * size / PSM_STATED;
  return (_Atomic uint8_t *)(void *)(in->base + at);
}

/* The `free` of the group that a block is of. */
static inline _Atomic uint64_t *free_of(const struct inside *in, uint32_t unit, uint32_t cls,
                                        uint32_t index) {
  struct group_place place = psm_groups_at(&in->g, cls);
  char *at = in->base + place.free + (uint64_t)unit * place.stride;
  return (_Atomic uint64_t *)(void *)at + index / PSM_GROUP;
}

static inline bool cache_is_used(const struct inside *in, uint32_t cache) {
  return at_load((_Atomic uint32_t *)(void *)(in->base + in->g.owners) + cache) != 0;
}

/* A block's bit, in its group or in the slot of whichever cache. */
static inline bool bit_is_set(const struct inside *in, uint32_t unit, uint32_t cls,
                              uint32_t index) {
  uint64_t bits = at_load(free_of(in, unit, cls, index));
  for (uint32_t i = 0; i < in->g.caches; i++) {
    if (i > 0 && !cache_is_used(in, i)) continue;
    const struct cache_shm *cache =
        (const void *)(in->base + in->g.cache_area + (uint64_t)i * in->g.cache_size);
    uint64_t id = at_load(&cache->slots[cls].group) & (SLOT_CHANGE - 1);
    if (id == 1 + (uint64_t)unit * PSM_GROUPS + index / PSM_GROUP)
      bits |= at_load(&cache->slots[cls].bits);
  }
  return (bits >> index % PSM_GROUP & 1) != 0;
}

/* The blocks of a class, or of any, that some thread keeps; and of the last one its unit and
 * number. */
static inline uint32_t kept_find(PSMHandle handle, uint32_t cls, uint32_t *at_unit,
                                 uint32_t *at_index) {
  struct inside in = look_inside(handle);
  uint32_t kept = 0;
  for (uint32_t unit = 0; unit < in.g.units; unit++) {
    uint32_t word = word_of(&in, unit);
    uint32_t units = unit_kind(word) == UNIT_SLAB ? 1 : unit_value(word);
    const struct psm_class *c = &in.g.classes->at[unit_value(word) % in.g.classes->count];
    bool wanted = cls == PSM_CLASSES || unit_value(word) == cls;
    for (uint32_t i = 0; unit_kind(word) == UNIT_SLAB && wanted && c->stated && i < c->blocks;
         i++) {
      uint8_t state = at_load(block_state(&in, unit, i));
      if (state >= BLOCK_USED || bit_is_set(&in, unit, unit_value(word), i)) continue;
      CHECK(state > BLOCK_FREE);
      kept++;
      if (at_unit != NULL) *at_unit = unit, *at_index = i;
    }
    unit += units - 1;
  }
  return kept;
}

static inline uint32_t kept_now(PSMHandle handle, uint32_t *at_unit, uint32_t *at_index) {
  return kept_find(handle, PSM_CLASSES, at_unit, at_index);
}

static inline uint32_t kept(PSMHandle handle) { return kept_now(handle, NULL, NULL); }

static inline uint32_t kept_of(PSMHandle handle, size_t size) {
  const struct psm_classes *classes = look_inside(handle).g.classes;
  return kept_find(handle, size_class(classes, size), NULL, NULL);
}

/* ---- Take and free many ---- */

static inline void take(PSMHandle handle, void **blocks, int count, size_t size) {
  for (int i = 0; i < count; i++) CHECK((blocks[i] = PSMalloc(handle, size)) != NULL);
}

static inline void give(PSMHandle handle, void **blocks, int count) {
  for (int i = 0; i < count; i++) CHECK_SETS(0, PSMfree(handle, blocks[i]));
}

/* It doubles each time that it was emptied. */
static inline void keep_many(PSMHandle handle, size_t size) {
  static _Thread_local void *blocks[200];
  for (int round = 0; round < 8; round++) {
    take(handle, blocks, 200, size);
    give(handle, blocks, 200);
  }
}

/* As much as in a new segment, and nothing is anybody's. */
static inline void all_is_back(PSMHandle handle) {
  CHECK_EQ(h_stat(handle).blocks, 0);
  h_sound(handle);
  size_t largest = h_largest(handle);
  CHECK_EQ(kept(handle), 0);
  PSMHandle fresh = h_init(h_shm_name("fresh"), (size_t)h_stat(handle).size);
  CHECK_EQ(largest, h_largest(fresh));
  PSMdeinit(fresh);
}

/* ---- The end of a member ---- */

/* "killed" by who passes the gate, by "exit", or "quit" at once; and never by leaving. */
static inline void end_as(const char *how, const char *ready) {
  h_gate_open(h_gate_from(ready));
  while (!strcmp(how, "killed")) h_sleep_us(100000);
  if (!strcmp(how, "exit")) exit(0);
  h_quit(0);
}

#endif
