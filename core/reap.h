/* Give back what dead members still held. */
#ifndef PSM_REAP_H
#define PSM_REAP_H

#include "view.h"

/** Give back all caches of a seat. Under the span lock; repeatable. */
void psm_seat_flush(struct segment *s, int seat);

/** Reap every member that is dead. Under the span lock; repeatable.
 *
 *  Returns  how many.
 */
int psm_reap_dead(struct segment *s);

/** Make room: the worker's own caches, the dead's, and slabs that are empty.
 *  Under the span lock. */
void psm_make_room(struct segment *s, const struct worker *worker);

/** Give the memory of free runs back to the file system; takes the span lock.
 *
 *  Returns  bytes given back.
 */
uint64_t psm_trim(struct segment *s);

#endif
