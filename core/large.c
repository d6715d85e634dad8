/* Blocks of whole units: their truth is one word, changed under the lock. */
#include "large.h"

#include "reap.h"
#include "span.h"

static uint64_t units_for(const struct segment *s, uint64_t size) {
  return (size >> s->shift) + ((size & (unit_size(s) - 1)) != 0);
}

static int take(const struct worker *worker, uint64_t units, uint64_t alignment, uint32_t *unit) {
  struct segment *s = worker->segment;
  int result = psm_span_take(s, units, alignment, unit);
  if (result == PSM_OK || units > s->geometry.units) return result;
  psm_make_room(s, worker);
  result = psm_span_take(s, units, alignment, unit);
  for (int turn = 0; result == PSM_E_NOMEM && turn < PSM_TURNS; turn++) {
    psm_span_unlock(s);
    os_thread_yield();
    psm_span_lock(s);
    result = psm_span_take(s, units, alignment, unit);
  }
  return result;
}

int psm_large_alloc(const struct worker *worker, uint64_t size, uint64_t alignment,
                    _Atomic uintptr_t *where, uint64_t *block) {
  struct segment *s = worker->segment;
  uint64_t units = size == 0 ? 1 : units_for(s, size);
  uint32_t unit;
  if (units > s->geometry.units || alignment > s->geometry.size) return PSM_E_NOMEM;
  psm_span_lock(s);
  int result = take(worker, units, alignment, &unit);
  if (result == PSM_OK) {
    *block = unit_offset(s, unit);
    if (where != NULL) {
      at_store(&s->spans->to_where, (uint64_t)((char *)where - s->base));
      at_store(&s->spans->to_old, at_load(where));
      at_store_release(&s->spans->to_block, *block);
    }
    psm_span_use(s, unit, (uint32_t)units);
    if (where != NULL) {
      at_store_release(where, (uintptr_t)(s->geometry.base + *block));
      at_store_release(&s->spans->to_block, 0);
    }
  }
  psm_span_unlock(s);
  return result;
}

/* What is wrong with an address that begins no block; under the lock. */
static int refusal(const struct segment *s, uint64_t offset) {
  uint32_t head = psm_span_of(s, (uint32_t)(offset >> s->shift));
  if (head == NO_UNIT || offset % PSM_ALIGN != 0) return PSM_E_POINTER;
  bool free_run = unit_kind(at_load(&s->table[head])) == UNIT_FREE;
  return free_run ? PSM_E_DOUBLE_FREE : PSM_E_POINTER;
}

/* Only words that begin a span can be LARGE: others are wiped when they stop. */
static uint32_t large_at(const struct segment *s, uint64_t offset) {
  uint32_t unit = (uint32_t)(offset >> s->shift);
  uint32_t word = at_load_acquire(&s->table[unit]);
  if ((offset & (unit_size(s) - 1)) != 0 || unit_kind(word) != UNIT_LARGE) return 0;
  return psm_span_length(s, unit);
}

int psm_large_free(const struct worker *worker, uint64_t offset) {
  struct segment *s = worker->segment;
  int result = PSM_OK;
  if (!worker->locked) psm_span_lock(s);
  uint32_t units = large_at(s, offset);
  if (units > 0)
    psm_span_free(s, (uint32_t)(offset >> s->shift), units);
  else
    result = refusal(s, offset);
  if (!worker->locked) psm_span_unlock(s);
  return result;
}

int psm_large_size(struct segment *s, uint64_t offset, uint64_t *size) {
  uint32_t units = large_at(s, offset);
  *size = (uint64_t)units << s->shift;
  if (units > 0) return PSM_OK;
  if (s->seat != NO_SEAT) psm_span_lock(s);
  int result = refusal(s, offset);
  if (s->seat != NO_SEAT) psm_span_unlock(s);
  return result;
}

int psm_large_resize(const struct worker *worker, uint64_t offset, uint64_t size) {
  struct segment *s = worker->segment;
  uint64_t wanted = units_for(s, size);
  int result = PSM_OK;
  if (wanted > s->geometry.units) return PSM_E_NOMEM;
  psm_span_lock(s);
  uint32_t units = large_at(s, offset);
  if (units == 0)
    result = refusal(s, offset);
  else if (wanted != units)
    result = psm_span_resize(s, (uint32_t)(offset >> s->shift), units, (uint32_t)wanted);
  psm_span_unlock(s);
  return result;
}
