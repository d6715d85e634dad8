/* A member is alive while the kernel holds its lock on the byte of its seat.
 *
 * The kernel keeps that lock as long as the file is open, and the mapping
 * keeps the file open: a daemon that closes all its descriptors lives on, a
 * process that starts another program does not. Process ids, which are used
 * again and mean nothing in another PID namespace, are never asked.
 */
#include "roster.h"

enum { TAG_SEAT_BITS = 11, TAG_GENERATIONS = 1 << 20 };

uint32_t psm_seats_used(const struct segment *s) {
  uint32_t seats = at_load_acquire(&s->spans->seats);
  return seats < PSM_SEATS ? seats : PSM_SEATS;
}

static void seat_count(struct segment *s, uint32_t seat) {
  uint32_t seats = at_load(&s->spans->seats);
  while (seats <= seat && !at_cas(&s->spans->seats, &seats, seat + 1)) continue;
}

static uint32_t tag_of(uint32_t tenure, int seat) {
  return (tenure >> 2) % TAG_GENERATIONS << TAG_SEAT_BITS | (uint32_t)(seat + 1);
}

/* Nobody holds the lock in the name of a member that is only about to be. */
static uint32_t tenure_after(const struct segment *s, int seat, uint32_t tenure) {
  uint32_t next = (tenure & ~3u) + 4;
  uint32_t difference = at_load(&s->spans->lock) ^ tag_of(next, seat);
  return difference << 1 == 0 ? next + 4 : next;
}

static bool seat_usable(const struct segment *s, int seat, uint32_t tenure, bool takeover) {
  if (seat_state(tenure) == SEAT_EMPTY) return true;
  return takeover && !psm_seat_alive(s, seat);
}

static void seat_wipe(struct seat_shm *shm) {
  at_store(&shm->pid, 0);
  at_store(&shm->start, 0);
  at_store(&shm->pending, 0);
}

static uint64_t id_of(uint32_t generation, int seat) {
  return (uint64_t)generation * PSM_SEATS + (uint64_t)seat;
}

uint64_t psm_seat_dead_id(const struct seat_shm *shm, int seat, uint32_t tenure) {
  uint32_t pending = at_load(&shm->pending);
  if (seat_state(tenure) == SEAT_JOINED) return id_of(tenure >> 2, seat);
  if (seat_state(tenure) != SEAT_RESERVED || at_load(&shm->pid) == 0 || pending == 0) return 0;
  return id_of(pending, seat);
}

uint64_t psm_seat_id(const struct segment *s, int seat) {
  return id_of(at_load(&s->roster[seat].tenure) >> 2, seat);
}

bool psm_id_alive(const struct segment *s, uint64_t id) {
  int seat = (int)(id % PSM_SEATS);
  uint32_t tenure = at_load_acquire(&s->roster[seat].tenure);
  if (seat_state(tenure) != SEAT_JOINED || id_of(tenure >> 2, seat) != id) return false;
  return psm_seat_alive(s, seat);
}

void psm_seat_wipe(struct segment *s, int seat) { seat_wipe(&s->roster[seat]); }

static bool seat_try(struct segment *s, int seat, os_file file, bool takeover) {
  struct seat_shm *shm = &s->roster[seat];
  if (!seat_usable(s, seat, at_load(&shm->tenure), takeover)) return false;
  if (os_byte_lock(file, BYTE_SEATS + (uint64_t)seat, OS_TRY) != PSM_OK) return false;
  uint32_t tenure = at_load_acquire(&shm->tenure);
  if (!takeover && seat_state(tenure) != SEAT_EMPTY) {
    os_byte_unlock(file, BYTE_SEATS + (uint64_t)seat);
    return false;
  }
  seat_count(s, (uint32_t)seat);
  if (seat_state(tenure) == SEAT_JOINED)
    at_store(&shm->pending, tenure >> 2);
  else if (psm_seat_dead_id(shm, seat, tenure) == 0)
    seat_wipe(shm);
  at_store_release(&shm->tenure, tenure_after(s, seat, tenure) + SEAT_RESERVED);
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
  at_store(&shm->start, os_process_start());
  at_store_release(&shm->pid, pid);
  at_store_release(&shm->tenure, (at_load(&shm->tenure) & ~3u) | SEAT_JOINED);
}

void psm_seat_vacate(struct segment *s, int seat, uint32_t tenure) {
  (void)at_cas(&s->roster[seat].tenure, &tenure, (tenure & ~3u) | SEAT_EMPTY);
}

/* Asks through a file of its own if the program has closed ours; if the path
 * is gone too there is nobody to ask. */
static bool byte_held(const struct segment *s, uint64_t byte, int kind) {
  os_file file = s->file;
  bool held = true;
  bool created;
  if (os_file_is(file, &s->identity)) return os_byte_held(file, byte, 1, kind);
  int how = s->readonly ? OS_READ : OS_WRITE;
  bool hushed = psm_hush(true);
  int result = os_file_open(s->path, how, 0, &file, &created);
  (void)psm_hush(hushed);
  if (result != PSM_OK) return true;
  if (os_file_is(file, &s->identity)) held = os_byte_held(file, byte, 1, kind);
  os_file_close(file);
  return held;
}

bool psm_seat_alive(const struct segment *s, int seat) {
  const struct seat_shm *shm = &s->roster[seat];
  if (seat_state(at_load_acquire(&shm->tenure)) == SEAT_EMPTY) return false;
  return seat == s->seat || byte_held(s, BYTE_SEATS + (uint64_t)seat, OS_TRY);
}

/* A pid proves nothing in another PID namespace, but its absence does: only if
 * somebody of this pid sits here, or reads, the system is asked. */
bool psm_mapping_shared(const struct segment *s) {
  uint32_t pid = os_process_id();
  bool candidate = s->readonly || byte_held(s, BYTE_READERS, OS_SHARED);
  int seats = (int)psm_seats_used(s);
  for (int seat = 0; seat < seats && !candidate; seat++)
    candidate = seat != s->seat && at_load(&s->roster[seat].pid) == pid && psm_seat_alive(s, seat);
  return candidate && os_mapped_beside(s->base, (size_t)s->geometry.size, &s->identity);
}

bool psm_others_alive(const struct segment *s) {
  if (byte_held(s, BYTE_READERS, OS_SHARED)) return true;
  int seats = (int)psm_seats_used(s);
  for (int seat = 0; seat < seats; seat++) {
    const struct seat_shm *shm = &s->roster[seat];
    if (seat != s->seat && seat_counts(shm) && psm_seat_alive(s, seat)) return true;
  }
  return false;
}

/* Who sees that another sits there knows of the death without having asked the
 * kernel: by this acquire what the dead did comes before what it does. */
uint32_t psm_seat_tag(const struct segment *s, int seat) {
  return tag_of(at_load_acquire(&s->roster[seat].tenure), seat);
}

bool psm_tag_alive(const struct segment *s, uint32_t tag) {
  if (tag == s->tag) return true;
  int seat = (int)(tag & ((1u << TAG_SEAT_BITS) - 1)) - 1;
  if (seat < 0 || seat >= PSM_SEATS || seat == s->seat) return false;
  if (psm_seat_tag(s, seat) != tag) return false;
  return psm_seat_alive(s, seat);
}
