/* A thread claims a group, takes its free blocks into a slot, and allocates
 * from there with one plain store.
 *
 * The slot names the group before the group names the cache, so that at every
 * instruction a reaper finds what this thread has claimed. Under the span
 * lock, threads without a cache of their own share one.
 */
#include "cache.h"

#include <string.h>

#include "commit.h"
#include "reap.h"
#include "span.h"

uint32_t psm_cache_claim(struct segment *s) {
  uint32_t found = 0;
  psm_span_lock(s);
  for (uint32_t i = SHARED_CACHE + 1; i < s->geometry.caches; i++) {
    if (at_load(&s->owners[i]) != 0) continue;
    uint64_t offset = (uint64_t)((char *)cache_at(s, i) - s->base);
    if (psm_commit(s, offset, s->geometry.cache_size) == PSM_OK) {
      at_store(&s->grants[i], 0);
      at_store_release(&s->owners[i], (uint32_t)s->seat + 1);
      found = i;
    }
    break;
  }
  psm_span_unlock(s);
  return found;
}

void psm_cache_release(struct segment *s, uint32_t index) {
  psm_span_lock(s);
  psm_cache_reclaim(s, index, psm_slab_retire);
  at_store_release(&s->owners[index], 0);
  psm_span_unlock(s);
}

/* A group and all that taking from it asks for. */
struct pick {
  uint32_t unit, index, blocks;
  struct group_ref group;
};

static struct pick pick_at(const struct segment *s, uint32_t cls, uint32_t unit, uint32_t index) {
  uint32_t blocks = group_blocks(&s->classes->at[cls], index);
  return (struct pick){unit, index, blocks, group_at(s, unit, cls, index)};
}

static struct pick pick_of(const struct segment *s, uint32_t cls, uint64_t id) {
  return pick_at(s, cls, group_unit(id), group_index(id));
}

static uint64_t pick_id(const struct pick *pick) { return group_id(pick->unit, pick->index); }

static void way_point(const struct segment *s, union way *from, const struct pick *pick) {
  uint64_t before = (uint64_t)pick->index * PSM_GROUP * from->alloc.size;
  from->alloc.first = s->base + unit_offset(s, pick->unit) + before;
  from->alloc.mask = full_mask(pick->blocks);
  from->alloc.group = pick->group.free;
}

/* Frees take the plain store while the way says that the group is ours. */
static void way_own(const struct worker *worker, uint32_t cls, uint64_t own) {
  if (worker->ways != NULL) way_of(worker->ways, cls)->free.own = own;
}

static void way_begin(const struct segment *s, struct cache_shm *cache, uint32_t cls,
                      union way *way) {
  const struct psm_class *c = &s->classes->at[cls];
  way->free.end = (c->blocks - 1u) * c->size + 1;
  way->free.reciprocal = c->reciprocal;
  way->free.slot = way[1].alloc.slot = &cache->slots[cls];
  way->free.own = OWNS_NONE;
  way->free.stated = c->stated;
  way[1].alloc.size = c->size;
  if (c->stated) way[1].alloc.states = states_for(s);
}

void psm_ways_begin(const struct segment *s, struct cache_shm *cache, union way *ways) {
  memset(ways, 0, WAYS * sizeof *ways);
  for (uint32_t cls = 0; cls < s->classes->count; cls++)
    way_begin(s, cache, cls, way_of(ways, cls));
}

bool psm_block_cached(const struct segment *s, uint32_t cls, uint32_t unit, uint32_t index) {
  uint64_t cached = psm_group_cached(s, cls, group_id(unit, index / PSM_GROUP));
  return (cached >> index % PSM_GROUP & 1) != 0;
}

static void let_go(const struct worker *worker, uint32_t cls, uint64_t id) {
  if (psm_group_release(worker->segment, cls, id)) psm_retire(worker, group_unit(id), cls);
}

/* Bits go into the slot before they leave the group: in between they are in
 * both, which is free all the same. */
static bool slot_fill(struct slot_shm *slot, const struct pick *pick) {
  uint64_t bits = at_load_acquire(pick->group.free) & full_mask(pick->blocks);
  if (bits == 0) return false;
  at_store_release(&slot->bits, bits);
  (void)at_and(pick->group.free, ~bits);
  return true;
}

static void slot_point(const struct worker *worker, uint32_t cls, const struct pick *pick) {
  struct slot_shm *slot = &worker->cache->slots[cls];
  way_own(worker, cls, OWNS_NONE);
  if (worker->ways != NULL) way_point(worker->segment, way_of(worker->ways, cls) + 1, pick);
  uint64_t changes = at_load(&slot->group) & ~(SLOT_CHANGE - 1);
  at_store_release(&slot->group, changes + SLOT_CHANGE + pick_id(pick));
}

/* A group that is another class's by now goes back to it. */
static void let_go_changed(const struct worker *worker, const struct pick *pick, uint32_t word) {
  const struct psm_classes *classes = worker->segment->classes;
  if (unit_kind(word) == UNIT_SLAB && unit_value(word) < classes->count &&
      pick->index < classes->at[unit_value(word)].groups)
    let_go(worker, unit_value(word), pick_id(pick));
}

/* Between the look at the table and the claim the slab may have been given
 * back and cut anew: once the group is owned it stays, so look again then. */
static bool claim(const struct worker *worker, uint32_t cls, const struct pick *pick) {
  struct segment *s = worker->segment;
  uint32_t nobody = 0;
  slot_point(worker, cls, pick);
  if (!at_cas(pick->group.owner, &nobody, worker->id)) return false;
  uint32_t word = at_load_acquire(&s->table[pick->unit]);
  if (unlikely(word != unit_word(UNIT_SLAB, cls))) {
    let_go_changed(worker, pick, word);
    return false;
  }
  if (unlikely(!slot_fill(&worker->cache->slots[cls], pick))) {
    let_go(worker, cls, pick_id(pick));
    return false;
  }
  way_own(worker, cls, pick_id(pick) - 1);
  psm_touch(s, pick->unit);
  return true;
}

/* Where the search for the next group begins: with the last one's. */
static uint32_t last_unit(const struct worker *worker, uint32_t cls) {
  uint64_t id = slot_group(&worker->cache->slots[cls]);
  return id != NO_GROUP ? group_unit(id) : 0;
}

/* Claim a group with enough free blocks, from `index` on and round. */
PSM_INLINE bool claim_in_slab(const struct worker *worker, uint32_t cls, uint32_t unit,
                              uint32_t index, bool any) {
  const struct segment *s = worker->segment;
  uint32_t groups = s->classes->at[cls].groups;
  if (at_load_acquire(&s->table[unit]) != unit_word(UNIT_SLAB, cls)) return false;
  for (uint32_t tries = 0; tries < groups; tries++, index++) {
    if (index >= groups) index = 0;
    struct pick pick = pick_at(s, cls, unit, index);
    if (at_load(pick.group.owner) != 0) continue;
    uint32_t wanted = any ? 1 : offer_threshold(pick.blocks);
    if (bit_count(at_load(pick.group.free)) < wanted) continue;
    if (claim(worker, cls, &pick)) return true;
  }
  return false;
}

/* A slab's groups from the one after the last that was used; then other slabs. */
static bool refill_offered(const struct worker *worker, uint32_t cls) {
  struct segment *s = worker->segment;
  uint64_t last = slot_group(&worker->cache->slots[cls]);
  bool single = s->classes->at[cls].groups == 1;
  uint32_t begin = last != NO_GROUP ? group_unit(last) : 0;
  uint32_t unit = begin + single; /* of a slab that has one, there is no next one */
  for (uint32_t tries = 0; tries < s->geometry.units; tries++, unit++) {
    unit = psm_hint_next(s, cls, unit < s->geometry.units ? unit : 0);
    if (unit == NO_UNIT) return false;
    uint32_t index = unit == begin && last != NO_GROUP ? group_index(last) + 1 : 0;
    if (!claim_in_slab(worker, cls, unit, index, false)) {
      psm_hint_clear(s, cls, unit);
      continue;
    }
    if (single) psm_hint_drop(s, cls, unit);
    return true;
  }
  return false;
}

static bool refill_any(const struct worker *worker, uint32_t cls) {
  struct segment *s = worker->segment;
  uint32_t unit = last_unit(worker, cls);
  for (uint32_t i = 0; i < s->geometry.units; i++, unit++) {
    if (unit >= s->geometry.units) unit = 0;
    if (claim_in_slab(worker, cls, unit, 0, true)) return true;
  }
  return false;
}

static int refill_new(const struct worker *worker, uint32_t cls) {
  struct segment *s = worker->segment;
  uint32_t unit;
  int result = psm_slab_cut(s, cls, &unit);
  if (result != PSM_OK) return result;
  struct pick pick = pick_at(s, cls, unit, 0);
  slot_point(worker, cls, &pick);
  (void)at_exchange(pick.group.owner, worker->id);
  (void)slot_fill(&worker->cache->slots[cls], &pick);
  way_own(worker, cls, pick_id(&pick) - 1);
  psm_slab_open(s, unit, cls);
  psm_touch(s, unit);
  return PSM_OK;
}

/* The last resort comes in the order of its cost. */
static int refill_scarce(const struct worker *worker, uint32_t cls, int result) {
  struct segment *s = worker->segment;
  if (refill_any(worker, cls)) return PSM_OK;
  psm_make_room(s, worker);
  if (refill_any(worker, cls)) return PSM_OK;
  int again = refill_new(worker, cls);
  return again == PSM_OK || result != PSM_E_NOSPACE ? again : result;
}

/* The group in the worker's slot, if it is the owner. A way knows; of what the
 * slot says nothing is taken for granted. */
static uint64_t owned(const struct worker *worker, uint32_t cls) {
  const struct segment *s = worker->segment;
  if (worker->ways != NULL) return way_of(worker->ways, cls)->free.own + 1;
  uint64_t id = slot_group(&worker->cache->slots[cls]);
  bool own = psm_group_valid(s, id, cls) && at_load(pick_of(s, cls, id).group.owner) == worker->id;
  return own ? id : NO_GROUP;
}

/* The same group once more, if it has got enough blocks back; else it is given up. */
static bool refill_own(const struct worker *worker, uint32_t cls) {
  struct segment *s = worker->segment;
  uint64_t id = owned(worker, cls);
  if (id == NO_GROUP) return false;
  struct pick pick = pick_of(s, cls, id);
  if (bit_count(at_load(pick.group.free)) >= offer_threshold(pick.blocks) &&
      slot_fill(&worker->cache->slots[cls], &pick))
    return true;
  way_own(worker, cls, OWNS_NONE);
  let_go(worker, cls, id);
  return false;
}

/* Others have been asked to give back what they have: let them. */
static int refill_later(const struct worker *holder, uint32_t cls) {
  struct segment *s = holder->segment;
  int result = PSM_E_NOMEM;
  for (int turn = 1; result == PSM_E_NOMEM && turn <= PSM_TURNS; turn++) {
    os_thread_yield();
    if (refill_offered(holder, cls)) return PSM_OK;
    psm_span_lock(s);
    result = refill_new(holder, cls);
    if (result == PSM_E_NOMEM && turn == PSM_TURNS && refill_any(holder, cls)) result = PSM_OK;
    psm_span_unlock(s);
  }
  return result;
}

int psm_cache_refill(struct worker *worker, uint32_t cls) {
  struct segment *s = worker->segment;
  if (worker_is_pressed(worker)) psm_worker_yield(worker);
  if (refill_own(worker, cls) || refill_offered(worker, cls)) return PSM_OK;
  struct worker holder = *worker;
  holder.locked = true;
  if (!worker->locked) psm_span_lock(s);
  int result = refill_new(&holder, cls);
  if (result != PSM_OK) result = refill_scarce(&holder, cls, result);
  if (!worker->locked) psm_span_unlock(s);
  return result == PSM_E_NOMEM && !worker->locked ? refill_later(&holder, cls) : result;
}

/* While no unit is free a group is held no longer than it takes to have a block of it: of the
 * other blocks somebody may be in need. */
static void slot_pass_on(const struct worker *worker, uint32_t cls) {
  struct segment *s = worker->segment;
  struct slot_shm *slot = &worker->cache->slots[cls];
  uint64_t id = owned(worker, cls);
  if (likely(at_load(&s->spans->shortage) == 0) || id == NO_GROUP) return;
  struct pick pick = pick_of(s, cls, id);
  uint64_t bits = at_load(&slot->bits) & full_mask(pick.blocks);
  way_own(worker, cls, OWNS_NONE);
  if (bits != 0) (void)at_or(pick.group.free, bits);
  at_store_release(&slot->bits, 0);
  let_go(worker, cls, id);
}

/* The one that all share is used under the lock, and has no ways of its own. */
static const union way *way_now(const struct worker *worker, uint32_t cls, union way made[2]) {
  if (worker->ways != NULL) return way_of(worker->ways, cls);
  uint64_t id = slot_group(&worker->cache->slots[cls]);
  memset(made, 0, 2 * sizeof *made);
  way_begin(worker->segment, worker->cache, cls, made);
  if (!psm_group_valid(worker->segment, id, cls)) return made;
  struct pick pick = pick_of(worker->segment, cls, id);
  way_point(worker->segment, made + 1, &pick);
  return made;
}

int psm_cache_take(struct worker *worker, uint32_t cls, void **block) {
  union way made[2];
  if (slot_take(way_now(worker, cls, made), block)) return PSM_OK;
  int result = psm_cache_refill(worker, cls);
  if (unlikely(result != PSM_OK)) return result;
  if (!slot_take(way_now(worker, cls, made), block)) return PSM_E_CORRUPT;
  slot_pass_on(worker, cls);
  return PSM_OK;
}

int psm_cache_publish(struct worker *worker, uint32_t cls, _Atomic uintptr_t *where) {
  struct segment *s = worker->segment;
  struct cache_shm *cache = worker->cache;
  struct slot_shm *slot = &cache->slots[cls];
  union way made[2];
  const union way *from = way_now(worker, cls, made) + 1;
  uint64_t bits = at_load(&slot->bits) & from->alloc.mask;
  if (bits == 0) {
    int result = psm_cache_refill(worker, cls);
    if (result != PSM_OK) return result;
    from = way_now(worker, cls, made) + 1;
    bits = at_load(&slot->bits) & from->alloc.mask;
  }
  if (bits == 0) return PSM_E_CORRUPT;
  uint64_t first = bit_first(bits);
  char *block = from->alloc.first + first * from->alloc.size;
  at_store(&cache->to_where, (uint64_t)((char *)where - s->base));
  at_store(&cache->to_old, at_load(where));
  at_store_release(&cache->to_block, (uint64_t)(block - s->base));
  if (from->alloc.states != 0)
    at_store(state_of(from->alloc.states, block), used_state((uintptr_t)block));
  at_store_release(&slot->bits, bits & (bits - 1));
  at_store_release(where, (uintptr_t)block);
  at_store_release(&cache->to_block, 0);
  slot_pass_on(worker, cls);
  return PSM_OK;
}
