/* Give back what dead members still held. */
#ifndef PSM_REAP_H
#define PSM_REAP_H

#include "psm.h"
#include "view.h"

/** Give back all caches of a seat. Under the span lock; repeatable.
 *
 *  If it cannot be told now whether a block was kept by its threads, the caches stay the
 *  seat's, and who sits there next gives them back. */
void psm_seat_flush(struct segment *s, int seat);

/** Record that the member of a seat died, and give back what it held. Under
 *  the span lock; repeatable. The seat stays as it is. */
void psm_seat_bury(struct segment *s, int seat);

/** Reap every member that is dead. Under the span lock; repeatable.
 *
 *  Returns  how many.
 */
int psm_reap_dead(struct segment *s);

/** Reap those of some seats that are dead, of the next ones with each call: a bounded time,
 *  however many members there are. Under the span lock. */
void psm_reap_some(struct segment *s);

/** As PSMdeaths; takes the span lock. */
int psm_deaths(struct segment *s, uint64_t *cursor, PSMMember *members, int count);

/* Who has asked others for room lets them run for so many turns: they give back what they have
 * when they next come to a slow way. */
enum { PSM_TURNS = 16 };

/** Make room: what the worker has, what the dead had, and slabs that are empty; and ask the
 *  others to do as the worker. Under the span lock. */
void psm_make_room(struct segment *s, const struct worker *worker);

/** Give the memory of free runs back to the file system; takes the span lock.
 *
 *  Returns  bytes given back.
 */
uint64_t psm_trim(struct segment *s);

#endif
