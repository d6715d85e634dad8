/* A block goes back to its group, and an empty slab to the free runs. */
#ifndef PSM_GIVE_H
#define PSM_GIVE_H

#include "slab.h"

/** A unit's group has as many free blocks as to be offered, or is full: see to it. */
void psm_group_grown(const struct worker *worker, uint32_t unit, uint32_t index);

/** Give a slab back if it is idle; takes the span lock if the worker has not. */
void psm_retire(const struct worker *worker, uint32_t unit, uint32_t cls);

/** Set bits of a group's `free`, with one atomic instruction.
 *
 *  Returns  those that were not set.
 */
PSM_INLINE uint64_t bits_give(const struct worker *worker, uint32_t unit, uint32_t cls,
                              uint32_t index, uint64_t bits) {
  const struct segment *s = worker->segment;
  uint64_t before = at_or(group_at(s, unit, cls, index).free, bits);
  if (unlikely((bits & ~before) == 0)) return 0;
  uint64_t counts = full_mask(bit_count(before | bits)) & ~UINT64_C(0) << bit_count(before);
  if ((s->classes->at[cls].notable & counts) != 0) psm_group_grown(worker, unit, index);
  return bits & ~before;
}

/** Give one block back.
 *
 *  Returns  false if its bit was set.
 */
PSM_INLINE bool block_give(const struct worker *worker, uint32_t unit, uint32_t cls,
                           uint32_t index) {
  return bits_give(worker, unit, cls, index / PSM_GROUP, bit_add(0, index)) != 0;
}

#endif
