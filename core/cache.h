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

/** Take a block, with a refill if need be.
 *
 *  Returns  PSM_OK; else as psm_cache_refill, or PSM_E_CORRUPT.
 */
int psm_cache_take(struct worker *worker, uint32_t cls, void **block);

/** Make the ways of a new cache, none of which leads to a block yet. */
void psm_ways_begin(const struct segment *s, struct cache_shm *cache, union way *ways);

/** A block from a slot, in `*block`; false if there is none. `way` is to free by. */
PSM_INLINE bool slot_take(const union way *way, void **block) {
  struct slot_shm *slot = way->free.slot;
  const union way *from = way + 1;
  uint64_t bits = at_load(&slot->bits) & from->alloc.mask;
  if (unlikely(bits == 0)) return false;
  uint64_t rest = bits & (bits - 1);
  at_store(&slot->bits, rest);
  uint64_t size = from->alloc.size;
  *block = from->alloc.first + bit_first(bits) * size;
  /* The next block will be written soon, and is far away for the processor. */
  prefetch_write(from->alloc.first + bit_first(rest | UINT64_C(1) << 63) * size);
  return true;
}

/** Allocate and publish a small block.
 *
 *  Returns  PSM_OK, PSM_E_NOMEM or PSM_E_NOSPACE, quietly.
 */
int psm_cache_publish(struct worker *worker, uint32_t cls, _Atomic uintptr_t *where);

/** Which block of its slab an address is; false if it begins none. */
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
  uint64_t inside = offset & ((UINT64_C(1) << s->shift) - 1);
  uint64_t scaled = block_scaled(inside, c->reciprocal);
  place->index = (uint32_t)(scaled >> 32);
  return likely(block_begins(scaled, c->reciprocal) && place->index < c->blocks);
}

/** Free a block of the group in a slot with one plain store.
 *
 *  Returns  false, and nothing has changed: cache_free_other knows why.
 */
PSM_INLINE bool slot_give(const union way *way, uint64_t index) {
  struct slot_shm *slot = way->free.slot;
  uint64_t bits = at_load(&slot->bits);
  uint64_t seen = at_load(way[1].alloc.group) | bits;
  if (unlikely((seen >> index % PSM_GROUP & 1) != 0)) return false;
  at_store(&slot->bits, bit_add(bits, index));
  return true;
}

/** A group has as many free blocks as to be offered, or is full: see to it. */
void psm_group_grown(const struct worker *worker, uint32_t unit, uint32_t index);

/** Is a block free already, in the slot of its group's owner? */
bool psm_block_cached(const struct segment *s, uint32_t cls, uint32_t unit, uint32_t index);

/** Free any other small block, with one atomic instruction, or refuse it.
 *
 *  Returns  PSM_OK or PSM_E_DOUBLE_FREE, quietly.
 */
PSM_INLINE int cache_free_other(const struct worker *worker, const struct block_place *at) {
  const struct segment *s = worker->segment;
  struct group_ref group = group_at(s, at->unit, at->cls, at->index / PSM_GROUP);
  uint64_t bit = bit_add(0, at->index);
  if (at_load(group.owner) != 0 && psm_block_cached(s, at->cls, at->unit, at->index))
    return PSM_E_DOUBLE_FREE;
  uint64_t before = at_or(group.free, bit);
  if (unlikely((before & bit) != 0)) return PSM_E_DOUBLE_FREE;
  uint32_t count = bit_count(before | bit);
  if ((s->classes->at[at->cls].notable >> (count - 1) & 1) != 0)
    psm_group_grown(worker, at->unit, at->index);
  return PSM_OK;
}

#endif
