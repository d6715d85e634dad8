/* A lock of one word in a segment that outlives its owner. */
#ifndef PSM_LOCK_H
#define PSM_LOCK_H

#include "roster.h"

/** Wait for the lock and take it.
 *
 *  Returns  PSM_OK, or PSM_OWNER_DIED: taken over from a member that is gone.
 */
int psm_lock_take(struct segment *s, _Atomic uint32_t *word);

/** Take the lock if nobody who lives holds it.
 *
 *  Returns  as psm_lock_take, or PSM_E_STATE, quietly: it is held.
 */
int psm_lock_try(struct segment *s, _Atomic uint32_t *word);

/** Returns  PSM_OK, or PSM_E_STATE, quietly: this process does not hold it. */
int psm_lock_give(struct segment *s, _Atomic uint32_t *word);

#endif
