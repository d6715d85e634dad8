/* A member is alive while the kernel holds its lock on the byte of its seat.
 *
 * The kernel keeps that lock as long as the file is open, and the mapping
 * keeps the file open: a daemon that closes all its descriptors lives on, a
 * process that starts another program does not. Process ids, which are used
 * again and mean nothing in another PID namespace, are never asked.
 */
#include "roster.h"

enum { TAG_SEAT_BITS = 11, TAG_GENERATIONS = 1 << 20 };

static uint32_t tag_of(uint32_t tenure, int seat) {
  return (tenure >> 2) % TAG_GENERATIONS << TAG_SEAT_BITS | (uint32_t)(seat + 1);
}

static bool seat_usable(const struct segment *s, int seat, uint32_t tenure, bool takeover) {
  if (seat_state(tenure) == SEAT_EMPTY) return true;
  return takeover && !psm_seat_alive(s, seat);
}

static bool seat_try(struct segment *s, int seat, os_file file, bool takeover) {
  struct seat_shm *shm = &s->roster[seat];
  if (!seat_usable(s, seat, at_load(&shm->tenure), takeover)) return false;
  if (os_byte_lock(file, BYTE_SEATS + (uint64_t)seat, OS_TRY) != PSM_OK) return false;
  uint32_t tenure = at_load_acquire(&shm->tenure);
  if (!takeover && seat_state(tenure) != SEAT_EMPTY) {
    os_byte_unlock(file, BYTE_SEATS + (uint64_t)seat);
    return false;
  }
  at_store(&shm->pid, 0);
  at_store(&shm->start, 0);
  at_store(&shm->pending, 0);
  at_store_release(&shm->tenure, (tenure & ~3u) + 4 + SEAT_RESERVED);
  return true;
}

int psm_seat_claim(struct segment *s, os_file file, bool takeover) {
  for (int seat = 0; seat < PSM_SEATS; seat++)
    if (seat_try(s, seat, file, takeover)) return seat;
  return NO_SEAT;
}

void psm_seat_occupy(struct segment *s, int seat) {
  struct seat_shm *shm = &s->roster[seat];
  uint32_t pid = os_process_id();
  at_store(&shm->start, os_process_start(pid));
  at_store_release(&shm->pid, pid);
  at_store_release(&shm->tenure, (at_load(&shm->tenure) & ~3u) | SEAT_JOINED);
}

void psm_seat_vacate(struct segment *s, int seat, uint32_t tenure) {
  (void)at_cas(&s->roster[seat].tenure, &tenure, (tenure & ~3u) | SEAT_EMPTY);
}

bool psm_seat_shared_process(const struct segment *s) {
  uint32_t pid = at_load(&s->roster[s->seat].pid);
  uint32_t start = at_load(&s->roster[s->seat].start);
  for (int seat = 0; seat < PSM_SEATS; seat++) {
    const struct seat_shm *shm = &s->roster[seat];
    if (seat == s->seat || at_load(&shm->pid) != pid || at_load(&shm->start) != start) continue;
    if (psm_seat_alive(s, seat)) return true;
  }
  return false;
}

bool psm_seat_alive(const struct segment *s, int seat) {
  const struct seat_shm *shm = &s->roster[seat];
  if (seat_state(at_load_acquire(&shm->tenure)) == SEAT_EMPTY) return false;
  if (seat == s->seat) return true;
  if (!os_file_is(s->file, &s->identity)) return true;
  return os_byte_held(s->file, BYTE_SEATS + (uint64_t)seat, 1);
}

bool psm_others_alive(const struct segment *s) {
  if (!os_file_is(s->file, &s->identity)) return true;
  if (os_byte_held(s->file, BYTE_READERS, 1)) return true;
  for (int seat = 0; seat < PSM_SEATS; seat++) {
    const struct seat_shm *shm = &s->roster[seat];
    if (seat != s->seat && seat_counts(shm) && psm_seat_alive(s, seat)) return true;
  }
  return false;
}

uint32_t psm_seat_tag(const struct segment *s, int seat) {
  return tag_of(at_load(&s->roster[seat].tenure), seat);
}

bool psm_tag_alive(const struct segment *s, uint32_t tag) {
  if (tag == s->tag) return true;
  int seat = (int)(tag & ((1u << TAG_SEAT_BITS) - 1)) - 1;
  if (seat < 0 || seat >= PSM_SEATS) return false;
  if (psm_seat_tag(s, seat) != tag) return false;
  return psm_seat_alive(s, seat);
}
