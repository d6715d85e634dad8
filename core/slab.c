/* Groups are claimed, given up and reclaimed without a lock.
 *
 * Whoever owns a group is the only one to clear bits of its `free`. Frees set
 * bits at any time and then look at the owner; giving up stores the owner and
 * then looks at the bits: both in one total order, so that one of the two
 * sees a group worth offering. Hints may be lost by a death, never wrong in a
 * way that matters: what they lead to is looked at again.
 */
#include "slab.h"

static _Atomic uint64_t *hint_word(const struct segment *s, int level, uint32_t cls,
                                   uint32_t word) {
  const struct geometry *g = &s->geometry;
  uint64_t index = (uint64_t)cls * g->hint_words[level] + word;
  return (_Atomic uint64_t *)(void *)(s->base + g->hints[level] + index * 8);
}

static void hint_raise(_Atomic uint64_t *word, uint64_t bit) {
  if ((at_load_ordered(word) & bit) == 0) (void)at_or(word, bit);
}

static void hint_raise_from(struct segment *s, uint32_t cls, int level, uint32_t at) {
  for (; level < 3; level++, at /= 64)
    hint_raise(hint_word(s, level, cls, at / 64), UINT64_C(1) << at % 64);
}

void psm_hint_set(struct segment *s, uint32_t cls, uint32_t unit) {
  hint_raise_from(s, cls, 0, unit);
}

/* The first bit of a level at or after `bit`; only words that the level above
 * names are read, because the others may not be committed. */
static uint32_t hint_find(const struct segment *s, uint32_t cls, int level, uint32_t bit) {
  uint32_t words = s->geometry.hint_words[level];
  uint32_t word = bit / 64;
  uint64_t mask = ~UINT64_C(0) << bit % 64;
  while (word < words) {
    if (level < 2) {
      uint32_t named = hint_find(s, cls, level + 1, word);
      if (named >= words) return NO_UNIT;
      if (named > word) mask = ~UINT64_C(0);
      word = named;
    }
    uint64_t bits = at_load(hint_word(s, level, cls, word)) & mask;
    if (bits != 0) return word * 64 + (uint32_t)bit_first(bits);
    word++;
    mask = ~UINT64_C(0);
  }
  return NO_UNIT;
}

/* What most searches find: a bit in the same word, or in the next that the same
 * word above names. */
static uint32_t hint_close(const struct segment *s, uint32_t cls, uint32_t unit) {
  uint32_t word = unit / 64;
  uint64_t named = at_load(hint_word(s, 1, cls, word / 64));
  uint64_t bits = 0;
  if ((named >> word % 64 & 1) != 0)
    bits = at_load(hint_word(s, 0, cls, word)) & ~UINT64_C(0) << unit % 64;
  named &= ~UINT64_C(1) << word % 64;
  if (bits == 0 && named != 0) {
    word = word / 64 * 64 + (uint32_t)bit_first(named);
    if (word < s->geometry.hint_words[0]) bits = at_load(hint_word(s, 0, cls, word));
  }
  return bits != 0 ? word * 64 + (uint32_t)bit_first(bits) : NO_UNIT;
}

uint32_t psm_hint_next(struct segment *s, uint32_t cls, uint32_t unit) {
  uint32_t found = hint_close(s, cls, unit);
  if (likely(found < s->geometry.units)) return found;
  found = hint_find(s, cls, 0, unit);
  if (found >= s->geometry.units && unit > 0) found = hint_find(s, cls, 0, 0);
  return found < s->geometry.units ? found : NO_UNIT;
}

static bool group_offers(struct group_ref group, uint32_t blocks) {
  return at_load_ordered(group.owner) == 0 &&
         bit_count(at_load_ordered(group.free)) >= offer_threshold(blocks);
}

static bool slab_offers(const struct segment *s, uint32_t cls, uint32_t unit) {
  const struct psm_class *c = &s->classes->at[cls];
  if (at_load_ordered(&s->table[unit]) != unit_word(UNIT_SLAB, cls)) return false;
  for (uint32_t i = 0; i < c->groups; i++)
    if (group_offers(group_at(s, unit, cls, i), group_blocks(c, i))) return true;
  return false;
}

/* Returns what is left of the word. */
static uint64_t hint_lower(struct segment *s, uint32_t cls, int level, uint32_t at) {
  uint64_t bit = UINT64_C(1) << at % 64;
  return at_and(hint_word(s, level, cls, at / 64), ~bit) & ~bit;
}

/* What was set below meanwhile would be hidden. */
static void hint_lower_above(struct segment *s, uint32_t cls, uint32_t at) {
  for (int level = 1; level < 3; level++, at /= 64) {
    uint64_t left = hint_lower(s, cls, level, at);
    bool again = at_load_ordered(hint_word(s, level - 1, cls, at)) != 0;
    if (again) hint_raise_from(s, cls, level, at);
    if (again || left != 0) return;
  }
}

void psm_hint_drop(struct segment *s, uint32_t cls, uint32_t unit) {
  if (hint_lower(s, cls, 0, unit) == 0) hint_lower_above(s, cls, unit / 64);
}

void psm_hint_clear(struct segment *s, uint32_t cls, uint32_t unit) {
  psm_hint_drop(s, cls, unit);
  if (slab_offers(s, cls, unit)) psm_hint_set(s, cls, unit);
}

bool psm_group_valid(const struct segment *s, uint64_t id, uint32_t cls) {
  if (id == NO_GROUP || (id - 1) / PSM_GROUPS >= s->geometry.units) return false;
  if (group_index(id) >= s->classes->at[cls].groups) return false;
  return at_load_acquire(&s->table[group_unit(id)]) == unit_word(UNIT_SLAB, cls);
}

bool psm_group_release(struct segment *s, uint32_t cls, uint64_t id) {
  uint32_t unit = group_unit(id);
  uint32_t blocks = group_blocks(&s->classes->at[cls], group_index(id));
  struct group_ref group = group_at(s, unit, cls, group_index(id));
  (void)at_exchange(group.owner, 0);
  uint32_t count = bit_count(at_load_ordered(group.free));
  if (count >= offer_threshold(blocks)) psm_hint_set(s, cls, unit);
  return count == blocks;
}

bool psm_slab_idle(const struct segment *s, uint32_t unit, uint32_t cls) {
  const struct psm_class *c = &s->classes->at[cls];
  for (uint32_t i = 0; i < c->groups; i++) {
    struct group_ref group = group_at(s, unit, cls, i);
    if (at_load_ordered(group.owner) != 0) return false;
    if (at_load_ordered(group.free) != full_mask(group_blocks(c, i))) return false;
  }
  return true;
}

bool psm_slab_mark(struct segment *s, uint32_t unit, uint32_t cls) {
  const struct psm_class *c = &s->classes->at[cls];
  bool all = true;
  for (uint32_t i = 0; i < c->groups && all; i++) {
    uint32_t nobody = 0;
    struct group_ref group = group_at(s, unit, cls, i);
    all = at_cas(group.owner, &nobody, OWNER_MARK) &&
          at_load_ordered(group.free) == full_mask(group_blocks(c, i));
  }
  if (!all) psm_slab_unmark(s, unit, cls);
  return all;
}

void psm_slab_unmark(struct segment *s, uint32_t unit, uint32_t cls) {
  const struct psm_class *c = &s->classes->at[cls];
  for (uint32_t i = 0; i < c->groups; i++) {
    uint32_t mark = OWNER_MARK;
    (void)at_cas(group_at(s, unit, cls, i).owner, &mark, 0);
  }
  psm_hint_set(s, cls, unit);
}

static void states_begin(struct segment *s, uint32_t unit) {
  uint32_t size = s->geometry.states_size;
  _Atomic uint64_t *states = (_Atomic uint64_t *)(void *)(s->states + (uint64_t)unit * size);
  for (uint32_t i = 0; i < size / 8; i++) at_store(states + i, BLOCK_FREE * EACH_BYTE);
}

/* Marks come first: a straggler of the slab that was here before must find
 * every group owned until the table calls this one a slab. */
void psm_slab_prepare(struct segment *s, uint32_t unit, uint32_t cls) {
  const struct psm_class *c = &s->classes->at[cls];
  for (uint32_t i = 0; i < c->groups; i++) {
    struct group_ref group = group_at(s, unit, cls, i);
    (void)at_exchange(group.owner, OWNER_MARK);
    at_store_release(group.free, full_mask(group_blocks(c, i)));
  }
  if (c->stated) states_begin(s, unit);
}

bool psm_publication_kept(const struct segment *s, uint64_t block, uint64_t where, uint64_t old) {
  const _Atomic uintptr_t *place = place_at(s, where);
  if (place == NULL) return true;
  uint64_t value = at_load_acquire(place);
  return value == s->geometry.base + block || value != old;
}

bool psm_publication_pending(const struct segment *s, uint64_t block) {
  if (at_load_acquire(&s->spans->to_block) == block) return true;
  if (block < s->data || block - s->data >= s->data_size) return false;
  uint32_t unit = (uint32_t)((block - s->data) >> s->shift);
  uint32_t word = at_load_acquire(&s->table[unit]);
  if (unit_kind(word) != UNIT_SLAB || unit_value(word) >= s->classes->count) return false;
  uint32_t inside = (uint32_t)((block - s->data) & (unit_size(s) - 1));
  uint32_t cls = unit_value(word);
  uint32_t index = block_index(&s->classes->at[cls], inside) / PSM_GROUP;
  if (index >= s->classes->at[cls].groups) return false;
  uint32_t owner = at_load_acquire(group_at(s, unit, cls, index).owner);
  if (owner == 0 || owner > s->geometry.caches) return false;
  return at_load_acquire(&cache_at(s, owner - 1)->to_block) == block;
}

/* A block being published has left the slot; it goes back unless its place
 * says that the world has seen it. Setting a bit twice does no harm: nobody
 * else may take from the group before it is released. */
static void publication_settle(struct segment *s, struct cache_shm *cache) {
  uint64_t block = at_load_acquire(&cache->to_block);
  if (block >= s->data && block < s->data + s->data_size &&
      !psm_publication_kept(s, block, at_load(&cache->to_where), at_load(&cache->to_old))) {
    uint32_t unit = (uint32_t)((block - s->data) >> s->shift);
    uint32_t word = at_load(&s->table[unit]);
    uint32_t cls = unit_value(word);
    if (unit_kind(word) == UNIT_SLAB && cls < s->classes->count) {
      uint32_t inside = (uint32_t)((block - s->data) & (unit_size(s) - 1));
      uint32_t index = block_index(&s->classes->at[cls], inside);
      struct slot_shm *slot = &cache->slots[cls];
      if (slot_group(slot) == group_id(unit, index / PSM_GROUP)) {
        if (s->classes->at[cls].stated) at_store(state_at(s, unit, cls, index), BLOCK_FREE);
        (void)at_or(&slot->bits, UINT64_C(1) << index % PSM_GROUP);
      }
    }
  }
  at_store_release(&cache->to_block, 0);
}

/* The class of the slab that a group lies in by now. */
static bool group_class(const struct segment *s, uint64_t id, uint32_t *cls) {
  if (id == NO_GROUP || (id - 1) / PSM_GROUPS >= s->geometry.units) return false;
  *cls = unit_value(at_load_acquire(&s->table[group_unit(id)]));
  return *cls < s->classes->count && psm_group_valid(s, id, *cls);
}

/* Who is killed when it takes a block says that it is used before the bit is gone. */
static void states_settle(struct segment *s, uint32_t cls, uint64_t id, uint64_t bits) {
  if (!s->classes->at[cls].stated) return;
  for (; bits != 0; bits &= bits - 1) {
    uint32_t index = group_index(id) * PSM_GROUP + (uint32_t)bit_first(bits);
    _Atomic uint8_t *state = state_at(s, group_unit(id), cls, index);
    if (at_load(state) >= BLOCK_USED) at_store_release(state, BLOCK_FREE);
  }
}

/* Who is killed between a claim and the second look at the table may own a
 * group of another class than its slot's. That class's slot gives it back if it
 * names it too: only there can be bits. */
void psm_cache_reclaim(struct segment *s, uint32_t index,
                       void (*idle)(struct segment *, uint32_t unit)) {
  struct cache_shm *cache = cache_at(s, index);
  publication_settle(s, cache);
  for (uint32_t cls = 0; cls < s->classes->count; cls++) {
    struct slot_shm *slot = &cache->slots[cls];
    uint64_t id = slot_group(slot);
    uint32_t now;
    if (!group_class(s, id, &now)) continue;
    if (now != cls && slot_group(&cache->slots[now]) == id) continue;
    struct group_ref group = group_at(s, group_unit(id), now, group_index(id));
    if (at_load_acquire(group.owner) != index + 1) continue;
    uint64_t mask = now == cls ? full_mask(group_blocks(&s->classes->at[cls], group_index(id))) : 0;
    uint64_t bits = at_load(&slot->bits) & mask;
    if (now == cls) states_settle(s, cls, id, bits);
    if (bits != 0) (void)at_or(group.free, bits);
    at_store_release(&slot->bits, 0);
    if (psm_group_release(s, now, id) && idle != NULL) idle(s, group_unit(id));
  }
}

uint64_t psm_group_cached(const struct segment *s, uint32_t cls, uint64_t id) {
  struct group_ref group = group_at(s, group_unit(id), cls, group_index(id));
  uint32_t owner = at_load_ordered(group.owner);
  if (owner == 0 || owner > s->geometry.caches) return 0;
  const struct slot_shm *slot = &cache_at(s, owner - 1)->slots[cls];
  uint64_t before = at_load_acquire(&slot->group);
  uint64_t bits = at_load_acquire(&slot->bits);
  bool same = at_load_acquire(&slot->group) == before;
  return same && (before & (SLOT_CHANGE - 1)) == id ? bits : 0;
}
