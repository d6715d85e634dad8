/* The blocks that a thread has freed and keeps, to allocate them again.
 *
 * A magazine is a stack in private memory, for each class one; that a block is kept,
 * and by whom, stands in its state, where a reaper finds it.
 */
#ifndef PSM_MAGAZINE_H
#define PSM_MAGAZINE_H

#include "give.h"

/** The block that was kept last, in `*block`; false if none is. `way` is to free by, `states`
 *  as in state_of. */
PSM_INLINE bool magazine_take(union way *way, uintptr_t states, void **block) {
  char *last = way->free.last;
  if (unlikely(last == NULL)) return false;
  at_store(state_of(states, last), used_state((uintptr_t)last));
  char **top = way->free.top - 1;
  way->free.top = top;
  way->free.last = *top;
  *block = last;
  prefetch_write(*top); /* the next, as in slot_take */
  return true;
}

/** The other way round; there is room. */
PSM_INLINE void magazine_put(union way *way, char **top, char *block) {
  *top = way->free.last;
  way->free.last = block;
  way->free.top = top + 1;
}

/** Keep a used block, or give it back if there is no way to keep it.
 *
 *  The magazine grows, or half of it is given back, if it is full. Under the span lock
 *  nothing is kept: a reaper may be about to give back what the dead were publishing.
 *
 *  Returns  false if the block is free already.
 */
bool psm_magazine_keep(struct worker *worker, uint32_t unit, uint32_t cls, uint32_t index);

/** Give back all that the worker keeps. */
void psm_magazines_empty(const struct worker *worker);

/** Give back all that the worker keeps and has claimed. Under the span lock. */
void psm_worker_empty(const struct worker *worker);

/** Has memory run short since the worker last gave all back for that? */
PSM_INLINE bool worker_is_pressed(const struct worker *worker) {
  return unlikely(at_load(&worker->segment->spans->pressure) != worker->pressure);
}

/** Then give all back; takes the span lock if the worker has not. */
void psm_worker_yield(struct worker *worker);

/** Free the private memory of magazines, whatever is in them. */
void psm_magazines_free(union way *ways);

/** Around fork: as long as it is locked no magazine is being made or grown, so that the child
 *  finds them whole, and no thread of ours in an allocator that does not expect a fork. */
void psm_magazines_lock(void);
void psm_magazines_unlock(void);

#endif
