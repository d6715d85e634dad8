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

#define NO_BLOCK UINT64_MAX

/** A block from a slot: its offset, out of the file, so that it is the caller's
 *  to compare with the segment's size; NO_BLOCK if the slot is empty. */
PSM_INLINE uint64_t slot_take(struct slot_shm *slot, const char *base) {
  uint64_t bits = at_load(&slot->bits);
  if (unlikely(bits == 0)) return NO_BLOCK;
  uint64_t rest = bits & (bits - 1);
  at_store(&slot->bits, rest);
  uint64_t first = at_load(&slot->first);
  uint64_t size = at_load(&slot->size);
  /* The next block will be written soon, and is far away for the processor. */
  uint64_t next = first + bit_first(rest | UINT64_C(1) << 63) * size;
  prefetch_write((const void *)((uintptr_t)base + next));
  return first + bit_first(bits) * size;
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

PSM_INLINE struct group_shm *place_group(const struct segment *s, const struct block_place *at) {
  return &slab_at(s, at->unit)->groups[at->index / PSM_GROUP];
}

/** Free a small block whose group this worker owns, with one plain store.
 *
 *  Returns  false, and nothing has changed: psm_cache_free_other knows why.
 */
PSM_INLINE bool cache_free_own(const struct worker *worker, const struct block_place *at,
                               struct group_shm *group) {
  if (at_load(&group->owner) != worker->id) return false;
  uint64_t bit = UINT64_C(1) << at->index % PSM_GROUP;
  struct slot_shm *slot = &worker->cache->slots[at->cls];
  uint64_t bits = at_load(&slot->bits);
  if (unlikely(((bits | at_load(&group->free)) & bit) != 0)) return false;
  at_store(&slot->bits, bits | bit);
  return true;
}

/** Free any other small block, with one atomic instruction, or refuse it.
 *  `bit` is its bit in the group, `offset` its place from unit 0.
 *
 *  Returns  PSM_OK or PSM_E_DOUBLE_FREE, quietly.
 */
int psm_cache_free_other(const struct worker *worker, struct group_shm *group, uint64_t bit,
                         uint64_t offset);

#endif
