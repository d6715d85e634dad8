/* A thread's claimed blocks: hit, refill, free. */
#ifndef PSM_CACHE_H
#define PSM_CACHE_H

#include "slab.h"

/** Claim a cache for the calling thread.
 *
 *  Returns  its index, or 0 if all are taken or memory for it is not to be had.
 */
uint32_t psm_cache_claim(struct segment *s);

/** Give a cache and all that it holds back. */
void psm_cache_release(struct segment *s, uint32_t index);

/** Claim free blocks of a class for the worker's slot.
 *
 *  Returns  PSM_OK: the slot's bits are not 0; else PSM_E_NOMEM or
 *           PSM_E_NOSPACE, quietly.
 */
int psm_cache_refill(struct worker *worker, uint32_t class);

/** A block of a class, from the slot; NULL if the slot is empty. */
PSM_INLINE void *cache_take(const struct worker *worker, uint32_t class) {
  struct slot_shm *slot = &worker->cache->slots[class];
  uint64_t bits = at_load(&slot->bits);
  if (unlikely(bits == 0)) return NULL;
  at_store(&slot->bits, bits & (bits - 1));
  return worker->segment->base + slot->first + (uint64_t)bit_first(bits) * slot->size;
}

/** Allocate and publish a small block.
 *
 *  Returns  PSM_OK, PSM_E_NOMEM or PSM_E_NOSPACE, quietly.
 */
int psm_cache_publish(struct worker *worker, uint32_t class, _Atomic uint64_t *where);

/** What is left to do when a free was the one that made a group worth
 *  offering, or its slab empty. */
void psm_group_grown(const struct worker *worker, uint32_t class, uint64_t id, uint64_t before);

/** Which block of its group an address is; false if it begins none. */
struct block_place {
  uint32_t unit, class;
  uint32_t index; /* in the slab */
};
PSM_INLINE bool block_place(const struct segment *s, uint64_t offset, uint32_t word,
                            struct block_place *place) {
  place->unit = (uint32_t)(offset >> s->shift);
  place->class = unit_value(word);
  if (unlikely(place->class >= s->classes->count)) return false;
  const struct psm_class *c = &s->classes->at[place->class];
  uint32_t inside = (uint32_t)(offset & ((UINT64_C(1) << s->shift) - 1));
  place->index = block_index(c, inside);
  return likely(place->index * c->size == inside && place->index < c->blocks);
}

/** Free a small block: `offset` from unit 0, `word` its unit's.
 *
 *  Returns  PSM_OK, PSM_E_POINTER or PSM_E_DOUBLE_FREE, quietly.
 */
PSM_INLINE int cache_free(const struct worker *worker, uint64_t offset, uint32_t word) {
  struct segment *s = worker->segment;
  struct block_place at;
  if (!block_place(s, offset, word, &at)) return PSM_E_POINTER;
  struct group_shm *group = &slab_at(s, at.unit)->groups[at.index / PSM_GROUP];
  uint64_t bit = UINT64_C(1) << at.index % PSM_GROUP;
  uint32_t owner = at_load(&group->owner);
  if (owner == worker->id) {
    struct slot_shm *slot = &worker->cache->slots[at.class];
    uint64_t bits = at_load(&slot->bits);
    if (unlikely(((bits | at_load(&group->free)) & bit) != 0)) return PSM_E_DOUBLE_FREE;
    at_store(&slot->bits, bits | bit);
    return PSM_OK;
  }
  uint64_t id = group_id(at.unit, at.index / PSM_GROUP);
  if (owner != 0 && psm_block_cached(s, at.class, id, bit)) return PSM_E_DOUBLE_FREE;
  uint64_t before = at_or(&group->free, bit);
  if (unlikely((before & bit) != 0)) return PSM_E_DOUBLE_FREE;
  const struct psm_class *c = &s->classes->at[at.class];
  uint32_t blocks = group_blocks(c, at.index / PSM_GROUP);
  uint32_t count = bit_count(before) + 1;
  if (count == offer_threshold(blocks) || count == blocks)
    psm_group_grown(worker, at.class, id, before);
  return PSM_OK;
}

#endif
