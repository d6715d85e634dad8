/* A block goes back to its group, and an empty slab to the free runs. */
#ifndef PSM_GIVE_H
#define PSM_GIVE_H

#include "slab.h"

/** A group has as many free blocks as to be offered, or is full: see to it. */
void psm_group_grown(const struct worker *worker, uint32_t unit, uint32_t index);

/** Give a slab back if it is idle; takes the span lock if the worker has not. */
void psm_retire(const struct worker *worker, uint32_t unit, uint32_t cls);

/** Set a block's bit, with one atomic instruction.
 *
 *  Returns  false if it was set.
 */
PSM_INLINE bool block_give(const struct worker *worker, uint32_t unit, uint32_t cls,
                           uint32_t index) {
  const struct segment *s = worker->segment;
  struct group_ref group = group_at(s, unit, cls, index / PSM_GROUP);
  uint64_t bit = bit_add(0, index);
  uint64_t before = at_or(group.free, bit);
  if (unlikely((before & bit) != 0)) return false;
  uint32_t count = bit_count(before | bit);
  if ((s->classes->at[cls].notable >> (count - 1) & 1) != 0) psm_group_grown(worker, unit, index);
  return true;
}

#endif
