/* Seats: who is a member, and who of them is alive. */
#ifndef PSM_ROSTER_H
#define PSM_ROSTER_H

#include "view.h"

/* Bytes far beyond any data, for the kernel's locks. */
#define BYTE_SEATS   (UINT64_C(1) << 62)
#define BYTE_READERS (BYTE_SEATS + PSM_SEATS)

/** Seats from this one on have never been taken. */
uint32_t psm_seats_used(const struct segment *s);

/** Take a seat, held by `file` from now on: SEAT_RESERVED, without a pid.
 *
 *  It is empty or, with `takeover`, a dead member's, which is then the
 *  caller's to bury (psm_seat_bury) before it sits down.
 *
 *  Returns  the seat, or NO_SEAT (quiet).
 */
int psm_seat_claim(struct segment *s, os_file file, bool takeover);

/** Sit down: this process is the seat's member from now on. */
void psm_seat_occupy(struct segment *s, int seat);

/** Forget who sat there. */
void psm_seat_wipe(struct segment *s, int seat);

/** Make a seat empty that still has this tenure. */
void psm_seat_vacate(struct segment *s, int seat, uint32_t tenure);

/** Does another copy of the library in this process use the mapping? Each copy
 *  has its anchor; ours must be gone. */
bool psm_mapping_shared(const struct segment *s);

PSM_INLINE uint32_t seat_state(uint32_t tenure) { return tenure & 3; }

/* A member that has left, and waits only for children, counts until then. */
PSM_INLINE bool seat_counts(const struct seat_shm *seat) {
  uint32_t state = seat_state(at_load_acquire(&seat->tenure));
  return state != SEAT_EMPTY && (state != SEAT_LEFT || at_load(&seat->pending) > 0);
}

/** The name of a seat's member, which no other ever has in this segment. */
uint64_t psm_seat_id(const struct segment *s, int seat);
bool psm_id_alive(const struct segment *s, uint64_t id);

/** If nobody alive holds a seat of this tenure: who died there; 0 if none did
 *  whose death is not on record. */
uint64_t psm_seat_dead_id(const struct seat_shm *shm, int seat, uint32_t tenure);

/** Is the member of a seat alive? A seat that is empty has none. */
bool psm_seat_alive(const struct segment *s, int seat);

/** Does another living process use the segment? One that has left, and waits
 *  only for children that are members by now, does not count. */
bool psm_others_alive(const struct segment *s);

/** The word by which a seat's present member is known in a lock. */
uint32_t psm_seat_tag(const struct segment *s, int seat);
bool psm_tag_alive(const struct segment *s, uint32_t tag);

#endif
