/* A thread's claimed blocks: hit, refill, free. */
#ifndef PSM_CACHE_H
#define PSM_CACHE_H

#include "magazine.h"

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
  const union way *from = way + 1;
  struct slot_shm *slot = from->alloc.slot;
  uint64_t bits = at_load(&slot->bits) & from->alloc.mask;
  if (unlikely(bits == 0)) return false;
  uint64_t first = bit_first(bits);
  uint64_t rest = bits & (bits - 1);
  uint64_t size = from->alloc.size;
  char *taken = from->alloc.first + first * size;
  if (from->alloc.states != 0)
    at_store(state_of(from->alloc.states, taken), used_state((uintptr_t)taken));
  at_store_release(&slot->bits, rest); /* who sees the bit gone sees that the block is used */
  *block = taken;
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

/** Is a block free already, in the slot of its group's owner? */
bool psm_block_cached(const struct segment *s, uint32_t cls, uint32_t unit, uint32_t index);

/** Free any other small block, or refuse it.
 *
 *  Returns  PSM_OK or PSM_E_DOUBLE_FREE, quietly.
 */
PSM_INLINE int cache_free_other(struct worker *worker, const struct block_place *at) {
  const struct segment *s = worker->segment;
  bool freed;
  if (s->classes->at[at->cls].stated) {
    freed = psm_magazine_keep(worker, at->unit, at->cls, at->index);
  } else {
    struct group_ref group = group_at(s, at->unit, at->cls, at->index / PSM_GROUP);
    bool cached = at_load(group.owner) != 0 && psm_block_cached(s, at->cls, at->unit, at->index);
    freed = !cached && block_give(worker, at->unit, at->cls, at->index);
  }
  return freed ? PSM_OK : PSM_E_DOUBLE_FREE;
}

#endif
