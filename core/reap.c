/* Give back what the dead held to the living, and what is free to the system.
 *
 * Reaping is idempotent, step by step, and excluded by the span lock: a reaper
 * that is killed leaves its work to the next one. The seat goes last. */
#include "reap.h"

#include <string.h>

#include "commit.h"
#include "kept.h"
#include "magazine.h"
#include "roster.h"
#include "slab.h"
#include "span.h"

/* Give back what the caches of a seat hold; what its threads kept is only noted. */
static void caches_reclaim(struct segment *s, int seat, struct keepers *keepers) {
  for (uint32_t i = SHARED_CACHE + 1; i < s->geometry.caches; i++) {
    if (at_load_acquire(&s->owners[i]) != (uint32_t)seat + 1) continue;
    psm_cache_reclaim(s, i, psm_slab_retire);
    psm_keepers_add(s, keepers, i);
  }
}

/* A cache keeps its mark until all that bears it is given back. */
static void caches_release(struct segment *s, int seat) {
  for (uint32_t i = SHARED_CACHE + 1; i < s->geometry.caches; i++) {
    if (at_load_acquire(&s->owners[i]) != (uint32_t)seat + 1) continue;
    for (int word = 0; word < 2; word++) at_store_release(&cache_at(s, i)->keeps[word], 0);
    at_store_release(&s->owners[i], 0);
  }
}

void psm_seat_flush(struct segment *s, int seat) {
  struct keepers keepers = {{0}, {0}};
  caches_reclaim(s, seat, &keepers);
  if (psm_kept_reclaim(s, &keepers)) caches_release(s, seat);
}

/* A reaper that died may have recorded it already. */
static void death_record(struct segment *s, uint64_t id, const struct seat_shm *shm) {
  uint32_t kept = s->geometry.deaths_kept;
  uint64_t deaths = at_load(&s->spans->deaths);
  for (uint32_t i = 0; i < kept && i < deaths; i++)
    if (s->deaths[i].id == id) return;
  s->deaths[deaths % kept] = (struct death_shm){id, at_load(&shm->pid), at_load(&shm->start)};
  at_store_release(&s->spans->deaths, deaths + 1);
}

static void death_note(struct segment *s, int seat) {
  const struct seat_shm *shm = &s->roster[seat];
  uint64_t id = psm_seat_dead_id(shm, seat, at_load_acquire(&shm->tenure));
  if (id != 0) death_record(s, id, shm);
}

void psm_seat_bury(struct segment *s, int seat) {
  death_note(s, seat);
  psm_seat_flush(s, seat);
}

static uint32_t seat_tenure(const struct segment *s, uint32_t seat) {
  return at_load_acquire(&s->roster[seat].tenure);
}

/* Who leaves does so without the span lock: that nobody holds the seat's lock says
 * something of the tenure only if it is there before the question and after it. Else
 * one has left, and another may be about to sit there. */
static bool is_dead(const struct segment *s, uint32_t seat, uint32_t tenure) {
  return !psm_seat_alive(s, (int)seat) && seat_tenure(s, seat) == tenure;
}

/* Those who are buried together: what they kept is looked for once. */
struct burial {
  struct keepers keepers;
  uint32_t count;
  uint16_t seats[PSM_SEATS];
  uint32_t tenures[PSM_SEATS];
};

static void burial_add(struct segment *s, struct burial *burial, uint32_t seat, uint32_t tenure) {
  if (!is_dead(s, seat, tenure)) return;
  death_note(s, (int)seat);
  caches_reclaim(s, (int)seat, &burial->keepers);
  burial->seats[burial->count] = (uint16_t)seat;
  burial->tenures[burial->count++] = tenure;
}

/* What cannot be found now is left, with their seats, to the next reaper. */
static int burial_end(struct segment *s, const struct burial *burial) {
  if (!psm_kept_reclaim(s, &burial->keepers)) return 0;
  for (uint32_t i = 0; i < burial->count; i++) {
    caches_release(s, burial->seats[i]);
    psm_seat_vacate(s, burial->seats[i], burial->tenures[i]);
  }
  return (int)burial->count;
}

static void burial_begin(struct burial *burial) {
  burial->count = 0;
  memset(&burial->keepers, 0, sizeof burial->keepers);
}

int psm_reap_dead(struct segment *s) {
  struct burial burial;
  burial_begin(&burial);
  uint32_t seats = psm_seats_used(s);
  for (uint32_t seat = 0; seat < seats; seat++) {
    uint32_t tenure = seat_tenure(s, seat);
    if (seat_state(tenure) != SEAT_EMPTY) burial_add(s, &burial, seat, tenure);
  }
  return burial_end(s, &burial);
}

/* To ask after a seat is a system call. */
void psm_reap_some(struct segment *s) {
  enum { ASKED = 16 };
  struct burial burial;
  burial_begin(&burial);
  uint32_t seats = psm_seats_used(s);
  uint32_t seat = at_load(&s->spans->asked);
  for (uint32_t seen = 0, asked = 0; seen < seats && asked < ASKED; seen++, seat++) {
    if (seat >= seats) seat = 0;
    uint32_t tenure = seat_tenure(s, seat);
    if (seat_state(tenure) == SEAT_EMPTY) continue;
    burial_add(s, &burial, seat, tenure);
    asked++;
  }
  at_store(&s->spans->asked, seat);
  (void)burial_end(s, &burial);
}

void psm_make_room(struct segment *s, const struct worker *worker) {
  (void)at_add(&s->spans->pressure, 1); /* the others give back what they have when they come by */
  psm_worker_empty(worker);
  if (worker->id - 1 != SHARED_CACHE) psm_cache_reclaim(s, SHARED_CACHE, psm_slab_retire);
  (void)psm_reap_dead(s);
  psm_slab_retire_all(s);
}

int psm_deaths(struct segment *s, uint64_t *cursor, PSMMember *members, int count) {
  uint32_t kept = s->geometry.deaths_kept;
  psm_span_lock(s);
  (void)psm_reap_dead(s);
  uint64_t deaths = at_load(&s->spans->deaths);
  uint64_t oldest = deaths > kept ? deaths - kept : 0;
  int result = PSM_OK;
  if (*cursor > deaths) {
    result = psm_fail(PSM_E_INVALID, "the cursor is of another segment: begin with 0");
  } else if (*cursor < oldest) {
    result = psm_fail(PSM_E_STATE, "%llu deaths are forgotten: ask PSMalive about each member",
                      (unsigned long long)(oldest - *cursor));
    *cursor = oldest;
  }
  for (; result >= 0 && result < count && *cursor < deaths; ++*cursor) {
    const struct death_shm *death = &s->deaths[*cursor % kept];
    members[result++] =
        (PSMMember){death->id, death->pid, (uint32_t)(death->id % PSM_SEATS), death->start, 0};
  }
  psm_span_unlock(s);
  return result;
}

uint64_t psm_trim(struct segment *s) {
  uint64_t bytes = 0;
  psm_span_lock(s);
  psm_slab_retire_all(s);
  for (uint32_t unit = 0, units; unit < s->geometry.units; unit += units) {
    units = psm_span_length(s, unit);
    if (units == 0) break;
    if (unit_kind(at_load(&s->table[unit])) == UNIT_FREE)
      bytes += psm_decommit(s, unit_offset(s, unit), (uint64_t)units << s->shift);
  }
  psm_span_unlock(s);
  return bytes;
}
