/* The group protocol of core/slab.c, core/cache.c and core/reap.c.
 *
 * Two workers take, free, publish, refill, cut and retire for ever; a reaper
 * reaps. Each of them may be killed before every step, and then a new one
 * takes its place. A step is one access to shared memory, and no more: an
 * atomic block adds to it what is private to a process, the ghosts, and reads
 * of words that nobody else may change. Memory is sequentially consistent.
 */
#ifndef UNITS
#define UNITS 1
#endif
#ifndef GROUPS /* of a slab: 1 or 2 */
#define GROUPS 1
#endif
#ifndef BLOCKS /* of a group */
#define BLOCKS 2
#endif
#ifndef CLASSES /* 1 or 2 */
#define CLASSES 1
#endif
#ifndef DEATHS /* at most */
#define DEATHS 2
#endif
#ifndef REAPERS /* at once: 1 or 2 */
#define REAPERS 1
#endif
#define WORKERS 2
#define N       (UNITS * GROUPS)
#define LAST    (N * BLOCKS - 1)

#define FULL        ((1 << BLOCKS) - 1)
#define GROUP_OF(b) ((b) / BLOCKS)
#define BIT_OF(b)   (1 << ((b) % BLOCKS))
#define UNIT(g)     ((g) / GROUPS)
#define SLOT(k, c)  ((k) * CLASSES + (c))

/* ---- Shared memory; a worker and its cache have the same number ---- */

#define SLAB(c) (1 + (c))
#define MARK    7  /* OWNER_MARK */
#define GONE    7  /* in the lock: the tag of a member that is dead */
#define OTHER   15 /* in the place: a pointer of the application */

byte table[UNITS];             /* 0 for a free run, or SLAB(class) */
byte free_[N];                 /* group_shm */
byte owner[N];                 /* 0, 1 + cache, MARK */
byte bits[WORKERS * CLASSES];  /* slot_shm */
byte group[WORKERS * CLASSES]; /* 0, 1 + group */
bool taken[WORKERS];           /* owners[cache] is not 0 */
byte lock;                     /* spans_shm: 0, a tag, GONE */
byte marked;                   /* 0, 1 + unit */
#ifdef PUBLISH
byte to_block;                 /* cache_shm of worker 0: 0, 1 + block */
byte to_old;
byte place;                    /* where it publishes: 0, OTHER, 1 + block */
#endif
#ifdef LOOK
byte changes[WORKERS];         /* the upper bits of slot_shm.group */
#endif

/* ---- Ghosts: who lives, and where each block really is ---- */

#define FREE       0
#define OWNED      1           /* by the application */
#define PLACED     2           /* by PSMallocTo, in its place */
#define ADRIFT     3           /* see strike */
#define FLIGHT(w)  (4 + (w))
#define TRANSIT(w) (6 + (w))   /* out of the slot, and not in its place yet */

byte ghost[N * BLOCKS];
bool dead[WORKERS];
bool idle[WORKERS];            /* outside of any call */
byte deaths;
#ifdef PUBLISH
bool from[WORKERS];            /* in PSMfreeFrom: nobody writes to the place */
#endif

/* ---- Under the span lock, whose inside is in span.pml ---- */

inline unmark_group(x) {
  if
  :: atomic { owner[x] == MARK -> owner[x] = 0 }
  :: else
  fi
}

/* psm_slab_unmark */
inline unmark(u) {
  unmark_group((u) * GROUPS);
#if GROUPS > 1
  unmark_group((u) * GROUPS + 1)
#endif
}

/* marks_remove */
inline recover() {
#ifndef MARKS_STAY
  if
  :: marked != 0 && table[marked - 1] != 0 -> unmark(marked - 1)
  :: else
  fi;
#endif
  marked = 0
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

inline mark_group(x) {
  if
  :: atomic { owner[x] == 0 -> owner[x] = MARK }
#ifdef NO_LOOK_AFTER_MARK
     all = true
#else
     all = (free_[x] == FULL)
#endif
  :: atomic { else -> all = false }
  fi
}

/* psm_slab_retire; what psm_slab_idle looks at decides nothing. */
inline retire(u) {
  if
  :: table[u] != 0 ->
     marked = u + 1;
     mark_group((u) * GROUPS);
#if GROUPS > 1
     if
     :: all -> mark_group((u) * GROUPS + 1)
     :: else
     fi;
#endif
     if
     :: atomic { all -> all = false; table[u] = 0 }
     :: else -> unmark(u)
     fi;
     marked = 0
  :: else
  fi
}

/* ---- Giving back what a cache holds: psm_cache_reclaim ---- */

inline publication_over() {
  atomic {
    if
    :: ghost[to_block - 1] == ADRIFT -> ghost[to_block - 1] = OWNED
    :: else
    fi;
    to_block = 0
  }
}

/* publication_settle */
#define TO_SLOT SLOT(0, table[UNIT(GROUP_OF(to_block - 1))] - 1)
inline settle(k) {
  if
  :: k == 0 && to_block != 0 ->
     if
#ifdef NO_SETTLE
     :: true
#else
     :: place == to_block || place != to_old
     :: else ->
        assert(group[TO_SLOT] == GROUP_OF(to_block - 1) + 1);
        atomic {
          bits[TO_SLOT] = bits[TO_SLOT] | BIT_OF(to_block - 1);
          if
          :: ghost[to_block - 1] == ADRIFT -> ghost[to_block - 1] = FREE
          :: else
          fi
        }
#endif
     fi;
     publication_over()
  :: else
  fi
}

/* A slot may name a group that has become another class's. The group is given
 * back all the same, unless that class's slot names it and does so itself. */
#ifdef BY_CLASS_OF_SLOT
#define GIVES_BACK(k, c, g) (table[UNIT(g)] == SLAB(c))
#else
#define GIVES_BACK(k, c, g) \
  (table[UNIT(g)] == SLAB(c) || \
   (table[UNIT(g)] != 0 && group[SLOT(k, table[UNIT(g)] - 1)] != g + 1))
#endif

inline reclaim_slot(k, c) {
  if
  :: atomic { group[SLOT(k, c)] != 0 -> g = group[SLOT(k, c)] - 1 }
     if
     :: GIVES_BACK(k, c, g) ->
        if
        :: owner[g] == k + 1 ->
#ifdef RELEASE_FIRST
           owner[g] = 0;
#endif
           v = bits[SLOT(k, c)];
           free_[g] = free_[g] | v;
           atomic { bits[SLOT(k, c)] = 0; v = 0 };
#ifndef RELEASE_FIRST
           owner[g] = 0;
#endif
           if
           :: free_[g] == FULL -> retire(UNIT(g))
           :: else
           fi
        :: else
        fi
     :: else
     fi;
     g = 0
  :: else
  fi
}

inline reclaim(k) {
#ifdef PUBLISH
  settle(k);
#endif
  reclaim_slot(k, 0);
#if CLASSES > 1
  reclaim_slot(k, 1)
#endif
}

/* ---- What a worker does; c is a class, g a group, b a block ---- */

/* psm_cache_refill: a slot that is empty keeps its group, or looks for one. */
#define HAS(c)   (bits[SLOT(w, c)] != 0)
#define NAMED(c) (group[SLOT(w, c)] - 1)
#define OWNS(c)  (group[SLOT(w, c)] != 0 && table[UNIT(NAMED(c))] == SLAB(c) && \
                  owner[NAMED(c)] == w + 1)
#define KEEPS(c) (!HAS(c) && OWNS(c))
#define SEEKS(c) (!HAS(c) && !OWNS(c))

#if CLASSES == 1
#define ANY(is)        is(0)
#define PICK_CLASS(is) c = 0
#else
#define ANY(is)        (is(0) || is(1))
#define PICK_CLASS(is) if :: is(0) -> c = 0 :: is(1) -> c = 1 fi
#endif
#if N == 1
#define PICK_GROUP g = 0
#else
#define PICK_GROUP if :: g = 0 :: g = 1 fi
#endif
#if UNITS == 1
#define PICK_UNIT g = 0
#else
#define PICK_UNIT if :: g = 0 :: g = GROUPS fi
#endif
#define IS_OWNED(x) (ghost[x] == OWNED)
#define ANY_OWNED   (IS_OWNED(0) || IS_OWNED(1) || IS_OWNED(LAST - 1) || IS_OWNED(LAST))
#define PICK_OWNED  if :: IS_OWNED(0) -> b = 0 :: IS_OWNED(1) -> b = 1 \
                    :: IS_OWNED(LAST - 1) -> b = LAST - 1 :: IS_OWNED(LAST) -> b = LAST fi

#ifdef LOOK
#ifdef NO_CHANGES
#define COUNTED 0
#else
#define COUNTED 1
#endif
#define MAY_CHANGE (changes[w] < 3) /* the counter must not come round */
#else
#define MAY_CHANGE true
#endif

inline slot_fill() {
  v = free_[g];
#ifdef CLEAR_FIRST
  free_[g] = free_[g] & (FULL - v);
  atomic { bits[SLOT(w, c)] = v; v = 0 }
#else
  bits[SLOT(w, c)] = v;
  atomic { free_[g] = free_[g] & (FULL - v); v = 0 }
#endif
}

inline slot_point() {
#ifdef LOOK
  atomic { group[SLOT(w, c)] = g + 1; changes[w] = changes[w] + COUNTED }
#else
  group[SLOT(w, c)] = g + 1
#endif
}

inline claim() {
  if
  :: table[UNIT(g)] == SLAB(c) ->
#ifndef NAME_AFTER
     slot_point();
#endif
     if
     :: atomic { owner[g] == 0 -> owner[g] = w + 1 }
#ifdef NAME_AFTER
        slot_point();
#endif
        if
#ifdef NO_SECOND_LOOK
        :: true ->
#else
        :: table[UNIT(g)] == SLAB(c) ->
#endif
           if
           :: free_[g] != 0 -> slot_fill()
           :: else -> owner[g] = 0
           fi
#if CLASSES > 1 && !defined(NO_SECOND_LOOK)
        :: atomic { else -> assert(table[UNIT(g)] != 0) }
           owner[g] = 0
#endif
        fi
     :: else
     fi
  :: else
  fi
}

inline prepare(x) {
#ifndef NO_MARK_AT_CUT
  owner[x] = MARK;
#endif
  free_[x] = FULL
}

/* refill_new with psm_slab_cut and psm_slab_open; g is the unit's first group. */
inline cut() {
  if
  :: table[UNIT(g)] == 0 ->
     prepare(g);
#if GROUPS > 1
     prepare(g + 1);
#endif
     marked = UNIT(g) + 1;
     table[UNIT(g)] = SLAB(c);
     slot_point();
     owner[g] = w + 1;
     slot_fill();
     unmark(UNIT(g));
     marked = 0
  :: else
  fi
}

/* psm_block_cached: a block that is in use is in no slot. */
inline look_for_bit() {
  v = owner[g];
  if
  :: atomic { v == 1 || v == 2 -> v-- }
     if
     :: atomic { group[v] == g + 1 -> seen = changes[v] }
        if
        :: bits[v] & BIT_OF(b) -> assert(group[v] != g + 1 || changes[v] != seen)
        :: else
        fi
     :: else
     fi
  :: else
  fi;
  atomic { v = 0; seen = 0 }
}

/* PSMfree of block b in group g */
inline free_block() {
  c = table[UNIT(g)] - 1;
  if
  :: owner[g] == w + 1 ->
     atomic { bits[SLOT(w, c)] = bits[SLOT(w, c)] | BIT_OF(b); ghost[b] = FREE }
  :: else ->
#ifdef LOOK
     look_for_bit();
#endif
     atomic { free_[g] = free_[g] | BIT_OF(b); ghost[b] = FREE }
  fi
}

/* The first bit of a slot, as the block that it is. */
inline first_block() {
  b = NAMED(c) * BLOCKS;
  do
  :: bits[SLOT(w, c)] & BIT_OF(b) -> break
  :: else -> b++
  od
}

inline slot_take(where_to) {
  bits[SLOT(w, c)] = bits[SLOT(w, c)] & (FULL - BIT_OF(b));
  assert(ghost[b] == FREE && table[UNIT(GROUP_OF(b))] == SLAB(c));
  ghost[b] = where_to
}

/* PSMfreeFrom of a block that is still being published: no reaper may look at
 * the place between its two steps. */
#define IN_PLACE (place != 0 && place != OTHER)
inline reapers_out() {
#ifdef TAKE_AT_ONCE
  skip
#else
  if
  :: w != 0 && owner[g] == 1 ->
     if
     :: to_block == b + 1 -> span_lock(w + 1)
     :: else
     fi
  :: else
  fi
#endif
}

inline reapers_in() {
  if
  :: lock == w + 1 -> span_unlock()
  :: else
  fi
}

/* ---- Death: a process may meet Killer instead of doing its next step ---- */

#define NOBODY (WORKERS + REAPERS)
chan die[WORKERS + REAPERS + 1] = [0] of { bit };

/* The one block in flight is lost to its user; here another will free it. One
 * that PSMfreeFrom took may be judged unpublished yet, and be free after all.
 * Of one that is being published nothing is lost. */
inline strike(x) {
  if
#ifdef PUBLISH
  :: ghost[x] == FLIGHT(w) && to_block == x + 1 -> ghost[x] = ADRIFT
  :: ghost[x] == FLIGHT(w) && to_block != x + 1 -> ghost[x] = OWNED
#else
  :: ghost[x] == FLIGHT(w) -> ghost[x] = OWNED
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
  :: die[(deaths < DEATHS -> 1 : NOBODY)]!0
  :: die[(deaths < DEATHS -> WORKERS : NOBODY)]!0
#if REAPERS > 1
  :: die[(deaths < DEATHS -> WORKERS + 1 : NOBODY)]!0
#endif
  od
}

/* ---- The processes ---- */

proctype Worker(byte w) {
  byte b, c, g, v;
  bool all;
#ifdef LOOK
  byte seen;
#endif
born:
  {
    do
    :: atomic { idle[w] = true; b = 0; c = 0; g = 0 };
end_idle:
       if
       :: atomic {
            ANY(HAS) ->
            idle[w] = false;
            PICK_CLASS(HAS);
            first_block();
            slot_take(FLIGHT(w))
          }
          ghost[b] = OWNED
       :: atomic { ANY(KEEPS) -> idle[w] = false; PICK_CLASS(KEEPS); g = NAMED(c) }
          if
          :: free_[g] != 0 -> slot_fill()
          :: owner[g] = 0
          fi
       :: atomic { ANY(SEEKS) && MAY_CHANGE -> idle[w] = false; PICK_CLASS(SEEKS); PICK_GROUP }
          claim()
       :: atomic { ANY(SEEKS) && MAY_CHANGE -> idle[w] = false; PICK_CLASS(SEEKS); PICK_UNIT }
          span_lock(w + 1);
          cut();
          span_unlock()
       :: atomic { idle[w] = false; PICK_UNIT }
          span_lock(w + 1);
          retire(UNIT(g));
          span_unlock()
       :: atomic { ANY_OWNED -> idle[w] = false; PICK_OWNED; g = GROUP_OF(b); ghost[b] = FLIGHT(w) }
          free_block()
#ifdef PUBLISH
       /* psm_cache_publish; there is one writer to the place at a time. */
       :: atomic {
            w == 0 && ANY(HAS) && !IN_PLACE && !from[0] && !from[1] ->
            idle[w] = false;
            PICK_CLASS(HAS);
            first_block();
            to_old = place
          }
          to_block = b + 1;
          atomic { slot_take(TRANSIT(w)) };
          atomic { place = b + 1; ghost[b] = PLACED };
          publication_over()
       /* The application takes the block out and leaves something else there,
        * but not what was there before. */
       :: atomic { IN_PLACE -> ghost[place - 1] = OWNED; place = (to_old == OTHER -> 0 : OTHER) }
#ifdef PLACE_OVERWRITTEN
       :: atomic { place == 0 -> place = OTHER }
#endif
       /* PSMfreeFrom */
       :: atomic { IN_PLACE -> idle[w] = false; from[w] = true; b = place - 1; g = GROUP_OF(b) }
          reapers_out();
          if
          :: atomic { place == b + 1 -> place = 0; from[w] = false; ghost[b] = FLIGHT(w) }
             free_block()
          :: atomic { else -> from[w] = false }
          fi;
          reapers_in()
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
#ifdef PUBLISH
      from[w] = false;
#endif
      lock_orphaned(w + 1);
      strike(0);
      strike(1);
      strike(LAST - 1);
      strike(LAST);
      b = 0; c = 0; g = 0; v = 0; all = false;
#ifdef LOOK
      seen = 0
#endif
    }
  }
  /* Another thread may be given the cache, once it has been reaped. */
  if
  :: atomic { !taken[w] && lock == 0 -> taken[w] = true; dead[w] = false; goto born }
  :: !taken[w]
  fi
}

/* psm_reap_dead, for one of the dead */
#define UNREAPED(k) (dead[k] && taken[k])

proctype Reaper(byte r) {
  byte k, g, v;
  bool all;
born:
  {
    k = 0;
end:
    do
    :: atomic { UNREAPED(0) || UNREAPED(1) -> if :: UNREAPED(0) :: UNREAPED(1) -> k = 1 fi }
#ifndef NO_REAPER_LOCK
       span_lock(WORKERS + r + 1);
#endif
       if
       :: UNREAPED(k) -> reclaim(k); taken[k] = false
       :: else
       fi;
#ifdef NO_REAPER_LOCK
       k = 0
#else
       atomic { span_unlock(); k = 0 }
#endif
    od
  } unless {
    atomic {
      die[WORKERS + r]?0 ->
      deaths++;
      lock_orphaned(WORKERS + r + 1);
      k = 0; g = 0; v = 0; all = false;
      goto born
    }
  }
}

/* ---- What must hold ---- */

#define IS_SLAB(x)    (table[UNIT(GROUP_OF(x))] != 0)
#define IN_FREE(x)    (free_[GROUP_OF(x)] & BIT_OF(x))
#define SLOT_OF(x, k) SLOT(k, table[UNIT(GROUP_OF(x))] - 1)
#define IN_SLOT(x, k) (owner[GROUP_OF(x)] == k + 1 && group[SLOT_OF(x, k)] == GROUP_OF(x) + 1 && \
                       (bits[SLOT_OF(x, k)] & BIT_OF(x)))
#ifdef PUBLISH
#define INTENDED(x)   (dead[0] && to_block == x + 1 && place != x + 1)
#else
#define INTENDED(x)   false
#endif

/* At every instant a free block is where a reaper finds it, and no other is. */
#define SOUND(x) (ghost[x] == FREE -> \
    (!IS_SLAB(x) || IN_FREE(x) || IN_SLOT(x, 0) || IN_SLOT(x, 1) || INTENDED(x)) : \
    (IS_SLAB(x) && !IN_FREE(x) && !IN_SLOT(x, 0) && !IN_SLOT(x, 1)))
#define ALL_SOUND (SOUND(0) && SOUND(1) && SOUND((LAST - 1)) && SOUND(LAST))

/* When nobody is in a call and the dead are reaped, owners live and know it. */
#define RESTS(k)     (dead[k] -> !taken[k] : idle[k])
#define KNOWN(x, k)  (owner[x] == k + 1 && !dead[k] && group[SLOT(k, table[UNIT(x)] - 1)] == x + 1)
#define IN_ORDER(x)  (table[UNIT(x)] == 0 || owner[x] == 0 || KNOWN(x, 0) || KNOWN(x, 1))
#define QUIET        (lock == 0 && RESTS(0) && RESTS(1))
#define ALL_IN_ORDER (IN_ORDER(0) && IN_ORDER((N - 1)) && marked == 0)

/* Moves only if something is wrong, so that it never hides a deadlock. */
proctype Checker() {
end:
  if
  :: atomic { !ALL_SOUND -> assert(false) }
  :: atomic { QUIET && !ALL_IN_ORDER -> assert(false) }
  fi
}

init {
  atomic {
    taken[0] = true;
    taken[1] = true;
    run Worker(0);
    run Worker(1);
    run Reaper(0);
#if REAPERS > 1
    run Reaper(1);
#endif
    run Killer();
    run Checker()
  }
}
