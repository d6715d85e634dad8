/* Blocks with states: core/magazine.c, core/kept.c, and what they add to core/cache.h and
 * core/slab.c.
 *
 * Two or three workers take, free, keep, give back and refill for ever; a reaper reaps.
 * Each of them may be killed before every step, and then a new one takes its
 * place, under the same mark. Steps, atomic blocks and memory are as in
 * group.pml. A worker's magazine is private: that it changes together with the
 * state of the block says only which of the two a death comes after.
 */
#ifndef GROUPS /* of the slab: 1 or 2 */
#define GROUPS 1
#endif
#ifndef BLOCKS /* of a group: 1 or 2 */
#define BLOCKS 2
#endif
#ifndef WORKERS /* 2 or 3: one dead, and two that take its blocks from each other */
#define WORKERS 2
#endif
#ifndef DEATHS /* at most */
#define DEATHS 2
#endif
#define LAST    (GROUPS * BLOCKS - 1)

#define FULL        ((1 << BLOCKS) - 1)
#define GROUP_OF(b) ((b) / BLOCKS)
#define BIT_OF(b)   (1 << ((b) % BLOCKS))

/* ---- Shared memory; a worker and its cache have the same number ---- */

#define MARK   7  /* OWNER_MARK */
#define REAPER 6  /* in the lock: its tag */
#define GONE   7  /* in the lock: the tag of a member that is dead */
#define OTHER  15 /* in the place: a pointer of the application */

#define BLOCK_FREE 1
#define BLOCK_USED 7
#define MARK_OF(k) (2 + (k))

byte state[LAST + 1];
byte free_[GROUPS];  /* group_shm */
byte owner[GROUPS];  /* 0, 1 + cache, MARK */
byte bits[WORKERS];  /* slot_shm */
byte group[WORKERS]; /* 0, 1 + group */
bool keeps[WORKERS];
bool taken[WORKERS]; /* owners[cache] is not 0 */
byte lock;           /* spans_shm: 0, a tag, GONE */
bool marked;
#ifdef CUT
bool table;          /* is there a slab? */
#else
#define table true
#endif
#ifdef PUBLISH
byte to_block;       /* cache_shm of worker 0: 0, 1 + block */
byte to_old;
byte place;          /* where it publishes: 0, OTHER, 1 + block */
#endif

/* ---- Ghosts, and what is private to a worker ---- */

#define FREE       0
#define OWNED      1        /* by the application */
#define PLACED     2        /* by PSMallocTo, in its place */
#define ADRIFT     3        /* see strike */
#define LOST       4        /* of a worker that was killed as it freed it */
#define FLIGHT(w)  (5 + (w))
#define GIVING(w)  (8 + (w)) /* says that it is free, and its bit is not set yet */
#define KEPT(w)    (11 + (w)) /* by this worker, or the one that was killed */
#define TRANSIT(w) (14 + (w)) /* out of the slot, and not in its place yet */

byte ghost[LAST + 1];
byte stack[WORKERS]; /* the magazine: a bit per block */
byte taking[WORKERS]; /* 1 + the block that says that it is used, and has its bit still */
byte watched; /* 1 + the cache whose slot has not changed since the reaper looked */
bool dead[WORKERS];
bool idle[WORKERS];  /* outside of any call */
byte deaths;
#ifdef PUBLISH
bool from[WORKERS];  /* in PSMfreeFrom: nobody writes to the place */
#endif

/* ---- Under the span lock ---- */

inline unmark_group(x) {
  if
  :: atomic { owner[x] == MARK -> owner[x] = 0 }
  :: else
  fi
}

/* psm_slab_unmark */
inline unmark() {
  unmark_group(0);
#if GROUPS > 1
  unmark_group(1)
#endif
}

/* marks_remove */
inline recover() {
#ifndef MARKS_STAY
  if
  :: marked && table -> unmark()
  :: else
  fi;
#endif
  marked = false
}

inline span_lock(tag) {
  if
  :: atomic { lock == 0 -> lock = tag }
  :: atomic { lock == GONE -> lock = tag }
     recover()
  fi
}

inline span_unlock() {
  lock = 0
}

#ifdef CUT
/* psm_slab_retire of a slab with one group */
inline retire() {
  if
  :: table ->
     marked = true;
     if
     :: atomic { owner[0] == 0 -> owner[0] = MARK }
        if
        :: atomic { free_[0] == FULL -> table = false }
        :: else -> unmark()
        fi
     :: else
     fi;
     marked = false
  :: else
  fi
}

/* refill_new, with psm_slab_cut and psm_slab_open */
inline cut() {
  if
  :: !table ->
     owner[0] = MARK;
     free_[0] = FULL;
     state[0] = BLOCK_FREE; /* states_begin */
     state[LAST] = BLOCK_FREE;
     marked = true;
     table = true;
     slot_point();
     owner[0] = w + 1;
     slot_fill();
     unmark();
     marked = false
  :: else
  fi
}
#endif

/* ---- Giving back what a cache holds: psm_cache_reclaim ---- */

inline publication_over() {
  atomic {
    if
    :: ghost[to_block - 1] == ADRIFT ->
       ghost[to_block - 1] = (state[to_block - 1] == BLOCK_USED -> OWNED : LOST)
    :: else
    fi;
    to_block = 0
  }
}

/* publication_settle */
inline settle(k) {
  if
  :: k == 0 && to_block != 0 ->
     if
     :: place == to_block || place != to_old
     :: else ->
        assert(group[0] == GROUP_OF(to_block - 1) + 1);
        state[to_block - 1] = BLOCK_FREE;
        atomic {
          bits[0] = bits[0] | BIT_OF(to_block - 1);
          if
          :: ghost[to_block - 1] == ADRIFT -> ghost[to_block - 1] = FREE
          :: else
          fi
        }
     fi;
     publication_over()
  :: else
  fi
}

inline state_settle(x) {
  if
  :: atomic {
       (v & BIT_OF(x)) && GROUP_OF(x) == g && state[x] == BLOCK_USED ->
       state[x] = BLOCK_FREE
     }
  :: else
  fi
}

inline reclaim(k) {
#ifdef PUBLISH
  settle(k);
#endif
  if
  :: atomic { group[k] != 0 && table -> g = group[k] - 1 }
     if
     :: owner[g] == k + 1 ->
        v = bits[k];
#ifndef NO_SETTLE
        state_settle(g * BLOCKS);
#if BLOCKS > 1
        state_settle(g * BLOCKS + 1);
#endif
#endif
        if
        :: v != 0 -> free_[g] = free_[g] | v
        :: else
        fi;
        atomic { bits[k] = 0; v = 0; taking[k] = 0 };
        owner[g] = 0
     :: else
     fi;
     g = 0
  :: else
  fi
}

/* ---- Giving back what the dead kept: psm_kept_reclaim ---- */

#define IS_KEPT(x)   (ghost[x] >= KEPT(0) && ghost[x] < KEPT(WORKERS))
#define IS_MARKED(x) (marks & (1 << state[x]))

inline look_at(x) {
  if
  :: atomic { IS_MARKED(x) -> kept = kept | BIT_OF(x) }
  :: else
  fi
}

/* group_marked */
inline look_at_states() {
  look_at(g * BLOCKS);
#if BLOCKS > 1
  look_at(g * BLOCKS + 1)
#endif
}

inline found(x) {
  if
  :: (kept & BIT_OF(x)) && IS_KEPT(x) && !(stack[ghost[x] - KEPT(0)] & 1 << (x)) ->
     ghost[x] = FREE
  :: else
  fi
}

inline give_found() {
  atomic {
    kept = kept & (FULL - all);
    free_[g] = free_[g] | kept;
    found(g * BLOCKS);
#if BLOCKS > 1
    found(g * BLOCKS + 1);
#endif
    kept = 0; all = 0
  }
}

#define OWNED_AND_NAMED (owner[g] == 0 || (owner[g] != MARK && group[owner[g] - 1] == g + 1))

/* group_kept_reclaim, with group_moment */
inline group_kept_reclaim() {
  do
#ifdef NO_TAKE
  :: owner[g] == 0 ->
#else
  :: atomic { owner[g] == 0 -> owner[g] = MARK }
#endif
#ifdef STATES_FIRST
     look_at_states();
#endif
     all = free_[g];
#ifndef STATES_FIRST
     look_at_states();
#endif
     give_found();
#ifndef NO_TAKE
     owner[g] = 0;
#endif
     break
  :: atomic { owner[g] != 0 && owner[g] != MARK -> o = owner[g] - 1 }
#ifdef STATES_FIRST
     look_at_states();
#endif
     atomic { watched = (group[o] == g + 1 -> o + 1 : 0) };
#ifndef NO_FREE_BEFORE
     all = free_[g];
#endif
#ifndef NO_BITS
     all = all | bits[o];
#endif
     all = all | free_[g];
     if
#ifdef NO_OWNER_AGAIN
     :: true ->
#else
     :: owner[g] == o + 1 ->
#endif
        if
        :: atomic { watched == o + 1 -> o = 0; watched = 0 }
#ifndef STATES_FIRST
           look_at_states();
#endif
           give_found();
           break
        :: atomic { else -> o = 0; watched = 0; all = 0; kept = 0 }
        fi
#ifndef NO_OWNER_AGAIN
     :: atomic { else -> o = 0; watched = 0; all = 0; kept = 0 }
#endif
     fi;
     OWNED_AND_NAMED /* before, the next look is no use; never is a deadlock */
  od
}

#define ANY_MARKED (IS_MARKED(g * BLOCKS) || IS_MARKED(g * BLOCKS + BLOCKS - 1))

/* psm_kept_reclaim; the states of a group lie in one word. */
inline kept_reclaim() {
  if
  :: marks != 0 && table ->
     do
     :: atomic { ANY_MARKED -> marked = true }
        group_kept_reclaim();
        marked = false;
        if
        :: atomic { g + 1 < GROUPS -> g++ }
        :: else -> break
        fi
     :: atomic { !ANY_MARKED && g + 1 < GROUPS -> g++ }
     :: atomic { !ANY_MARKED && g + 1 == GROUPS } -> break
     od;
     g = 0;
#ifdef CUT
     retire()
#endif
  :: else
  fi
}

/* ---- What a worker does; g is a group, b a block ---- */

#define BITS_NOT_0 (bits[w] != 0)
#define NAMED      (group[w] - 1)
#define OWNS       (group[w] != 0 && table && owner[NAMED] == w + 1)

#if GROUPS == 1
#define PICK_GROUP g = 0
#else
#define PICK_GROUP if :: g = 0 :: g = 1 fi
#endif
#define IS_OWNED(x) (ghost[x] == OWNED)
#define ANY_OWNED   (IS_OWNED(0) || IS_OWNED(LAST))
#define PICK_OWNED  if :: IS_OWNED(0) -> b = 0 :: IS_OWNED(LAST) -> b = LAST fi
#define ON_STACK(x) (stack[w] & 1 << (x))
#define PICK_KEPT   if :: ON_STACK(0) -> b = 0 :: ON_STACK(LAST) -> b = LAST fi

inline slot_fill() {
  v = free_[g];
  bits[w] = v;
  atomic { free_[g] = free_[g] & (FULL - v); v = 0 }
}

/* With NO_CHANGES the slot does not count how often it was pointed. */
inline slot_point() {
  atomic {
    if
#ifdef NO_CHANGES
    :: watched == w + 1 && group[w] != g + 1 -> watched = WORKERS + 1 + w
    :: watched == WORKERS + 1 + w && group[w] != g + 1 -> watched = w + 1
#else
    :: watched == w + 1 -> watched = 0
#endif
    :: else
    fi;
    group[w] = g + 1
  }
}

inline claim() {
  if
  :: table ->
     slot_point();
     if
     :: atomic { owner[g] == 0 -> owner[g] = w + 1 }
        if
        :: table ->
           if
           :: free_[g] != 0 -> slot_fill()
           :: else -> owner[g] = 0
           fi
#ifdef CUT
        :: else
#endif
        fi
     :: else
     fi
  :: else
  fi
}

/* The first bit of the slot, as the block that it is. */
inline first_block() {
  b = NAMED * BLOCKS;
  do
  :: bits[w] & BIT_OF(b) -> break
  :: else -> b++
  od
}

inline bit_clear(where_to) {
  bits[w] = bits[w] & (FULL - BIT_OF(b));
  assert(ghost[b] == FREE && table);
  ghost[b] = where_to;
  taking[w] = 0
}

/* The end of slot_take, and of psm_cache_publish */
inline use(where_to) {
#ifdef CLEAR_FIRST
  atomic { bit_clear(where_to) };
  state[b] = BLOCK_USED
#else
  atomic { state[b] = BLOCK_USED; taking[w] = b + 1 };
  atomic { bit_clear(where_to) }
#endif
}

inline keep() {
  atomic { state[b] = MARK_OF(w); stack[w] = stack[w] | 1 << b; ghost[b] = KEPT(w) }
}

/* PSMfree of a block that is the application's; whether there is a way to
 * keep it only its worker knows. */
inline free_kept() {
#ifndef KEEPS_AFTER
  keeps[w] = true;
#endif
  keep();
#ifdef KEEPS_AFTER
  keeps[w] = true
#endif
}

inline free_unkept() {
  atomic { state[b] = BLOCK_FREE; ghost[b] = GIVING(w) };
  atomic { free_[GROUP_OF(b)] = free_[GROUP_OF(b)] | BIT_OF(b); ghost[b] = FREE }
}

/* kept_give */
inline give() {
  atomic {
    stack[w] = stack[w] - (1 << b);
    free_[GROUP_OF(b)] = free_[GROUP_OF(b)] | BIT_OF(b);
    ghost[b] = FREE
  }
#ifdef MARK_CLEARED
  ; state[b] = BLOCK_FREE
#endif
}

/* PSMfreeFrom of a block that is still being published: no reaper may look at
 * the place between its two steps. */
#define IN_PLACE (place != 0 && place != OTHER)
inline reapers_out() {
  if
  :: owner[GROUP_OF(b)] == 1 ->
     if
     :: to_block == b + 1 -> span_lock(w + 1)
     :: else
     fi
  :: else
  fi
}

/* ---- Death: a process may meet Killer instead of doing its next step ---- */

#define NOBODY (WORKERS + 1)
chan die[WORKERS + 2] = [0] of { bit };

/* As in group.pml, but that one whose state says that it is free is lost, if
 * its bit was not set. */
inline strike(x) {
  if
#ifdef PUBLISH
  :: (ghost[x] == FLIGHT(w) || ghost[x] == GIVING(w)) && to_block == x + 1 -> ghost[x] = ADRIFT
  :: ghost[x] == FLIGHT(w) && to_block != x + 1 -> ghost[x] = OWNED
  :: ghost[x] == GIVING(w) && to_block != x + 1 -> ghost[x] = LOST
#else
  :: ghost[x] == FLIGHT(w) -> ghost[x] = OWNED
  :: ghost[x] == GIVING(w) -> ghost[x] = LOST
#endif
  :: ghost[x] == TRANSIT(w) -> ghost[x] = FREE
  :: else
  fi
}

inline lock_orphaned(tag) {
  if
  :: lock == tag -> lock = GONE
  :: else
  fi
}

proctype Killer() {
end:
  do
  :: die[(deaths < DEATHS -> 0 : NOBODY)]!0
#ifndef ONE_MORTAL
  :: die[(deaths < DEATHS -> 1 : NOBODY)]!0
#if WORKERS > 2
  :: die[(deaths < DEATHS -> 2 : NOBODY)]!0
#endif
#endif
  :: die[(deaths < DEATHS -> WORKERS : NOBODY)]!0
  od
}

/* ---- The processes ---- */

proctype Worker(byte w) {
  byte b, g, v;
born:
  {
    do
    :: atomic { idle[w] = true; b = 0; g = 0 };
end_idle:
       if
       /* magazine_take */
       :: atomic {
            stack[w] != 0 ->
            idle[w] = false;
            PICK_KEPT;
            state[b] = BLOCK_USED;
            stack[w] = stack[w] - (1 << b);
            assert(ghost[b] == KEPT(w));
            ghost[b] = FLIGHT(w)
          }
          ghost[b] = OWNED
       /* slot_take */
       :: atomic { BITS_NOT_0 -> idle[w] = false; first_block() }
          use(FLIGHT(w));
          ghost[b] = OWNED
       /* psm_cache_refill */
       :: atomic { !BITS_NOT_0 && OWNS -> idle[w] = false; g = NAMED }
          if
          :: free_[g] != 0 -> slot_fill()
          :: owner[g] = 0
          fi
       :: atomic { !BITS_NOT_0 && !OWNS -> idle[w] = false; PICK_GROUP }
          claim()
       /* PSMfree */
       :: atomic { ANY_OWNED -> idle[w] = false; PICK_OWNED; ghost[b] = FLIGHT(w) }
          assert(state[b] == BLOCK_USED);
          if
          :: free_kept()
          :: free_unkept()
          fi
       /* magazine_give */
       :: atomic { stack[w] != 0 -> idle[w] = false; PICK_KEPT }
#ifdef KEEPS_CLEARED_FIRST
          keeps[w] = false;
#endif
          give()
       /* the end of psm_magazines_empty */
       :: atomic { stack[w] == 0 && keeps[w] -> keeps[w] = false }
#ifdef CUT
       :: atomic { !BITS_NOT_0 && !OWNS -> idle[w] = false }
          span_lock(w + 1);
          cut();
          span_unlock()
       :: atomic { idle[w] = false }
          span_lock(w + 1);
          retire();
          span_unlock()
#endif
#ifdef PUBLISH
       /* psm_cache_publish; there is one writer to the place at a time. */
       :: atomic {
            w == 0 && BITS_NOT_0 && !IN_PLACE && !from[0] && !from[1] ->
            idle[w] = false;
            first_block();
            to_old = place
          }
          to_block = b + 1;
          use(TRANSIT(w));
          atomic { place = b + 1; ghost[b] = PLACED };
          publication_over()
       /* The application takes the block out and leaves something else there,
        * but not what was there before. */
       :: atomic { IN_PLACE -> ghost[place - 1] = OWNED; place = (to_old == OTHER -> 0 : OTHER) }
       /* PSMfreeFrom */
       :: atomic { IN_PLACE -> idle[w] = false; from[w] = true; b = place - 1 }
          reapers_out();
          if
          :: atomic { place == b + 1 -> place = 0; from[w] = false; ghost[b] = FLIGHT(w) }
             if
#ifdef KEPT_AT_ONCE
             :: free_kept()
#else
             :: lock != w + 1 -> free_kept()
#endif
             :: free_unkept()
             fi
          :: atomic { else -> from[w] = false }
          fi;
          if
          :: lock == w + 1 -> span_unlock()
          :: else
          fi
#endif
       :: goto end_stopped
       fi
    od;
end_stopped:
    false
  } unless {
    atomic {
      die[w]?0 ->
      deaths++;
      dead[w] = true;
      idle[w] = false;
      stack[w] = 0;
#ifdef PUBLISH
      from[w] = false;
#endif
      lock_orphaned(w + 1);
      strike(0);
      strike(LAST);
      b = 0; g = 0; v = 0
    }
  }
  /* Another thread may be given the cache, once it has been reaped. */
  if
  :: atomic { !taken[w] && lock == 0 -> taken[w] = true; dead[w] = false; goto born }
  :: !taken[w]
  fi
}

/* psm_reap_dead: all the dead at once */
#define UNREAPED(k) (dead[k] && taken[k])
#if WORKERS > 2
#define ANY_WORKER(is) (is(0) || is(1) || is(2))
#define ALL_WORKERS(are) (are(0) && are(1) && are(2))
#else
#define ANY_WORKER(is) (is(0) || is(1))
#define ALL_WORKERS(are) (are(0) && are(1))
#endif

/* caches_reclaim, psm_keepers_add */
inline bury_all() {
  do
  :: k < WORKERS && UNREAPED(k) ->
     reclaim(k);
     atomic {
       buried = buried | 1 << k;
       marks = marks | (keeps[k] -> 1 << MARK_OF(k) : 0);
       k++
     }
  :: atomic { k < WORKERS && !UNREAPED(k) -> k++ }
  :: atomic { k == WORKERS -> k = 0 } -> break
  od
}

/* caches_release */
inline release_all() {
  do
  :: atomic { k < WORKERS && (buried & 1 << k) -> keeps[k] = false }
     atomic { taken[k] = false; k++ }
  :: atomic { k < WORKERS && !(buried & 1 << k) -> k++ }
  :: atomic { k == WORKERS -> k = 0 } -> break
  od
}

proctype Reaper() {
  byte k, g, v, o, all, kept, marks, buried;
born:
  {
    g = 0;
end:
    do
    :: ANY_WORKER(UNREAPED) ->
       span_lock(REAPER);
       bury_all();
#ifdef RELEASE_FIRST
       release_all();
#endif
       kept_reclaim();
#ifndef RELEASE_FIRST
       release_all();
#endif
       atomic { span_unlock(); marks = 0; buried = 0 }
    od
  } unless {
    atomic {
      die[WORKERS]?0 ->
      deaths++;
      lock_orphaned(REAPER);
      watched = 0;
      k = 0; g = 0; v = 0; o = 0; all = 0; kept = 0; marks = 0; buried = 0;
      goto born
    }
  }
}

/* ---- What must hold ---- */

#if WORKERS > 2
#define ANY_OF(is, x) (is(x, 0) || is(x, 1) || is(x, 2))
#else
#define ANY_OF(is, x) (is(x, 0) || is(x, 1))
#endif

#define IN_FREE(x)     (free_[GROUP_OF(x)] & BIT_OF(x))
#define IN_SLOT(x, k)  (owner[GROUP_OF(x)] == k + 1 && group[k] == GROUP_OF(x) + 1 && \
                        (bits[k] & BIT_OF(x)))
#define TAKEN_BY(x, k) (IN_SLOT(x, k) && taking[k] == x + 1)
#ifdef PUBLISH
#define INTENDED(x)    (dead[0] && to_block == x + 1 && place != x + 1)
#else
#define INTENDED(x)    false
#endif

/* A free block is where a reaper finds it; one that is freed again is refused,
 * unless who takes it is, or has died, between its two stores. */
#define FREE_SOUND(x) \
  (!table || ((IN_FREE(x) || ANY_OF(IN_SLOT, x) || INTENDED(x)) && \
              (state[x] != BLOCK_USED || ANY_OF(TAKEN_BY, x) || INTENDED(x))))

/* Of any other the bit is nowhere, and the state says whose it is: one that
 * is used may be freed, and one that is kept is refused. */
#define IN_USE(x, k)   (ghost[x] == FLIGHT(k))
#define IS_USED(x)     (ghost[x] == OWNED || ghost[x] == PLACED || ANY_OF(IN_USE, x))
#define BY_ITS_KEEPER(x, k) (ghost[x] == KEPT(k) && state[x] == MARK_OF(k))
#define USED_SOUND(x) \
  (table && !IN_FREE(x) && !ANY_OF(IN_SLOT, x) && \
   (!IS_USED(x) || state[x] == BLOCK_USED) && (!IS_KEPT(x) || ANY_OF(BY_ITS_KEEPER, x)))

#define SOUND(x)  (ghost[x] == FREE -> FREE_SOUND(x) : USED_SOUND(x))
#define ALL_SOUND (SOUND(0) && SOUND(LAST))

/* Nothing is lost: when the reaper is done, no block is kept but by the living. */
#define FORGOTTEN(x, k) (ghost[x] == KEPT(k) && !(stack[k] & 1 << x) && !UNREAPED(k))
#define ANY_FORGOTTEN (ANY_OF(FORGOTTEN, 0) || ANY_OF(FORGOTTEN, LAST))

/* When nobody is in a call and the dead are reaped, owners live and know it. */
#define RESTS(k)     (dead[k] -> !taken[k] : idle[k])
#define KNOWN(x, k)  (owner[x] == k + 1 && !dead[k] && group[k] == x + 1)
#define IN_ORDER(x)  (!table || owner[x] == 0 || ANY_OF(KNOWN, x))
#define QUIET        (lock == 0 && ALL_WORKERS(RESTS))
#define ALL_IN_ORDER (IN_ORDER(0) && IN_ORDER((GROUPS - 1)) && !marked)

/* Moves only if something is wrong, so that it never hides a deadlock. */
proctype Checker() {
end:
  if
  :: atomic { !ALL_SOUND -> assert(false) }
  :: atomic { lock == 0 && ANY_FORGOTTEN -> assert(false) }
  :: atomic { QUIET && !ALL_IN_ORDER -> assert(false) }
  fi
}

init {
  atomic {
    taken[0] = true;
    taken[1] = true;
#if WORKERS > 2
    taken[2] = true;
    run Worker(2);
#endif
#ifndef CUT
    state[0] = BLOCK_FREE;
    state[LAST] = BLOCK_FREE;
    free_[0] = FULL;
    free_[GROUPS - 1] = FULL;
#endif
    run Worker(0);
    run Worker(1);
    run Reaper();
    run Killer();
    run Checker()
  }
}
