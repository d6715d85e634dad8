/* Whoever gives a block back looks whether its group is worth an offer by now. */
#include "give.h"

#include "span.h"

void psm_retire(const struct worker *worker, uint32_t unit, uint32_t cls) {
  if (!psm_slab_idle(worker->segment, unit, cls)) return;
  if (!worker->locked) psm_span_lock(worker->segment);
  psm_slab_retire(worker->segment, unit);
  if (!worker->locked) psm_span_unlock(worker->segment);
}

/* If the group is owned, its owner will see to it when it gives it up. The slab
 * may be gone by now: then what is looked at is another's, and in order. */
void psm_group_grown(const struct worker *worker, uint32_t unit, uint32_t index) {
  struct segment *s = worker->segment;
  uint32_t word = at_load_acquire(&s->table[unit]);
  uint32_t cls = unit_value(word);
  if (unit_kind(word) != UNIT_SLAB || cls >= s->classes->count) return;
  if (index >= s->classes->at[cls].groups) return;
  struct group_ref group = group_at(s, unit, cls, index);
  uint32_t blocks = group_blocks(&s->classes->at[cls], index);
  uint32_t count = bit_count(at_load_ordered(group.free));
  if (at_load_ordered(group.owner) != 0) return;
  if (count >= offer_threshold(blocks)) psm_hint_set(s, cls, unit);
  if (count == blocks) psm_retire(worker, unit, cls);
}
