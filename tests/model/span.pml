/* The span lock of core/lock.c, and core/span.c and core/large.c under it.
 *
 * Two members allocate, free, resize and publish runs of units for ever. Each
 * may be killed before every step; a new member takes its seat, and whoever
 * takes the lock over from the dead rebuilds. A step is one access to shared
 * memory, as in group.pml; nothing else is atomic.
 */
#ifndef DEATHS /* at most */
#define DEATHS 3
#endif
#ifndef UNITS
#define UNITS 4 /* 3 or 4 */
#endif
#ifndef MEMBERS /* 2 or 3 */
#define MEMBERS 2
#endif

/* ---- Shared memory ---- */

#define TAIL(n)  ((n) << 2)
#define FREE(n)  ((n) << 2 | 1)
#define LARGE(n) ((n) << 2 | 2)
#define KIND(x)  ((x) & 3)
#define VALUE(x) ((x) >> 2)

byte table[UNITS];
byte bin[UNITS + 1];      /* by length: 0, 1 + first unit of a free run */
byte next[UNITS];         /* the links of the run that begins there */
byte prev[UNITS];
byte lock;                /* 0, or a tag with AWAITED */
byte generation[MEMBERS]; /* seat_shm.tenure */
bool held[MEMBERS];       /* the kernel's lock on the byte of the seat */
#ifdef PUBLISH
byte to_block;            /* spans_shm: 0, 1 + unit */
byte to_old;
byte place;               /* 0, OTHER, 1 + unit */
#define OTHER 15
#endif

/* ---- Ghosts: who is inside, and what was handed out ---- */

byte inside;              /* 1 + the living holder of the lock */
byte size[UNITS];         /* of the block that begins there, or 0 */
byte state[UNITS];        /* of that block */
byte deaths;
#ifdef PUBLISH
bool from[MEMBERS];       /* in PSMfreeFrom: nobody writes to the place */
#endif

#define OWNED      1
#define PLACED     2
#define FLIGHT(w)  (4 + (w))
#define TRANSIT(w) (6 + (w))

/* ---- Lists of free runs ---- */

#define RUN(u) (KIND(table[u]) == 1 -> VALUE(table[u]) : 0)

inline run_insert(head, length) {
  if
  :: length > 1 -> table[head + length - 1] = TAIL(length)
  :: else
  fi;
  next[head] = bin[length];
  prev[head] = 0;
  if
  :: next[head] != 0 -> prev[next[head] - 1] = head + 1
  :: else
  fi;
  bin[length] = head + 1
}

/* The links of what is in no list mean nothing: here they are 0. */
inline run_remove(head, length) {
  if
  :: prev[head] != 0 -> next[prev[head] - 1] = next[head]
  :: else -> bin[length] = next[head]
  fi;
  if
  :: next[head] != 0 -> prev[next[head] - 1] = prev[head]
  :: else
  fi;
  atomic { next[head] = 0; prev[head] = 0 }
}

/* lists_rebuild */
inline rebuild() {
  atomic {
    at = 0;
    do
    :: at < UNITS -> bin[at + 1] = 0; next[at] = 0; prev[at] = 0; at++
    :: else -> at = 0; break
    od
  };
  do
  :: at < UNITS ->
     n = VALUE(table[at]);
     if
     :: KIND(table[at]) != 1 ->
        assert(n != 0 && KIND(table[at]) == 2);
#ifndef LAST_WORD_STAYS
        if
        :: n > 1 -> table[at + n - 1] = 0
        :: else
        fi
#endif
     :: else ->
        do
        :: atomic { at + n < UNITS && RUN(at + n) != 0 -> n = n + RUN(at + n) }
        :: else -> break
        od;
        table[at] = FREE(n);
        run_insert(at, n)
     fi;
     atomic { at = at + n; n = 0 }
  :: else -> at = 0; break
  od
}

/* publication_settle_large */
inline settle() {
#ifdef PUBLISH
  if
  :: to_block != 0 ->
     if
     :: place == to_block || place != to_old
     :: else ->
        if
        :: KIND(table[to_block - 1]) == 2 ->
           table[to_block - 1] = FREE(VALUE(table[to_block - 1]))
        :: else
        fi
     fi;
     to_block = 0
  :: else
  fi
#else
  skip
#endif
}

inline recover() {
#ifdef LOCK_ONLY
  skip
#else
#ifndef NO_SETTLE
  settle();
#endif
#ifndef NO_REBUILD
  rebuild()
#endif
#endif
}

/* ---- The lock ---- */

#define AWAITED 32
#ifdef NO_GENERATION
#define TAG(w) (1 + (w))
#else
#define TAG(w) (1 + (w) + MEMBERS * generation[w])
#endif
#define PLAIN(x)  ((x) & (AWAITED - 1))
#define SEAT(x)   ((PLAIN(x) - 1) % MEMBERS)
#ifdef TAKEOVER_BY_STORE
#define CAS(x)    (dead || lock == x)
#else
#define CAS(x)    (lock == x)
#endif
#define LIVES(x)  (held[SEAT(x)] && TAG(SEAT(x)) == PLAIN(x))

inline enter(new) {
  lock = new;
  assert(inside == 0);
  inside = w + 1
}

/* psm_lock_take, and what psm_span_lock does after a death. A sleeper wakes
 * when the word has changed; the end of its time matters after a death only. */
#ifndef PLAIN_LOCK
inline span_lock() {
  if
  :: atomic { lock == 0 -> enter(TAG(w)) }
  :: else ->
     do
     :: seen = lock;
        /* psm_tag_alive: first the generation, then the kernel */
        if
        :: seen == 0 || !slept
        :: atomic { seen != 0 && slept && TAG(SEAT(seen)) != PLAIN(seen) -> dead = true }
        :: seen != 0 && slept && TAG(SEAT(seen)) == PLAIN(seen) -> dead = !held[SEAT(seen)]
        fi;
        if
        :: atomic { (seen == 0 || dead) && CAS(seen) -> enter(TAG(w) | AWAITED); break }
        :: atomic { (seen == 0 || dead) && !CAS(seen) -> seen = 0; dead = false }
        :: seen != 0 && !dead && seen & AWAITED
        :: atomic { seen != 0 && !dead && !(seen & AWAITED) && lock == seen ->
                    seen = seen | AWAITED; lock = seen }
        :: atomic { seen != 0 && !dead && !(seen & AWAITED) && lock != seen -> seen = 0 }
        fi;
        if
        :: atomic { seen != 0 && (lock != seen || !LIVES(seen)) -> slept = true; seen = 0 }
        :: seen == 0
        fi
     od;
     if
     :: atomic { dead -> dead = false; seen = 0; slept = false }
        recover()
     :: atomic { else -> seen = 0; slept = false }
     fi
  fi
}

/* psm_lock_give */
inline span_unlock() {
  do
  :: seen = lock;
     assert(PLAIN(seen) == TAG(w));
     if
     :: atomic { lock == seen -> lock = 0; inside = 0; seen = 0; break }
     :: else
     fi
  od
}
#else
/* What the lock is to those who use it, each call one step. */
inline span_lock() {
  if
  :: atomic { lock == 0 -> enter(TAG(w)) }
  :: atomic { lock != 0 && inside == 0 -> enter(TAG(w)) }
     recover()
  fi
}

inline span_unlock() {
  atomic { lock = 0; inside = 0 }
}
#endif

/* ---- Spans ---- */

/* run_find: the shortest that is long enough. */
#define NONE       9
#define PADDING(u) (aligned & (u)) /* to the next even unit */

inline run_find(length) {
  found = length;
  do
  :: found > UNITS -> found = NONE; break
  :: found <= UNITS && bin[found] != 0 ->
     found = bin[found] - 1;
     assert(RUN(found) >= length);
     break
  :: else -> found++
  od
}

/* psm_span_take sets n units aside at `at`, or leaves `found` NONE. */
inline span_take() {
  run_find(n);
  if
  :: found != NONE && RUN(found) < n + PADDING(found) -> run_find(n + 1)
  :: else
  fi;
  if
  :: found != NONE ->
     left = RUN(found);
     run_remove(found, left);
     atomic { front = PADDING(found); at = found + front; left = left - front - n };
#ifdef SHORTEN_FIRST
     table[at] = FREE(n);
#endif
     if
     :: left > 0 -> table[at + n] = FREE(left)
     :: else
     fi;
#ifndef SHORTEN_FIRST
     table[at] = FREE(n);
#endif
     if
     :: front > 0 -> table[found] = FREE(front); run_insert(found, front)
     :: else
     fi;
     if
     :: left > 0 -> run_insert(at + n, left)
     :: else
     fi
  :: else
  fi;
  atomic { front = 0; left = 0 }
}

inline wipe_last() {
  if
  :: n > 1 -> table[at + n - 1] = 0
  :: else
  fi
}

/* psm_span_use: the head is stored first, for the last word may be a head. */
inline span_use(by) {
#ifdef WIPE_FIRST
  wipe_last();
#endif
  atomic { table[at] = LARGE(n); size[at] = n; state[at] = by };
#ifndef WIPE_FIRST
#ifndef NO_WIPE
  wipe_last()
#endif
#endif
}

/* run_before: the free run that ends just before `at`. */
inline run_before() {
  found = NONE;
  if
  :: at == 0
  :: else ->
     if
     :: table[at - 1] == FREE(1) -> found = at - 1
     :: atomic {
          KIND(table[at - 1]) == 0 && VALUE(table[at - 1]) >= 2 && VALUE(table[at - 1]) <= at ->
          found = at - VALUE(table[at - 1])
        }
        assert(RUN(found) == at - found)
     :: else
     fi
  fi
}

/* psm_span_free: the block's state goes with its head. */
inline span_free() {
  if
  :: atomic { size[at] == n -> table[at] = FREE(n); size[at] = 0; state[at] = 0 }
  :: else -> table[at] = FREE(n)
  fi;
  if
  :: at + n < UNITS && RUN(at + n) != 0 ->
     left = RUN(at + n);
     run_remove(at + n, left);
     atomic { n = n + left; left = 0 };
     table[at] = FREE(n)
  :: else
  fi;
  run_before();
  if
  :: found != NONE ->
     run_remove(found, at - found);
     atomic { n = n + at - found; at = found };
     table[at] = FREE(n)
  :: else
  fi;
  run_insert(at, n)
}

/* psm_span_resize from n to `wanted` units */
inline span_resize() {
  if
  :: wanted < n ->
     if
     :: wanted > 1 -> table[at + wanted - 1] = 0
     :: else
     fi;
     table[at + wanted] = FREE(n - wanted);
     atomic { table[at] = LARGE(wanted); size[at] = wanted };
     atomic { at = at + wanted; n = n - wanted };
     span_free()
  :: else ->
     if
     :: at + n < UNITS && RUN(at + n) >= wanted - n ->
        left = RUN(at + n);
        run_remove(at + n, left);
        left = left - (wanted - n);
        if
        :: left > 0 ->
           table[at + wanted] = FREE(left);
           table[at + n] = FREE(wanted - n);
           run_insert(at + wanted, left)
        :: else
        fi;
        atomic { n = wanted; left = 0 };
        span_use(FLIGHT(w))
     :: else
     fi
  fi
}

/* ---- Death ---- */

#define NOBODY MEMBERS
chan die[MEMBERS + 1] = [0] of { bit };

/* The one block in flight is lost to its user; here another will free it. Of
 * one that is being published nothing is lost. */
inline strike(u) {
  if
  :: state[u] == FLIGHT(w) -> state[u] = OWNED
  :: state[u] == TRANSIT(w) -> state[u] = 0; size[u] = 0
  :: else
  fi
}

proctype Killer() {
end:
  do
  :: die[(deaths < DEATHS -> 0 : NOBODY)]!0
  :: die[(deaths < DEATHS -> 1 : NOBODY)]!0
#if MEMBERS > 2
  :: die[(deaths < DEATHS -> 2 : NOBODY)]!0
#endif
  od
}

/* ---- Members ---- */

#define IS_OWNED(u) (state[u] == OWNED)
#define ANY_OWNED   (IS_OWNED(0) || IS_OWNED(1) || IS_OWNED(2) || IS_OWNED(UNITS - 1))
#define PICK_OWNED  if :: IS_OWNED(0) -> at = 0 :: IS_OWNED(1) -> at = 1 \
                    :: IS_OWNED(2) -> at = 2 :: IS_OWNED(UNITS - 1) -> at = UNITS - 1 fi
#define IN_PLACE    (place != 0 && place != OTHER)

/* What a call works on is chosen when it has the lock: before that nothing
 * depends on it. */
inline alloc() {
  if
  :: n = 1
  :: n = 2
#ifndef PUBLISH
  :: n = 3
  :: atomic { n = 1; aligned = 1 }
  :: atomic { n = 2; aligned = 1 }
#endif
  fi;
  span_take();
  if
  :: found != NONE -> span_use(FLIGHT(w))
  :: else
  fi
}

inline large_free() {
  n = size[at];
  assert(n != 0 && table[at] == LARGE(n));
  span_free()
}

inline resize() {
  if
  :: wanted = 1
  :: wanted = 2
  :: wanted = 3
  fi;
  n = size[at];
  assert(n != 0 && table[at] == LARGE(n));
  if
  :: wanted != n -> span_resize()
  :: else
  fi
}

/* psm_large_alloc to a place */
inline publish() {
  if
  :: n = 1
  :: n = 2
  fi;
  span_take();
  if
  :: found != NONE ->
     to_old = place;
     to_block = at + 1;
     span_use(TRANSIT(w));
     atomic { place = at + 1; state[at] = PLACED };
     to_block = 0
  :: else
  fi
}

inline take_from_place() {
  place = 0;
  from[w] = false;
  state[taken - 1] = FLIGHT(w)
}

inline free_taken() {
  atomic { at = taken - 1; taken = 0 };
  large_free()
}

inline arrive(u) {
  if
  :: state[u] == FLIGHT(w) -> state[u] = OWNED
  :: else
  fi
}

inline nothing() {
  at = 0; n = 0; found = 0; front = 0; left = 0; wanted = 0; aligned = 0
}

proctype Member(byte w) {
  byte at, n, found, front, left, wanted, seen, taken;
  bit aligned;
  bool dead, slept;
born:
  {
    held[w] = true;
    generation[w] = generation[w] + 1;
    do
    :: atomic { arrive(0); arrive(1); arrive(2); arrive(UNITS - 1) };
end_idle:
       if
       :: span_lock();
#ifndef LOCK_ONLY
          if
          :: alloc()
          :: atomic { ANY_OWNED -> PICK_OWNED; state[at] = FLIGHT(w) }
             if
             :: large_free()
#ifndef PUBLISH
             :: resize()
#endif
             fi
#ifdef PUBLISH
          /* There is one writer to the place at a time. */
          :: w == 0 && !IN_PLACE && !from[0] && !from[1] -> publish()
#endif
          fi;
          atomic { nothing() };
#endif
          span_unlock()
#ifdef PUBLISH
       /* The application takes the block out and leaves something else there,
        * but not what was there before. */
       :: atomic { IN_PLACE -> state[place - 1] = OWNED; place = (to_old == OTHER -> 0 : OTHER) }
       /* PSMfreeFrom */
       :: atomic { IN_PLACE -> from[w] = true; taken = place }
          if
#ifndef TAKE_AT_ONCE
          :: to_block == taken ->
             span_lock();
             if
             :: atomic { place == taken -> take_from_place() }
                free_taken()
             :: atomic { else -> from[w] = false; taken = 0 }
             fi;
             atomic { nothing() };
             span_unlock()
#endif
          :: else ->
             if
             :: atomic { place == taken -> take_from_place() }
                span_lock();
                free_taken();
                atomic { nothing() };
                span_unlock()
             :: atomic { else -> from[w] = false; taken = 0 }
             fi
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
      held[w] = false;
      if
      :: inside == w + 1 -> inside = 0
      :: else
      fi;
#ifdef PUBLISH
      from[w] = false;
#endif
      strike(0);
      strike(1);
      strike(2);
      strike(UNITS - 1);
      nothing();
      seen = 0; taken = 0; dead = false; slept = false
    }
  }
  goto born
}

/* ---- What must hold ---- */

/* Heads: the walk from unit 0 comes by here. */
#define LENGTH(u) (KIND(table[u]) == 0 -> 0 : VALUE(table[u]))
#define HEAD_1    (LENGTH(0) == 1)
#define HEAD_2    (LENGTH(0) == 2 || (HEAD_1 && LENGTH(1) == 1))
#if UNITS == 3
#define TILED     (LENGTH(0) == 3 || (HEAD_1 && LENGTH(1) == 2) || (HEAD_2 && LENGTH(2) == 1))
#define LAST_HEAD HEAD_2
#else
#define HEAD_3    (LENGTH(0) == 3 || (HEAD_1 && LENGTH(1) == 2) || (HEAD_2 && LENGTH(2) == 1))
#define TILED     (LENGTH(0) == 4 || (HEAD_1 && LENGTH(1) == 3) || (HEAD_2 && LENGTH(2) == 2) || \
                   (HEAD_3 && LENGTH(3) == 1))
#define LAST_HEAD HEAD_3
#endif
#define OF_ALL(is) (is(0, true) && is(1, HEAD_1) && is(2, HEAD_2) && is((UNITS - 1), LAST_HEAD))

/* At every instant: heads tile the segment, and every block is one of them. */
#define BLOCK(u, is_head) (size[u] == 0 || ((is_head) && table[u] == LARGE(size[u])))

/* While nobody has the lock: what is no block is free, joined and listed once. */
#define KNOWN(u, is_head) (!(is_head) || KIND(table[u]) == 1 || size[u] != 0)
#define APART(u, is_head) (!(is_head) || !RUN(u) || u + RUN(u) >= UNITS || !RUN(u + RUN(u)))
#define LISTED(u, n) (bin[n] == u + 1 || (bin[n] != 0 && next[bin[n] - 1] == u + 1))
#define IN_LIST(u, is_head) (!(is_head) || !RUN(u) || LISTED(u, RUN(u)))
#define IS_RUN(at, n) (RUN(at - 1) == n && \
                       (at == 1 || (at == 2 && HEAD_1) || (at == 3 && HEAD_2) || \
                        (at == UNITS && LAST_HEAD)))
#define LIST(n) (bin[n] == 0 || (IS_RUN(bin[n], n) && prev[bin[n] - 1] == 0 && \
                 (next[bin[n] - 1] == 0 || (IS_RUN(next[bin[n] - 1], n) && \
                  prev[next[bin[n] - 1] - 1] == bin[n] && next[next[bin[n] - 1] - 1] == 0))))
#define LISTS (LIST(1) && LIST(2) && LIST(3) && LIST(UNITS))

/* Moves only if something is wrong, so that it never hides a deadlock. */
proctype Checker() {
end:
  if
  :: atomic { !TILED -> assert(false) }
  :: atomic { !OF_ALL(BLOCK) -> assert(false) }
  :: atomic { lock == 0 && !OF_ALL(KNOWN) -> assert(false) }
  :: atomic { lock == 0 && !(OF_ALL(APART) && OF_ALL(IN_LIST) && LISTS) -> assert(false) }
  fi
}

init {
  atomic {
    table[0] = FREE(UNITS);
    table[UNITS - 1] = TAIL(UNITS);
    bin[UNITS] = 1;
    run Member(0);
    run Member(1);
#if MEMBERS > 2
    run Member(2);
#endif
    run Killer();
    run Checker()
  }
}
