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
int psm_cache_refill(struct worker *worker, uint32_t cls);

/** A block from a slot; NULL if the slot is empty. */
PSM_INLINE void *slot_take(struct slot_shm *slot, char *base) {
  uint64_t bits = at_load(&slot->bits);
  if (unlikely(bits == 0)) return NULL;
  at_store(&slot->bits, bits & (bits - 1));
  return base + slot->first + (uint64_t)bit_first(bits) * slot->size;
}

/** Allocate and publish a small block.
 *
 *  Returns  PSM_OK, PSM_E_NOMEM or PSM_E_NOSPACE, quietly.
 */
int psm_cache_publish(struct worker *worker, uint32_t cls, _Atomic uint64_t *where);

/** Which block of its group an address is; false if it begins none. */
struct block_place {
  uint32_t unit, cls;
  uint32_t index; /* in the slab */
};
PSM_INLINE bool block_place(const struct segment *s, uint64_t offset, uint32_t word,
                            struct block_place *place) {
  place->unit = (uint32_t)(offset >> s->shift);
  place->cls = unit_value(word);
  if (unlikely(place->cls >= s->classes->count)) return false;
  const struct psm_class *c = &s->classes->at[place->cls];
  uint32_t inside = (uint32_t)(offset & ((UINT64_C(1) << s->shift) - 1));
  place->index = block_index(c, inside);
  return likely(place->index * c->size == inside && place->index < c->blocks);
}

/** See to a group that the free of a block has made worth offering, or full.
 *  `offset` is the block's, from unit 0. */
void psm_group_grown(const struct worker *worker, uint64_t offset);

/** Free a small block whose group another thread owns, or refuse it.
 *
 *  Returns  PSM_OK or PSM_E_DOUBLE_FREE, quietly.
 */
int psm_cache_free_rest(const struct worker *worker, uint64_t offset);

/** Free the small block at an offset from unit 0: one plain store if this
 *  worker owns its group, one atomic instruction if nobody does.
 *
 *  Returns  false, and nothing has changed: psm_cache_free_rest knows why.
 */
PSM_INLINE bool cache_free(const struct worker *worker, const struct segment *s, uint64_t offset,
                           const struct block_place *at) {
  struct group_shm *group = &slab_at(s, at->unit)->groups[at->index / PSM_GROUP];
  uint64_t bit = UINT64_C(1) << at->index % PSM_GROUP;
  uint32_t owner = at_load(&group->owner);
  if (owner == worker->id) {
    struct slot_shm *slot = &worker->cache->slots[at->cls];
    uint64_t bits = at_load(&slot->bits);
    if (unlikely(((bits | at_load(&group->free)) & bit) != 0)) return false;
    at_store(&slot->bits, bits | bit);
    return true;
  }
  if (owner != 0) return false;
  const struct psm_class *c = &s->classes->at[at->cls];
  uint64_t before = at_or(&group->free, bit);
  if (unlikely((before & bit) != 0)) return false;
  uint64_t all = before | bit;
  if (bit_count(all) == c->offer || all == c->whole || all == c->last)
    psm_group_grown(worker, offset);
  return true;
}

#endif
