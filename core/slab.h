/* Slabs: groups of equal blocks, and the hints that lead to them. */
#ifndef PSM_SLAB_H
#define PSM_SLAB_H

#include "view.h"

#define NO_GROUP UINT64_C(0)

/** A group's name in a slot: never 0. */
PSM_INLINE uint64_t group_id(uint32_t unit, uint32_t group) {
  return 1 + (uint64_t)unit * PSM_GROUPS + group;
}
PSM_INLINE uint32_t group_unit(uint64_t id) { return (uint32_t)((id - 1) / PSM_GROUPS); }
PSM_INLINE uint32_t group_index(uint64_t id) { return (uint32_t)((id - 1) % PSM_GROUPS); }

/** Does a group's name lead to a group of a slab of this class? */
bool psm_group_valid(const struct segment *s, uint64_t id, uint32_t cls);

/** Say that a slab may be worth a look. */
void psm_hint_set(struct segment *s, uint32_t cls, uint32_t unit);

/** The next slab worth a look, from `unit` on and round; NO_UNIT if none. */
uint32_t psm_hint_next(struct segment *s, uint32_t cls, uint32_t unit);

/** Say that a slab is not worth a look, unless it is after all. */
void psm_hint_clear(struct segment *s, uint32_t cls, uint32_t unit);

/** The same of one whose only group the caller owns: it alone can offer it again. */
void psm_hint_drop(struct segment *s, uint32_t cls, uint32_t unit);

/** Give up the ownership of a group: others may take from it.
 *
 *  Returns  true if the group is full, so that its slab may be empty.
 */
bool psm_group_release(struct segment *s, uint32_t cls, uint64_t id);

/** Are all blocks of a slab free and none of its groups owned? */
bool psm_slab_idle(const struct segment *s, uint32_t unit, uint32_t cls);

/** Own all groups of a slab that is idle, with OWNER_MARK, so that it can be
 *  given back. Under the span lock; undoes itself if it fails. */
bool psm_slab_mark(struct segment *s, uint32_t unit, uint32_t cls);

/** Take the marks off: of a slab just cut, or after a death. */
void psm_slab_unmark(struct segment *s, uint32_t unit, uint32_t cls);

/** Make all blocks of a new slab free, with every group marked. */
void psm_slab_prepare(struct segment *s, uint32_t unit, uint32_t cls);

/** Give back all that a cache holds; repeatable from any point.
 *
 *  `idle` is called for each slab that may have become empty; may be NULL.
 */
void psm_cache_reclaim(struct segment *s, uint32_t cache,
                       void (*idle)(struct segment *, uint32_t unit));

/** Is the block at this offset just being published, perhaps by one who is dead? */
bool psm_publication_pending(const struct segment *s, uint64_t block);

/** Complete or undo a PSMallocTo that a dead thread had begun. */
bool psm_publication_kept(const struct segment *s, uint64_t block, uint64_t where, uint64_t old);

/** The group a slot names, or NO_GROUP. */
PSM_INLINE uint64_t slot_group(const struct slot_shm *slot) {
  return at_load_acquire(&slot->group) & (SLOT_CHANGE - 1);
}

/** The free blocks of a group that lie in its owner's slot.
 *
 *  Never the bits of another group to which the owner has moved meanwhile.
 */
uint64_t psm_group_cached(const struct segment *s, uint32_t cls, uint64_t id);

#endif
