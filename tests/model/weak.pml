/* How a block passes from one thread to the next where memory is weakly ordered: the
 * accesses of claim, free, refill, give-up and reap, each with the order it has in the core.
 *
 * A location keeps its last two values. A thread may read either that is not older than what
 * it knows of, and knows of what it wrote, what it read, and, by an acquire of a release, what the
 * writer knew. So stores may be seen out of order and loads may be satisfied early; a load is
 * never satisfied by a store that comes after it. There is one group of one block; two workers,
 * of whom the first may be killed before every step, and a reaper. Deaths are known through the
 * kernel, by whose locks what the dead did comes before what they do who know of it.
 */
#define THREADS 4 /* two workers, the reaper, and one who took the dead one's seat */
#define REAPER  2
#define JOINER  3
#define PAST    2 /* values of a location that are kept: with three, the third is never read */

#define FREE     0 /* group_shm.free: 1 if the block is in it */
#define OWNER    1 /* 0, or 1 + worker */
#define BITS(w)  (2 + (w)) /* slot_shm.bits */
#define DATA     4 /* the block itself: every access counts as a store */
#define MAIL     5 /* by which the application passes the block on */
#ifdef TENURE
#define SEAT     6 /* seat_shm.tenure: 1 once another sits there */
#define PLACES   7
#else
#define PLACES   6
#endif

/* ---- Memory ---- */

#define RELAXED 0
#define ACQUIRE 1
#define RELEASE 1

byte value[PLACES * PAST];         /* 0 is the newest */
byte view[PLACES * PAST * PLACES]; /* what a release tells with it: as `age` */
byte age[THREADS * PLACES];        /* the oldest value that a thread may still read */
byte total[PLACES];                /* the same for loads in the total order of seq_cst */

#define VALUE(p, n)   value[(p) * PAST + (n)]
#define VIEW(p, n, q) view[((p) * PAST + (n)) * PLACES + (q)]
#define AGE(t, p)     age[(t) * PLACES + (p)]

hidden byte i, n;

inline older(x) {
  if
  :: x < PAST - 1 -> x++
  :: else
  fi
}

inline at_most(x, y) {
  if
  :: y < x -> x = y
  :: else
  fi
}

/* A read-modify-write tells on what the store that it read from told. */
inline put(t, p, v, is_release, is_change) {
  d_step {
    for (i : 0 .. THREADS - 1) { older(AGE(i, p)) }
    for (i : 0 .. PLACES * PAST - 1) { older(view[i * PLACES + (p)]) }
    older(total[p]);
    n = PAST - 1;
    do
    :: n > 0 ->
       VALUE(p, n) = VALUE(p, n - 1);
       for (i : 0 .. PLACES - 1) { VIEW(p, n, i) = VIEW(p, n - 1, i) }
       n--
    :: else -> break
    od;
    AGE(t, p) = 0;
    VALUE(p, 0) = v;
    for (i : 0 .. PLACES - 1) {
      if
      :: is_change
      :: else -> VIEW(p, 0, i) = PAST - 1
      fi;
      if
      :: is_release -> at_most(VIEW(p, 0, i), AGE(t, i))
      :: else
      fi
    }
    VIEW(p, 0, p) = 0;
    i = 0
  }
}

inline learn(t, p, k) {
  d_step {
    for (i : 0 .. PLACES - 1) { at_most(AGE(t, i), VIEW(p, k, i)) }
    i = 0
  }
}

inline get(t, p, x, is_acquire) {
  atomic {
    if
    :: n = 0
    :: AGE(t, p) > 0 -> n = 1
    fi;
    x = VALUE(p, n);
    AGE(t, p) = n;
    if
    :: is_acquire -> learn(t, p, n)
    :: else
    fi;
    n = 0
  }
}

inline get_ordered(t, p, x) {
  atomic {
#ifndef LOOK_UNORDERED
    at_most(AGE(t, p), total[p]);
#endif
    get(t, p, x, ACQUIRE)
  }
}

/* Inside atomic: it reads the newest, whatever the thread knows. */
inline change(t, p, v, is_acquire, is_release) {
  if
  :: is_acquire -> learn(t, p, 0)
  :: else
  fi;
  put(t, p, v, is_release, true);
  total[p] = 0
}

/* Who knows of a death knows of all that the dead did. */
inline death_seen(t) {
  d_step {
    for (i : 0 .. PLACES - 1) { at_most(AGE(t, i), AGE(0, i)) }
    i = 0
  }
}

/* ---- What is wrong in a mutant ---- */

#ifdef FREE_RELAXED
#define FREE_ORDER RELAXED
#else
#define FREE_ORDER RELEASE
#endif
#ifdef FILL_RELAXED
#define FILL_ORDER RELAXED
#else
#define FILL_ORDER ACQUIRE
#endif
#ifdef CLAIM_RELAXED
#define CLAIM_ORDER RELAXED
#else
#define CLAIM_ORDER ACQUIRE
#endif
#ifdef GIVE_UP_RELAXED
#define GIVE_UP_ORDER RELAXED
#else
#define GIVE_UP_ORDER RELEASE
#endif
#ifdef REAP_RELAXED
#define REAP_ORDER RELAXED
#else
#define REAP_ORDER RELEASE
#endif
#ifdef SEAT_RELAXED
#define SEAT_ORDER RELAXED
#else
#define SEAT_ORDER ACQUIRE
#endif

/* ---- Ghosts: where the block really is, and who knows of the group ---- */

#define IS_FREE 0
#define LOST    3 /* its user was killed */
#define IN_MAIL 4
byte user;         /* IS_FREE, 1 + worker, LOST, IN_MAIL */
bool offered;      /* a hint is set */
bool dead, reaped;
bool resting[2];   /* outside of any call */

/* ---- A worker ---- */

inline touch(w) {
  atomic { assert(AGE(w, DATA) == 0); put(w, DATA, 0, RELAXED, false) }
}

inline give_up(w) {
  atomic { change(w, OWNER, 0, ACQUIRE, GIVE_UP_ORDER); mine = false }
  get_ordered(w, FREE, x);
  if
  :: atomic { x == 1 -> offered = true; x = 0 }
  :: else
  fi
}

/* slot_fill, or let go */
inline fill(w) {
  get(w, FREE, x, FILL_ORDER);
  if
  :: x == 1 ->
     put(w, BITS(w), 1, RELEASE, false);
     atomic { change(w, FREE, 0, FILL_ORDER, RELEASE); x = 0 }
  :: else -> give_up(w)
  fi
}

proctype Worker(byte w) {
  byte x;
  bool mine;
  {
    do
    :: atomic { resting[w] = true; x = 0 };
end_rest:
       if
       /* slot_take */
       :: atomic {
            mine && VALUE(BITS(w), 0) == 1 && user != w + 1 ->
            resting[w] = false;
            put(w, BITS(w), 0, RELAXED, false);
            assert(user == IS_FREE);
            user = w + 1
          }
          touch(w)
       /* The application uses the block, and passes it on. */
       :: atomic { user == w + 1 && VALUE(MAIL, 0) == 0 -> resting[w] = false }
          touch(w);
          atomic { change(w, MAIL, 1, ACQUIRE, RELEASE); user = IN_MAIL }
       :: atomic {
            VALUE(MAIL, 0) == 1 ->
            resting[w] = false;
            change(w, MAIL, 0, ACQUIRE, RELEASE);
            assert(user == IN_MAIL);
            user = w + 1
          }
          touch(w)
       /* slot_give */
       :: atomic {
            mine && user == w + 1 ->
            resting[w] = false;
            put(w, BITS(w), 1, RELAXED, false);
            user = IS_FREE
          }
       /* cache_free_other, and psm_group_grown */
       :: atomic {
            !mine && user == w + 1 ->
            resting[w] = false;
            change(w, FREE, 1, ACQUIRE, FREE_ORDER);
            user = IS_FREE
          }
          get_ordered(w, OWNER, x);
          if
          :: atomic { x == 0 -> offered = true }
          :: else
          fi
       /* psm_cache_refill */
       :: atomic { mine && VALUE(BITS(w), 0) == 0 && user != w + 1 -> resting[w] = false }
          fill(w)
       /* claim */
       :: atomic { !mine && offered && user != w + 1 -> resting[w] = false }
          if
          :: atomic {
               VALUE(OWNER, 0) == 0 ->
               change(w, OWNER, w + 1, CLAIM_ORDER, RELEASE);
               mine = true;
               offered = false
             }
             fill(w)
          :: else
          fi
       fi
    od
  } unless {
    atomic {
      w == 0 && dead ->
      resting[w] = true;
      if
      :: user == 1 -> user = LOST
      :: else
      fi;
      x = 0;
      mine = false
    }
  }
}

proctype Killer() {
end:
  dead = true
}

/* ---- The reaper ---- */

#ifdef TENURE
/* Who takes the seat of the dead has asked the kernel; who sees that another sits there has not. */
proctype Joiner() {
end:
  dead;
  death_seen(JOINER);
  put(JOINER, SEAT, 1, RELEASE, false)
}
#endif

/* psm_cache_reclaim */
proctype Reaper() {
  byte x;
end:
  dead;
#ifdef TENURE
  do
  :: get(REAPER, SEAT, x, SEAT_ORDER);
     if
     :: x == 1 -> break
     :: else
     fi
  od;
#else
#ifndef NO_KERNEL
  death_seen(REAPER);
#endif
#endif
  get(REAPER, OWNER, x, ACQUIRE);
  if
  :: x == 1 ->
     get(REAPER, BITS(0), x, RELAXED);
     if
     :: x == 1 -> atomic { change(REAPER, FREE, 1, ACQUIRE, RELEASE) }
     :: else
     fi;
     put(REAPER, BITS(0), 0, RELEASE, false);
     atomic { change(REAPER, OWNER, 0, ACQUIRE, REAP_ORDER) }
     get_ordered(REAPER, FREE, x);
     if
     :: x == 1 -> offered = true
     :: else
     fi
  :: else
  fi;
  atomic { x = 0; reaped = true }
}

/* ---- What must hold, beside the assertions above ---- */

/* When nobody is in a call, a free block that nobody owns is found. A death may lose a hint. */
proctype Checker() {
end:
  if
  :: atomic {
       !dead && resting[0] && resting[1] && VALUE(OWNER, 0) == 0 && VALUE(FREE, 0) == 1 &&
       !offered -> assert(false)
     }
  fi
}

init {
  atomic {
    for (i : 0 .. PAST - 1) { VALUE(FREE, i) = 1 }
    i = 0;
    offered = true;
    run Worker(0);
    run Worker(1);
    run Reaper();
#ifdef TENURE
    run Joiner();
#endif
    run Killer();
    run Checker()
  }
}
