/* The unit table is the truth about spans; the lists of free runs are derived.
 *
 * Every change of the truth is one store of one word, and the heads tile the
 * segment before and after it: a split writes the tail's head first, where
 * nobody looks yet; a join enlarges the left head. Whoever takes the lock over
 * from the dead rebuilds the lists and takes off the marks it left.
 */
#include "span.h"

#include <string.h>

#include "commit.h"
#include "lock.h"
#include "slab.h"

/* ---- Lists of free runs ---- */

static uint32_t run_length(const struct segment *s, uint32_t unit) {
  uint32_t word = at_load(&s->table[unit]);
  return unit_kind(word) == UNIT_FREE ? unit_value(word) : 0;
}

/* Where a link out of the file leads to; NULL if nowhere. */
static struct slab_shm *run_at(const struct segment *s, uint32_t link) {
  return link != 0 && link <= s->geometry.units ? slab_at(s, link - 1) : NULL;
}

static void run_insert(struct segment *s, uint32_t unit, uint32_t units) {
  uint32_t bin = psm_bin_of(units);
  uint32_t next = at_load(&s->bins[bin]);
  struct slab_shm *run = slab_at(s, unit);
  struct slab_shm *after = run_at(s, next);
  if (units > 1) at_store(&s->table[unit + units - 1], unit_word(UNIT_TAIL, units));
  at_store(&run->next, next);
  at_store(&run->prev, 0);
  if (after != NULL) at_store(&after->prev, unit + 1);
  at_store(&s->bins[bin], unit + 1);
  s->spans->bin_map[bin / 64] |= UINT64_C(1) << bin % 64;
}

static void run_remove(struct segment *s, uint32_t unit, uint32_t units) {
  uint32_t bin = psm_bin_of(units);
  struct slab_shm *run = slab_at(s, unit);
  uint32_t next = at_load(&run->next);
  uint32_t prev = at_load(&run->prev);
  struct slab_shm *before = run_at(s, prev);
  struct slab_shm *after = run_at(s, next);
  at_store(before != NULL ? &before->next : &s->bins[bin], next);
  if (after != NULL) at_store(&after->prev, prev);
  if (at_load(&s->bins[bin]) == 0) s->spans->bin_map[bin / 64] &= ~(UINT64_C(1) << bin % 64);
}

uint32_t psm_span_length(const struct segment *s, uint32_t unit) {
  uint32_t word = at_load_acquire(&s->table[unit]);
  uint32_t units = unit_kind(word) == UNIT_SLAB ? 1 : unit_value(word);
  if (unit_kind(word) == UNIT_TAIL || units > s->geometry.units - unit) return 0;
  return units;
}

uint32_t psm_span_next(const struct segment *s, uint32_t unit, uint32_t units) {
  uint32_t next = unit + units;
  uint32_t more = next < s->geometry.units ? run_length(s, next) : 0;
  return more <= s->geometry.units - next ? next + more : next;
}

uint32_t psm_span_of(const struct segment *s, uint32_t unit) {
  for (uint32_t at = 0, units; at < s->geometry.units; at += units) {
    units = psm_span_length(s, at);
    if (units == 0) return NO_UNIT;
    if (unit - at < units) return at;
  }
  return NO_UNIT;
}

static void lists_rebuild(struct segment *s) {
  memset(s->bins, 0, s->geometry.bins * sizeof *s->bins);
  memset(s->spans->bin_map, 0, sizeof s->spans->bin_map);
  for (uint32_t unit = 0, units; unit < s->geometry.units; unit += units) {
    units = psm_span_length(s, unit);
    if (units == 0) {
      mark_corrupt(s);
      return;
    }
    if (run_length(s, unit) == 0) {
      if (units > 1) at_store(&s->table[unit + units - 1], 0);
      continue;
    }
    while (unit + units < s->geometry.units) {
      uint32_t more = run_length(s, unit + units);
      if (more == 0 || more > s->geometry.units - unit - units) break;
      units += more;
    }
    at_store_release(&s->table[unit], unit_word(UNIT_FREE, units));
    run_insert(s, unit, units);
  }
}

/* A run from the list of a bin: the shortest of the first few that fit, or of
 * all if `whole`. The chain is data out of the file: it is checked link by
 * link, and a bad one reported through `broken`. */
static uint32_t list_search(const struct segment *s, uint32_t bin, uint32_t units, bool whole,
                            bool *broken) {
  uint32_t best = NO_UNIT;
  uint32_t best_length = UINT32_MAX;
  uint32_t limit = whole ? s->geometry.units : 32;
  for (uint32_t at = at_load(&s->bins[bin]); at != 0 && limit > 0; limit--) {
    uint32_t length = at <= s->geometry.units ? run_length(s, at - 1) : 0;
    if (length == 0 || length > s->geometry.units - (at - 1) || psm_bin_of(length) != bin) {
      *broken = true;
      return NO_UNIT;
    }
    if (length >= units && length < best_length) best = at - 1, best_length = length;
    if (length == units) break;
    at = at_load(&slab_at(s, at - 1)->next);
  }
  return best;
}

static uint32_t next_bin(const struct segment *s, uint32_t bin) {
  for (uint32_t word = bin / 64; word < PSM_BINS_MAX / 64; word++) {
    uint64_t bits = s->spans->bin_map[word];
    if (word == bin / 64) bits &= ~UINT64_C(0) << bin % 64;
    if (bits != 0) return word * 64 + (uint32_t)bit_first(bits);
  }
  return UINT32_MAX;
}

static uint32_t run_search(const struct segment *s, uint32_t units, bool *broken) {
  uint32_t own = psm_bin_of(units);
  uint32_t found = list_search(s, own, units, false, broken);
  for (uint32_t bin = own; found == NO_UNIT && !*broken;) {
    bin = next_bin(s, bin + 1);
    if (bin >= s->geometry.bins) break;
    found = list_search(s, bin, units, false, broken);
  }
  if (found == NO_UNIT && !*broken) found = list_search(s, own, units, true, broken);
  return found;
}

static uint32_t run_find(struct segment *s, uint64_t units) {
  if (units > s->geometry.units) return NO_UNIT;
  bool broken = false;
  uint32_t found = run_search(s, (uint32_t)units, &broken);
  if (!broken) return found;
  mark_corrupt(s);
  lists_rebuild(s);
  broken = false;
  found = run_search(s, (uint32_t)units, &broken);
  return broken ? NO_UNIT : found;
}

bool psm_lists_sound(const struct segment *s) {
  uint64_t listed = 0;
  uint64_t runs = 0;
  for (uint32_t unit = 0, units; unit < s->geometry.units; unit += units) {
    units = psm_span_length(s, unit);
    if (units == 0) return false;
    runs += run_length(s, unit) > 0;
  }
  for (uint32_t bin = 0; bin < s->geometry.bins; bin++) {
    uint32_t before = 0;
    for (uint32_t at = at_load(&s->bins[bin]); at != 0; at = at_load(&slab_at(s, at - 1)->next)) {
      if (++listed > runs || at > s->geometry.units) return false;
      if (psm_bin_of(run_length(s, at - 1)) != bin) return false;
      if (at_load(&slab_at(s, at - 1)->prev) != before) return false;
      before = at;
    }
    bool mapped = (s->spans->bin_map[bin / 64] >> bin % 64 & 1) != 0;
    if (mapped != (at_load(&s->bins[bin]) != 0)) return false;
  }
  return listed == runs;
}

/* ---- Spans ---- */

void psm_span_begin(struct segment *s) {
  at_store(&s->table[0], unit_word(UNIT_FREE, s->geometry.units));
  lists_rebuild(s);
}

/* The head that a split makes needs its descriptor, for the list's links. */
static int head_commit(struct segment *s, uint32_t unit) {
  if (unit >= s->geometry.units) return PSM_OK;
  return psm_commit(s, (uint64_t)((char *)slab_at(s, unit) - s->base), s->slab_size);
}

static uint32_t padding_before(const struct segment *s, uint32_t unit, uint64_t alignment) {
  uint64_t address = s->geometry.base + unit_offset(s, unit);
  return (uint32_t)((round_up(address, alignment) - address) >> s->shift);
}

int psm_span_take(struct segment *s, uint64_t units, uint64_t alignment, uint32_t *unit) {
  uint64_t slack = alignment > unit_size(s) ? (alignment >> s->shift) - 1 : 0;
  uint32_t run = run_find(s, units);
  if (run != NO_UNIT && slack > 0 && run_length(s, run) < units + padding_before(s, run, alignment))
    run = run_find(s, units + slack);
  if (run == NO_UNIT) return PSM_E_NOMEM;

  uint32_t length = run_length(s, run);
  uint32_t front = slack > 0 ? padding_before(s, run, alignment) : 0;
  /* The word has been read anew: what was true of it a moment ago may be no more. */
  if (length < front + units || length > s->geometry.units - run) {
    mark_corrupt(s);
    return PSM_E_CORRUPT;
  }
  uint32_t at = run + front;
  uint32_t left = length - front - (uint32_t)units;
  int result = head_commit(s, at);
  if (result == PSM_OK) result = head_commit(s, at + (uint32_t)units);
  if (result == PSM_OK && units == 1)
    result = psm_commit_ahead(s, unit_offset(s, at), unit_size(s));
  else if (result == PSM_OK)
    result = psm_commit(s, unit_offset(s, at), units << s->shift);
  if (result != PSM_OK) return result;

  run_remove(s, run, length);
  if (left > 0) at_store_release(&s->table[at + units], unit_word(UNIT_FREE, left));
  at_store_release(&s->table[at], unit_word(UNIT_FREE, units));
  if (front > 0) {
    at_store_release(&s->table[run], unit_word(UNIT_FREE, front));
    run_insert(s, run, front);
  }
  if (left > 0) run_insert(s, at + (uint32_t)units, left);
  *unit = at;
  return PSM_OK;
}

/* The last word may still be a head: it is wiped when it is none. */
void psm_span_use(struct segment *s, uint32_t unit, uint32_t units) {
  at_store_release(&s->table[unit], unit_word(UNIT_LARGE, units));
  if (units > 1) at_store_release(&s->table[unit + units - 1], 0);
}

/* The free run that ends just before a unit; NO_UNIT if none does. */
static uint32_t run_before(const struct segment *s, uint32_t unit) {
  if (unit == 0) return NO_UNIT;
  uint32_t word = at_load(&s->table[unit - 1]);
  uint32_t units = unit_value(word);
  if (word == unit_word(UNIT_FREE, 1)) return unit - 1;
  if (unit_kind(word) != UNIT_TAIL || units < 2 || units > unit) return NO_UNIT;
  return run_length(s, unit - units) == units ? unit - units : NO_UNIT;
}

void psm_span_free(struct segment *s, uint32_t unit, uint32_t units) {
  at_store_release(&s->table[unit], unit_word(UNIT_FREE, units));
  uint32_t right = unit + units;
  uint32_t more = right < s->geometry.units ? run_length(s, right) : 0;
  if (more > 0 && more <= s->geometry.units - right) {
    run_remove(s, right, more);
    units += more;
    at_store_release(&s->table[unit], unit_word(UNIT_FREE, units));
  }
  uint32_t left = run_before(s, unit);
  if (left != NO_UNIT) {
    run_remove(s, left, unit - left);
    units += unit - left;
    unit = left;
    at_store_release(&s->table[unit], unit_word(UNIT_FREE, units));
  }
  run_insert(s, unit, units);
  at_store(&s->spans->shortage, 0);
}

int psm_span_resize(struct segment *s, uint32_t unit, uint32_t units, uint32_t wanted) {
  if (wanted < units) {
    int result = head_commit(s, unit + wanted);
    if (result != PSM_OK) return result;
    if (wanted > 1) at_store(&s->table[unit + wanted - 1], 0);
    at_store_release(&s->table[unit + wanted], unit_word(UNIT_FREE, units - wanted));
    at_store_release(&s->table[unit], unit_word(UNIT_LARGE, wanted));
    psm_span_free(s, unit + wanted, units - wanted);
    return PSM_OK;
  }
  uint32_t right = unit + units;
  uint32_t more = right < s->geometry.units ? run_length(s, right) : 0;
  if (more < wanted - units || more > s->geometry.units - right) return PSM_E_NOMEM;
  int result = head_commit(s, unit + wanted);
  if (result == PSM_OK)
    result = psm_commit(s, unit_offset(s, right), (uint64_t)(wanted - units) << s->shift);
  if (result != PSM_OK) return result;
  run_remove(s, right, more);
  uint32_t left = more - (wanted - units);
  if (left > 0) {
    at_store_release(&s->table[unit + wanted], unit_word(UNIT_FREE, left));
    at_store_release(&s->table[right], unit_word(UNIT_FREE, wanted - units));
    run_insert(s, unit + wanted, left);
  }
  psm_span_use(s, unit, wanted);
  return PSM_OK;
}

/* ---- Slabs come from here and go back here ---- */

int psm_slab_cut(struct segment *s, uint32_t cls, uint32_t *unit) {
  int result = psm_span_take(s, 1, 1, unit);
  at_store(&s->spans->shortage, result == PSM_E_NOMEM);
  if (result != PSM_OK) return result;
  const struct geometry *g = &s->geometry;
  uint64_t hint = g->hints[0] + ((uint64_t)cls * g->hint_words[0] + *unit / 64) * 8;
  uint64_t annex = g->annexes + (uint64_t)*unit * g->annex_size;
  uint64_t states = g->states + (uint64_t)*unit * g->states_size;
  result = psm_commit(s, hint, 8);
  if (result == PSM_OK && !groups_near(s, cls)) result = psm_commit(s, annex, g->annex_size);
  if (result == PSM_OK) result = psm_commit(s, states, g->states_size);
  if (result != PSM_OK) {
    psm_span_free(s, *unit, 1);
    return result;
  }
  psm_slab_prepare(s, *unit, cls);
  at_store_release(&s->spans->marked, *unit + 1);
  at_store_release(&s->table[*unit], unit_word(UNIT_SLAB, cls));
  return PSM_OK;
}

void psm_slab_open(struct segment *s, uint32_t unit, uint32_t cls) {
  psm_slab_unmark(s, unit, cls);
  at_store_release(&s->spans->marked, 0);
}

void psm_slab_retire(struct segment *s, uint32_t unit) {
  uint32_t word = at_load(&s->table[unit]);
  uint32_t cls = unit_value(word);
  if (unit_kind(word) != UNIT_SLAB || cls >= s->classes->count) return;
  if (!psm_slab_idle(s, unit, cls)) return;
  at_store_release(&s->spans->marked, unit + 1);
  if (psm_slab_mark(s, unit, cls)) psm_span_free(s, unit, 1);
  at_store_release(&s->spans->marked, 0);
}

void psm_slab_retire_all(struct segment *s) {
  for (uint32_t unit = 0, next; unit < s->geometry.units; unit = next) {
    uint32_t units = psm_span_length(s, unit);
    if (units == 0) return;
    next = psm_span_next(s, unit, units);
    if (unit_kind(at_load(&s->table[unit])) == UNIT_SLAB) psm_slab_retire(s, unit);
  }
}

/* ---- After a death ---- */

static void marks_remove(struct segment *s) {
  uint32_t unit = at_load(&s->spans->marked) - 1;
  if (unit < s->geometry.units) {
    uint32_t word = at_load(&s->table[unit]);
    if (unit_kind(word) == UNIT_SLAB && unit_value(word) < s->classes->count)
      psm_slab_unmark(s, unit, unit_value(word));
  }
  at_store_release(&s->spans->marked, 0);
}

/* A large block that was to be published is free unless its place says not. */
static void publication_settle_large(struct segment *s) {
  uint64_t block = at_load(&s->spans->to_block);
  if (block >= s->data && block < s->data + s->data_size &&
      !psm_publication_kept(s, block, at_load(&s->spans->to_where), at_load(&s->spans->to_old))) {
    uint32_t unit = (uint32_t)((block - s->data) >> s->shift);
    uint32_t word = at_load(&s->table[unit]);
    if (unit_kind(word) == UNIT_LARGE)
      at_store_release(&s->table[unit], unit_word(UNIT_FREE, unit_value(word)));
  }
  at_store_release(&s->spans->to_block, 0);
}

static void recover(struct segment *s) {
  publication_settle_large(s);
  lists_rebuild(s);
  marks_remove(s);
  psm_cache_reclaim(s, SHARED_CACHE, NULL);
}

void psm_span_lock(struct segment *s) {
  if (psm_lock_take(s, &s->spans->lock) == PSM_OWNER_DIED) recover(s);
}

void psm_span_unlock(struct segment *s) { (void)psm_lock_give(s, &s->spans->lock); }
