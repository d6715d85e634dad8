/* Give back what the dead held to the living, and what is free to the system.
 *
 * Reaping is idempotent, step by step, and excluded by the span lock: a reaper
 * that is killed leaves its work to the next one. The seat goes last. */
#include "reap.h"

#include "commit.h"
#include "roster.h"
#include "slab.h"
#include "span.h"

void psm_seat_flush(struct segment *s, int seat) {
  for (uint32_t i = SHARED_CACHE + 1; i < s->geometry.caches; i++) {
    if (at_load_acquire(&s->owners[i]) != (uint32_t)seat + 1) continue;
    psm_cache_reclaim(s, i, psm_slab_retire);
    at_store_release(&s->owners[i], 0);
  }
}

int psm_reap_dead(struct segment *s) {
  int reaped = 0;
  for (int seat = 0; seat < PSM_SEATS; seat++) {
    uint32_t tenure = at_load_acquire(&s->roster[seat].tenure);
    if (seat_state(tenure) == SEAT_EMPTY || psm_seat_alive(s, seat)) continue;
    psm_seat_flush(s, seat);
    psm_seat_vacate(s, seat, tenure);
    reaped++;
  }
  return reaped;
}

void psm_make_room(struct segment *s, const struct worker *worker) {
  if (worker->cache != NULL) psm_cache_reclaim(s, worker->id - 1, psm_slab_retire);
  if (worker->id - 1 != SHARED_CACHE) psm_cache_reclaim(s, SHARED_CACHE, psm_slab_retire);
  (void)psm_reap_dead(s);
  psm_slab_retire_all(s);
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
