/* The word is 0, or the tag of the member that holds the lock, with the top
 * bit set once somebody may be asleep.
 *
 * A tag names a seat and its generation, so it never comes to mean another
 * member: a dead one stays dead, and taking its lock over is a plain CAS. A
 * robust pthread mutex would do less: it links itself, by pointers in shared
 * memory, into a list that the C library then follows.
 */
#include "lock.h"

#define LOCK_AWAITED UINT32_C(0x80000000)

enum { SPINS = 200, FIRST_SLEEP_MS = 1, SLEEP_MS = 10 };

static bool spin(_Atomic uint32_t *word, uint32_t tag) {
  for (int i = 0; i < SPINS; i++) {
    uint32_t free_word = 0;
    if (at_load(word) == 0 && at_cas(word, &free_word, tag)) return true;
    psm_pause();
  }
  return false;
}

int psm_lock_take(struct segment *s, _Atomic uint32_t *word) {
  uint32_t seen = 0;
  if (at_cas(word, &seen, s->tag) || spin(word, s->tag)) return PSM_OK;
  for (uint32_t sleep = FIRST_SLEEP_MS, slept = 0;;) {
    seen = at_load(word);
    if (seen == 0) {
      if (at_cas(word, &seen, s->tag | LOCK_AWAITED)) return PSM_OK;
      continue;
    }
    if (slept > 0 && !psm_tag_alive(s, seen & ~LOCK_AWAITED)) {
      if (at_cas(word, &seen, s->tag | LOCK_AWAITED)) return PSM_OWNER_DIED;
      continue;
    }
    if ((seen & LOCK_AWAITED) == 0 && !at_cas(word, &seen, seen | LOCK_AWAITED)) continue;
    os_wait(word, seen | LOCK_AWAITED, sleep);
    slept++;
    sleep = SLEEP_MS;
  }
}

int psm_lock_try(struct segment *s, _Atomic uint32_t *word) {
  uint32_t seen = 0;
  if (at_cas(word, &seen, s->tag)) return PSM_OK;
  if (psm_tag_alive(s, seen & ~LOCK_AWAITED)) return PSM_E_STATE;
  /* Those who wait for the dead one's lock now wait for this one. */
  return at_cas(word, &seen, s->tag | LOCK_AWAITED) ? PSM_OWNER_DIED : PSM_E_STATE;
}

int psm_lock_give(struct segment *s, _Atomic uint32_t *word) {
  uint32_t seen = at_load(word);
  do {
    if ((seen & ~LOCK_AWAITED) != s->tag) return PSM_E_STATE;
  } while (!at_cas(word, &seen, 0));
  if ((seen & LOCK_AWAITED) != 0) os_wake(word);
  return PSM_OK;
}
