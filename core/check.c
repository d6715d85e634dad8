/* Walks everything under the span lock: spans stand still, blocks do not.
 *
 * What is checked is what holds at every instruction of every thread. Where
 * two words change one after the other, a contradiction counts only if it is
 * still there when looked at again.
 */
#include "check.h"

#include <string.h>

#include "commit.h"
#include "roster.h"
#include "slab.h"
#include "span.h"

enum { LOOKS = 64 };

/* Who has no seat has no name to lock in: it only looks. */
static void enter(struct segment *s) {
  if (s->seat != NO_SEAT) psm_span_lock(s);
}

static void leave(struct segment *s) {
  if (s->seat != NO_SEAT) psm_span_unlock(s);
}

/* ---- Blocks ---- */

/* Bits wander between the group and its owner's slot, both ways: what is looked
 * at before and after misses none. The free blocks of a group; `*held` are those
 * that one thread may take. */
static uint64_t group_free(const struct segment *s, uint32_t cls, uint64_t id, uint64_t *held) {
  struct group_ref group = group_at(s, group_unit(id), cls, group_index(id));
  uint64_t all = at_load_ordered(group.free);
  uint32_t owner = at_load_ordered(group.owner);
  all |= psm_group_cached(s, cls, id);
  all |= at_load_ordered(group.free);
  *held = owner != 0 ? all : 0;
  return all & full_mask(group_blocks(&s->classes->at[cls], group_index(id)));
}

bool psm_block_used(const struct segment *s, uint32_t cls, uint32_t unit, uint32_t index) {
  if (s->classes->at[cls].stated)
    return at_load_acquire(state_at(s, unit, cls, index)) >= BLOCK_USED;
  uint64_t held;
  uint64_t all = group_free(s, cls, group_id(unit, index / PSM_GROUP), &held);
  return (all >> index % PSM_GROUP & 1) == 0;
}

/* The blocks of a group that are not used, by their states: free or kept. */
static uint64_t group_kept(const struct segment *s, uint32_t cls, uint64_t id) {
  const struct psm_class *c = &s->classes->at[cls];
  uint32_t first = group_index(id) * PSM_GROUP;
  uint64_t kept = 0;
  for (uint32_t i = 0; c->stated && i < group_blocks(c, group_index(id)); i++)
    if (at_load_acquire(state_at(s, group_unit(id), cls, first + i)) < BLOCK_USED)
      kept |= UINT64_C(1) << i;
  return kept;
}

/* ---- Count ---- */

static void slab_count(const struct segment *s, uint32_t unit, uint32_t cls, PSMStat *stat) {
  const struct psm_class *c = &s->classes->at[cls];
  for (uint32_t i = 0; i < c->groups; i++) {
    uint64_t held;
    uint64_t all = group_free(s, cls, group_id(unit, i), &held);
    uint64_t kept = group_kept(s, cls, group_id(unit, i)) & ~all;
    held |= kept;
    all |= kept;
    uint32_t used = group_blocks(c, i) - bit_count(all);
    stat->blocks += used;
    stat->used += (uint64_t)used * c->size;
    stat->cached += (uint64_t)bit_count(all & held) * c->size;
    stat->free += (uint64_t)bit_count(all & ~held) * c->size;
    if (all != 0 && stat->largest < c->size) stat->largest = c->size;
  }
}

static void spans_count(const struct segment *s, PSMStat *stat) {
  for (uint32_t unit = 0, units; unit < s->geometry.units; unit += units) {
    units = psm_span_length(s, unit);
    if (units == 0) return;
    uint64_t bytes = (uint64_t)units << s->shift;
    uint32_t word = at_load_acquire(&s->table[unit]);
    if (unit_kind(word) == UNIT_SLAB && unit_value(word) < s->classes->count) {
      slab_count(s, unit, unit_value(word), stat);
    } else if (unit_kind(word) == UNIT_LARGE) {
      stat->blocks++;
      stat->used += bytes;
    } else {
      stat->free += bytes;
      if (stat->largest < bytes) stat->largest = bytes;
    }
  }
}

int psm_stat(struct segment *s, PSMStat *stat) {
  memset(stat, 0, sizeof *stat);
  stat->size = s->geometry.size;
  stat->metadata = s->data;
  stat->unit = (uint32_t)unit_size(s);
  stat->small_max = s->classes->small_max;
  enter(s);
  spans_count(s, stat);
  stat->committed = psm_committed_bytes(s);
  for (uint32_t i = SHARED_CACHE + 1; i < s->geometry.caches; i++)
    stat->caches += at_load(&s->owners[i]) != 0;
  leave(s);
  stat->members = (uint32_t)psm_members(s, NULL, 0);
  return PSM_OK;
}

int psm_members(struct segment *s, PSMMember *members, int count) {
  int found = 0;
  int seats = (int)psm_seats_used(s);
  for (int seat = 0; seat < seats; seat++) {
    const struct seat_shm *shm = &s->roster[seat];
    uint32_t state = seat_state(at_load_acquire(&shm->tenure));
    if (state == SEAT_EMPTY || state == SEAT_LEFT) continue;
    if (found < count) {
      PSMMember *member = &members[found];
      member->id = psm_seat_id(s, seat);
      member->pid = state == SEAT_JOINED ? at_load(&shm->pid) : 0;
      member->seat = (uint32_t)seat;
      member->start = at_load(&shm->start);
      member->alive = psm_seat_alive(s, seat);
    }
    found++;
  }
  return found;
}

/* ---- Walk ---- */

static bool slab_next(const struct segment *s, uint32_t unit, uint32_t cls, uint64_t offset,
                      PSMBlock *block) {
  const struct psm_class *c = &s->classes->at[cls];
  uint64_t start = (uint64_t)unit << s->shift;
  uint64_t inside = offset > start ? offset - start : 0;
  for (uint32_t i = (uint32_t)((inside + c->size - 1) / c->size); i < c->blocks; i++) {
    if (!psm_block_used(s, cls, unit, i)) continue;
    block->address = s->base + unit_offset(s, unit) + (uint64_t)i * c->size;
    block->size = c->size;
    return true;
  }
  return false;
}

/* The first block at or after an offset from unit 0. */
static bool block_next(const struct segment *s, uint64_t offset, PSMBlock *block) {
  if (offset >= s->data_size) return false;
  uint32_t unit = psm_span_of(s, (uint32_t)(offset >> s->shift));
  for (uint32_t units; unit < s->geometry.units; unit += units) {
    units = psm_span_length(s, unit);
    if (units == 0) return false;
    uint32_t word = at_load_acquire(&s->table[unit]);
    if (unit_kind(word) == UNIT_SLAB && unit_value(word) < s->classes->count &&
        slab_next(s, unit, unit_value(word), offset, block))
      return true;
    if (unit_kind(word) == UNIT_LARGE && (uint64_t)unit << s->shift >= offset) {
      block->address = s->base + unit_offset(s, unit);
      block->size = (uint64_t)units << s->shift;
      return true;
    }
  }
  return false;
}

int psm_walk(struct segment *s, PSMBlock *block) {
  uint64_t offset = 0;
  if (block->address != NULL) {
    offset = (uint64_t)((uintptr_t)block->address - (uintptr_t)s->base) - s->data;
    if (offset >= s->data_size)
      return psm_fail(PSM_E_POINTER, "%p is not in this segment: begin with NULL", block->address);
    offset++;
  }
  enter(s);
  bool found = block_next(s, offset, block);
  leave(s);
  if (!found) memset(block, 0, sizeof *block);
  return found;
}

/* ---- Check ---- */

static int corrupt(struct segment *s, const char *what, uint64_t where) {
  mark_corrupt(s);
  return psm_fail(PSM_E_CORRUPT, "'%.120s' is corrupt: %s (%llu)", s->path, what,
                  (unsigned long long)where);
}

static int header_check(struct segment *s) {
  struct header_shm header;
  psm_header_fill(&header, &s->geometry);
  if (memcmp(&header, s->header, offsetof(struct header_shm, state)) != 0)
    return corrupt(s, "the header has changed", 0);
  return PSM_OK;
}

static bool cache_names(const struct segment *s, uint32_t cache, uint64_t id) {
  for (uint32_t cls = 0; cls < s->classes->count; cls++)
    if (slot_group(&cache_at(s, cache)->slots[cls]) == id) return true;
  return false;
}

/* An owner's slot names the group as long as it owns it. It is another class's
 * for a moment, or in the dead, if the slab was cut anew before the claim. */
static bool owner_sound(const struct segment *s, uint32_t cls, uint64_t id) {
  struct group_ref group = group_at(s, group_unit(id), cls, group_index(id));
  for (int look = 0; look < LOOKS; look++) {
    uint32_t owner = at_load_acquire(group.owner);
    if (owner == 0) return true;
    if (owner <= s->geometry.caches && cache_names(s, owner - 1, id) &&
        (owner - 1 == SHARED_CACHE || at_load(&s->owners[owner - 1]) != 0))
      return true;
    psm_pause();
  }
  return false;
}

/* What is neither used nor free is kept by someone: by a cache that is in use, or for
 * a moment by nobody who could say so. */
static bool state_sound(const struct segment *s, uint32_t cls, uint64_t id, uint32_t index) {
  uint32_t number = group_index(id) * PSM_GROUP + index;
  const _Atomic uint8_t *state = state_at(s, group_unit(id), cls, number);
  uint8_t used = used_state((uint64_t)number * s->classes->at[cls].size);
  for (int look = 0; look < LOOKS; look++) {
    uint8_t mark = at_load_acquire(state);
    uint64_t held;
    if (mark == used || mark == BLOCK_FREE) return true;
    if (keeper_mark(mark) != 0 && mark <= s->geometry.caches && at_load(&s->owners[mark - 1]) != 0)
      return true;
    if (mark != 0 && (group_free(s, cls, id, &held) >> index & 1) != 0) return true;
    psm_pause();
  }
  return false;
}

static bool states_sound(const struct segment *s, uint32_t cls, uint64_t id) {
  const struct psm_class *c = &s->classes->at[cls];
  for (uint32_t i = 0; c->stated && i < group_blocks(c, group_index(id)); i++)
    if (!state_sound(s, cls, id, i)) return false;
  return true;
}

static int slab_check(struct segment *s, uint32_t unit, uint32_t cls) {
  const struct psm_class *c = &s->classes->at[cls];
  for (uint32_t i = 0; i < c->groups; i++) {
    struct group_ref group = group_at(s, unit, cls, i);
    if ((at_load(group.free) & ~full_mask(group_blocks(c, i))) != 0)
      return corrupt(s, "a group has free blocks beyond its end; unit", unit);
    if (!owner_sound(s, cls, group_id(unit, i)))
      return corrupt(s, "a group is owned by nobody who knows of it; unit", unit);
    if (!states_sound(s, cls, group_id(unit, i)))
      return corrupt(s, "a block is kept by nobody; unit", unit);
  }
  return PSM_OK;
}

static bool slot_sound(const struct segment *s, uint32_t cls, uint32_t cache) {
  const struct slot_shm *slot = &cache_at(s, cache)->slots[cls];
  for (int look = 0; look < LOOKS; look++) {
    uint64_t bits = at_load_acquire(&slot->bits);
    uint64_t id = slot_group(slot);
    if (bits == 0) return true;
    if (psm_group_valid(s, id, cls)) {
      struct group_ref group = group_at(s, group_unit(id), cls, group_index(id));
      uint64_t mask = full_mask(group_blocks(&s->classes->at[cls], group_index(id)));
      if (at_load_acquire(group.owner) == cache + 1 && (bits & ~mask) == 0) return true;
    }
    psm_pause();
  }
  return false;
}

static int caches_check(struct segment *s) {
  for (uint32_t i = 0; i < s->geometry.caches; i++) {
    uint32_t owner = at_load(&s->owners[i]);
    if (i != SHARED_CACHE && owner == 0) continue;
    if (owner > PSM_SEATS) return corrupt(s, "a cache belongs to no seat; cache", i);
    for (uint32_t cls = 0; cls < s->classes->count; cls++)
      if (!slot_sound(s, cls, i)) return corrupt(s, "a cache holds what it does not own; cache", i);
  }
  return PSM_OK;
}

static int table_check(struct segment *s) {
  bool free_before = false;
  for (uint32_t unit = 0, units; unit < s->geometry.units; unit += units) {
    units = psm_span_length(s, unit);
    if (units == 0) return corrupt(s, "the unit table has no head; unit", unit);
    uint32_t word = at_load_acquire(&s->table[unit]);
    bool is_free = unit_kind(word) == UNIT_FREE;
    if (is_free && free_before) return corrupt(s, "free runs are not joined; unit", unit);
    free_before = is_free;
    if (unit_kind(word) != UNIT_SLAB) continue;
    if (unit_value(word) >= s->classes->count)
      return corrupt(s, "a slab is of no class; unit", unit);
    int result = slab_check(s, unit, unit_value(word));
    if (result != PSM_OK) return result;
  }
  if (!psm_lists_sound(s)) return corrupt(s, "the lists of free runs are broken", 0);
  return PSM_OK;
}

int psm_check(struct segment *s) {
  enter(s);
  int result = header_check(s);
  if (result == PSM_OK) result = table_check(s);
  if (result == PSM_OK) result = caches_check(s);
  leave(s);
  return result;
}
