/* Nobody is asked who kept what: the states say so, and are all read. It is done for
 * all the dead at once.
 */
#include "kept.h"

#include "slab.h"
#include "span.h"

void psm_keepers_add(const struct segment *s, struct keepers *keepers, uint32_t cache) {
  const struct cache_shm *shm = cache_at(s, cache);
  uint8_t mark = keeper_mark(cache + 1);
  if (mark == 0) return;
  uint64_t kept = 0;
  for (int i = 0; i < 2; i++) {
    uint64_t classes = at_load_acquire(&shm->keeps[i]);
    keepers->classes[i] |= classes;
    kept |= classes;
  }
  if (kept != 0) keepers->marks[mark / 64] |= UINT64_C(1) << mark % 64;
}

static bool is_among(const struct keepers *keepers, uint8_t mark) {
  return (keepers->marks[mark / 64] >> mark % 64 & 1) != 0;
}

/* Is there a mark among eight states? Used are those with the upper two bits. */
static bool eight_marked(uint64_t eight) {
  uint64_t used = eight & eight << 1 & 0x80 * EACH_BYTE;
  return ((eight ^ BLOCK_FREE * EACH_BYTE) & ~((used >> 7) * 0xff)) != 0;
}

/* The blocks of a group that bear one of the marks; most words of states hold none. */
static uint64_t group_marked(const struct segment *s, const struct keepers *keepers, uint32_t cls,
                             uint64_t id) {
  const struct psm_class *c = &s->classes->at[cls];
  const _Atomic uint8_t *states = s->states + (uint64_t)group_unit(id) * s->geometry.states_size;
  uint32_t first = group_index(id) * PSM_GROUP;
  uint32_t count = group_blocks(c, group_index(id));
  uint32_t end = (first + count - 1) * c->size / PSM_STATED + 1;
  uint64_t marked = 0;
  for (uint32_t i = first * c->size / PSM_STATED & ~7u; i < end; i += 8) {
    if (!eight_marked(at_load_acquire((const _Atomic uint64_t *)(const void *)(states + i))))
      continue;
    for (uint32_t j = i; j < i + 8; j++) {
      uint32_t index = block_index(c, j * PSM_STATED + PSM_STATED - 1) - first;
      if (index < count && is_among(keepers, at_load_acquire(states + j)))
        marked |= UINT64_C(1) << index;
    }
  }
  return marked;
}

/* The slot by which a cache owns a group. It is another class's while its thread is about
 * to find that the slab was cut anew before the claim: then no bits are in it. */
static const struct slot_shm *slot_naming(const struct segment *s, uint32_t cache, uint32_t cls,
                                          uint64_t id) {
  const struct slot_shm *slots = cache_at(s, cache)->slots;
  if (slot_group(&slots[cls]) == id) return &slots[cls];
  for (uint32_t i = 0; i < s->classes->count; i++)
    if (slot_group(&slots[i]) == id) return &slots[i];
  return NULL;
}

/* Of a group that its owner holds, the free blocks as they were at one moment: the
 * owner is the only one to move bits away, and has been the same all the time. */
static bool group_moment(const struct segment *s, uint32_t cls, uint64_t id, uint64_t *all) {
  struct group_ref group = group_at(s, group_unit(id), cls, group_index(id));
  uint32_t owner = at_load_ordered(group.owner);
  if (owner == 0 || owner > s->geometry.caches) return false;
  const struct slot_shm *slot = slot_naming(s, owner - 1, cls, id);
  if (slot == NULL) return false;
  uint64_t before = at_load_ordered(&slot->group);
  *all = at_load_ordered(group.free);
  if (slot == &cache_at(s, owner - 1)->slots[cls]) *all |= at_load_ordered(&slot->bits);
  *all |= at_load_ordered(group.free);
  return (before & (SLOT_CHANGE - 1)) == id && at_load_ordered(group.owner) == owner &&
         at_load_ordered(&slot->group) == before;
}

/* A mark says who keeps a block if the block's bit is nowhere. So that none can move
 * while we look, the group is ours, or its owner's before and after; else look again. */
static bool group_kept_reclaim(struct segment *s, const struct keepers *keepers, uint32_t cls,
                               uint64_t id) {
  enum { LOOKS = 64 };
  struct group_ref group = group_at(s, group_unit(id), cls, group_index(id));
  for (int look = 0; look < LOOKS; look++) {
    uint32_t nobody = 0;
    uint64_t all;
    bool ours = at_cas(group.owner, &nobody, OWNER_MARK);
    if (ours)
      all = at_load_ordered(group.free);
    else if (!group_moment(s, cls, id, &all)) {
      psm_pause();
      continue;
    }
    uint64_t kept = group_marked(s, keepers, cls, id) & ~all;
    if (kept != 0) (void)at_or(group.free, kept);
    if (ours) (void)at_exchange(group.owner, 0);
    return true;
  }
  return false;
}

static bool slab_kept_reclaim(struct segment *s, const struct keepers *keepers, uint32_t unit,
                              uint32_t cls) {
  bool all = true;
  uint64_t some = 0;
  for (uint32_t i = 0; i < s->classes->at[cls].groups; i++)
    some |= group_marked(s, keepers, cls, group_id(unit, i));
  if (some == 0) return true;
  at_store_release(&s->spans->marked, unit + 1);
  for (uint32_t i = 0; i < s->classes->at[cls].groups; i++) {
    uint64_t id = group_id(unit, i);
    if (group_marked(s, keepers, cls, id) != 0) all &= group_kept_reclaim(s, keepers, cls, id);
  }
  at_store_release(&s->spans->marked, 0);
  psm_hint_set(s, cls, unit);
  psm_slab_retire(s, unit);
  return all;
}

static bool may_hold(const struct segment *s, const struct keepers *keepers, uint32_t word) {
  uint32_t cls = unit_value(word);
  if (unit_kind(word) != UNIT_SLAB || cls >= s->classes->count) return false;
  return s->classes->at[cls].stated && (keepers->classes[cls / 64] >> cls % 64 & 1) != 0;
}

bool psm_kept_reclaim(struct segment *s, const struct keepers *keepers) {
  bool all = true;
  if ((keepers->classes[0] | keepers->classes[1]) == 0) return true;
  for (uint32_t unit = 0, next; unit < s->geometry.units; unit = next) {
    uint32_t units = psm_span_length(s, unit);
    if (units == 0) break;
    next = psm_span_next(s, unit, units);
    uint32_t word = at_load_acquire(&s->table[unit]);
    if (may_hold(s, keepers, word)) all &= slab_kept_reclaim(s, keepers, unit, unit_value(word));
  }
  return all;
}
