/* Seats: who is a member, and who of them is alive. */
#ifndef PSM_ROSTER_H
#define PSM_ROSTER_H

#include "view.h"

/* Bytes far beyond any data, for the kernel's locks. */
#define BYTE_CREATION (UINT64_C(1) << 62)
#define BYTE_SEATS    (BYTE_CREATION + 1)
#define BYTE_READERS  (BYTE_SEATS + PSM_SEATS)

/** Take a seat, held by `file` from now on: SEAT_RESERVED, without a pid.
 *
 *  It is empty or, with `takeover`, a dead member's. What that one held is
 *  then the caller's to give back (psm_seat_flush).
 *
 *  Returns  the seat, or NO_SEAT (quiet).
 */
int psm_seat_claim(struct segment *s, os_file file, bool takeover);

/** Sit down: this process is the seat's member from now on. */
void psm_seat_occupy(struct segment *s, int seat);

/** Make a seat empty that still has this tenure. */
void psm_seat_vacate(struct segment *s, int seat, uint32_t tenure);

/** Is there a second member in this process: another copy of the library? */
bool psm_seat_shared_process(const struct segment *s);

PSM_INLINE uint32_t seat_state(uint32_t tenure) { return tenure & 3; }

/* A member that has left, and waits only for children, counts until then. */
PSM_INLINE bool seat_counts(const struct seat_shm *seat) {
  uint32_t state = seat_state(at_load_acquire(&seat->tenure));
  return state != SEAT_EMPTY && (state != SEAT_LEFT || at_load(&seat->pending) > 0);
}

/** Is the member of a seat alive? A seat that is empty has none. */
bool psm_seat_alive(const struct segment *s, int seat);

/** Does another living process use the segment? One that has left, and waits
 *  only for children that are members by now, does not count. */
bool psm_others_alive(const struct segment *s);

/** The word by which a seat's present member is known in a lock. */
uint32_t psm_seat_tag(const struct segment *s, int seat);
bool psm_tag_alive(const struct segment *s, uint32_t tag);

#endif
