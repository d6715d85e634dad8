/* Spans: runs of units, under one lock. */
#ifndef PSM_SPAN_H
#define PSM_SPAN_H

#include "view.h"

/** Take the span lock; after a death the derived data is rebuilt first. */
void psm_span_lock(struct segment *s);
void psm_span_unlock(struct segment *s);

/* All that follows under the span lock. */

/** Make the whole segment one free run; at creation. */
void psm_span_begin(struct segment *s);

/** Set a run of `units` aside, at a multiple of `alignment` bytes. Its memory
 *  and descriptor are committed; the table still calls it free.
 *
 *  Returns  PSM_OK and the first unit; PSM_E_NOMEM or PSM_E_NOSPACE, quietly.
 */
int psm_span_take(struct segment *s, uint64_t units, uint64_t alignment, uint32_t *unit);

/** Turn a run that was set aside into a large block: one store. */
void psm_span_use(struct segment *s, uint32_t unit, uint32_t units);

/** Give a run back, whatever it was, and join it with its neighbours. */
void psm_span_free(struct segment *s, uint32_t unit, uint32_t units);

/** Change a large block's length in place.
 *
 *  Returns  PSM_OK, PSM_E_NOMEM or PSM_E_NOSPACE, quietly.
 */
int psm_span_resize(struct segment *s, uint32_t unit, uint32_t units, uint32_t wanted);

/** Cut one unit into blocks. All groups are marked: psm_slab_unmark follows.
 *
 *  Returns  as psm_span_take.
 */
int psm_slab_cut(struct segment *s, uint32_t cls, uint32_t *unit);

/** The cut is done: what was marked is open to all. */
void psm_slab_open(struct segment *s, uint32_t unit, uint32_t cls);

/** Give a slab back if it is idle. */
void psm_slab_retire(struct segment *s, uint32_t unit);

/** Give every idle slab back. */
void psm_slab_retire_all(struct segment *s);

/** Walk the heads: *unit is the next head, from 0; its length is returned.
 *
 *  Returns  units of the span at `unit`, or 0 at the end or if the word is
 *           no head (which makes the segment corrupt).
 */
uint32_t psm_span_length(const struct segment *s, uint32_t unit);

/** The head to go on with after a span that may be given back before one looks there: a
 *  free run behind it may be joined with it, and is passed over. */
uint32_t psm_span_next(const struct segment *s, uint32_t unit, uint32_t units);

/** The head of the span that a unit is in; NO_UNIT if the table is corrupt.
 *  Inside a free run only the head says so. */
uint32_t psm_span_of(const struct segment *s, uint32_t unit);

/** Do the lists hold exactly the free runs? */
bool psm_lists_sound(const struct segment *s);

#endif
