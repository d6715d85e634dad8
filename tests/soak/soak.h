/* Kill storms: what the supervisor and the workers have in common.
 *
 * The *arena* is memory outside the segment that all of them share. A thread writes into its
 * record what it is going to do before it does it, so that after a kill the supervisor knows
 * where every block must be: reachable from the segment's tables, held by a thread, free, or
 * in flight. A word per 16 bytes of the segment (a *claim*) says whose the block is that begins
 * there; a block that is handed out while it is somebody's is seen at once.
 */
#ifndef PSM_SOAK_H
#define PSM_SOAK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "psm.h"

enum {
  WORKERS = 8,
  THREADS = 2,  /* of a worker; a visitor, forked by a worker for a while, has one */
  PROCS = 128,  /* living and dead, between two examinations */
  HELD = 8,     /* blocks that a thread keeps to itself */
  TABLE = 2048, /* places of the shared table */
  PLACES = 48,  /* for PSMallocTo and PSMfreeFrom, one process at a time */
  RACES = 24,   /* the same, and anybody may take the block out at any time */
  GRAIN = 16,   /* bytes between two addresses where blocks may begin */
  WATCHDOG = 20 /* seconds */
};

/* What a thread is about, and whether its death may cost a block of unknown address. */
#define OPS(X)                                        \
  X(NONE, "between the calls", 0)                     \
  X(ALLOC, "PSMalloc, PSMcalloc, PSMalignedAlloc", 1) \
  X(FREE, "PSMfree", 0)                               \
  X(REALLOC, "PSMrealloc", 1)                         \
  X(PUBLISH, "putting into the table", 0)             \
  X(TAKE, "taking out of the table", 0)               \
  X(ALLOC_TO, "PSMallocTo", 0)                        \
  X(FREE_FROM, "PSMfreeFrom", 0)                      \
  X(RACE_TO, "PSMallocTo, others taking", 0)          \
  X(RACE_TAKE, "taking what PSMallocTo gave", 0)      \
  X(RACE_FREE, "PSMfreeFrom, others taking", 1)       \
  X(LOCK, "PSMlock to PSMunlock", 0)                  \
  X(REAP, "PSMreap", 0)                               \
  X(TRIM, "PSMtrim", 0)                               \
  X(CHECK, "PSMcheck", 0)                             \
  X(LOOK, "PSMstat, PSMmembers, PSMwalk", 0)          \
  X(FORK, "fork", 0)                                  \
  X(THREAD, "a thread ends, another begins", 0)       \
  X(JOIN, "PSMinit, PSMopen", 0)                      \
  X(LEAVE, "PSMdeinit", 0)

#define OP_NAME(name, text, unknown) OP_##name,
enum { OPS(OP_NAME) OP_COUNT };

/* One thread's; by that thread only, and by the supervisor when it is dead or parked. */
struct record {
  _Atomic uint64_t id; /* of the thread: never the same twice */
  _Atomic uint32_t op;
  _Atomic uint32_t place;   /* that `op` is about */
  _Atomic uint64_t block;   /* that `op` is about: its offset */
  _Atomic uint64_t size;    /* that is asked for */
  _Atomic uint64_t align;   /* the same */
  _Atomic uint32_t parked;  /* the halt at which it waits */
  _Atomic uint64_t since;   /* ns: when its present step began */
  _Atomic uint64_t longest; /* ns: of all its steps */
  _Atomic uint64_t held[HELD];
  uint32_t last, slowest; /* the last operation, and that of the longest step */
  uint64_t counts[OP_COUNT];
  uint64_t reaped;
  uint64_t lost; /* in this thread's death, by the supervisor */
};

/* A slot is reserved by one store, by the supervisor or by a member that is about to fork; all
 * else in it is written by the process that has it, and made clean by the supervisor. */
enum { PROC_EMPTY, PROC_RESERVED, PROC_ARRIVED, PROC_RUNNING, PROC_DEAD };
enum { ROLE_WORKER, ROLE_VISITOR };
enum { NO_PARENT = PROCS };

struct proc {
  _Atomic uint64_t state; /* incarnation << 32 | parent's slot << 16 | ROLE_ << 8 | PROC_ */
  _Atomic int32_t pid;
  _Atomic uint32_t threads;
  _Atomic uint32_t known;  /* the supervisor watches it */
  _Atomic uint32_t killed; /* before the signal is sent */
  _Atomic uint32_t doom;   /* ns: a thread is to have the kernel kill it so soon */
  _Atomic uint32_t ending; /* it is about to exit by itself */
  struct record records[THREADS];
};

/* A claim is 0, a thread's id, an id during PSMrealloc (which may free the block), or: */
enum { CLAIM_TABLE = 1, CLAIM_PLACE = 2, CLAIM_WORLD = 3 };
#define CLAIM_LOOSE (UINT64_C(1) << 63)

#define HALT_OVER UINT32_MAX

struct arena {
  char name[64];
  uint64_t size, base, seed;
  uint32_t places;          /* of the table that are used */
  uint64_t cap;             /* bytes: how large blocks get */
  _Atomic uint32_t halt;    /* 0, the number of a halt, or HALT_OVER */
  _Atomic uint32_t reap;    /* somebody is to call PSMreap now */
  _Atomic uint32_t wanted;  /* workers that members are asked to fork */
  _Atomic uint64_t started; /* incarnations so far */
  _Atomic uint64_t markers;
  _Atomic uint64_t lease;  /* ns: the supervisor was alive */
  _Atomic uint64_t inside; /* the thread between PSMlock and PSMunlock */
  _Atomic uint64_t place_writer[PLACES], race_writer[RACES];
  _Atomic uint32_t failed;
  char failure[400];
  struct proc procs[PROCS];
  _Atomic uint64_t claims[];
};

/* In the segment, by its user word. A place holds a block's address, NULL, or an odd marker. */
struct world {
  _Atomic uint64_t table[TABLE], places[PLACES], races[RACES];
  uint32_t lock;
  uint32_t spare;
  volatile uint64_t left, right; /* equal but for the one who holds the lock */
};

extern struct arena *arena;
extern PSMHandle handle;
extern struct world *world;

/* ---- ledger.c: the arena and the blocks ---- */

extern const char *const op_texts[OP_COUNT];
extern const bool op_unknown[OP_COUNT];

/** Bytes of an arena for segments of up to `size` bytes. */
size_t arena_bytes(uint64_t size);

/** Say what is wrong, unless another has said so before, and end this process. */
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
extern void (*fail_end)(void);

uint64_t now_ns(void);
void sleep_us(uint64_t us);
uint64_t random_next(uint64_t *state);
uint64_t below(uint64_t *state, uint64_t limit);

/** Sleep until the halt is no longer `halt`, for some milliseconds at most. */
void halt_wait(uint32_t halt);
void halt_set(uint32_t halt);

/** Reserve an empty slot for a child of `parent`; its index, or -1, and its state. */
int proc_reserve(uint32_t role, int parent, uint64_t *state);

/** From one state to another, all else the same; false if the state was not `from`. */
bool proc_turn(struct proc *p, uint64_t from, uint32_t to);

/** Make a slot clean that nobody uses any more. */
void proc_clear(struct proc *p);

static inline uint32_t state_of(uint64_t state) { return (uint32_t)(state & 255); }
static inline uint32_t role_of(uint64_t state) { return (uint32_t)(state >> 8 & 255); }
static inline uint32_t parent_of(uint64_t state) { return (uint32_t)(state >> 16 & 65535); }
static inline uint64_t incarnation_of(uint64_t state) { return state >> 32; }
static inline uint32_t proc_state(struct proc *p) { return state_of(p->state); }
static inline struct proc *proc_of(uint64_t id) { return &arena->procs[(id >> 1) & (PROCS - 1)]; }
static inline struct record *record_of(uint64_t id) { return &proc_of(id)->records[id & 1]; }

/** Is this thread killed, gone by itself, or of the past? */
bool thread_gone(uint64_t id);

static inline bool is_block(uint64_t value) { return value != 0 && (value & 1) == 0; }
static inline void *block_at(uint64_t offset) { return (char *)handle + offset; }
static inline uint64_t offset_of(const void *block) {
  return (uint64_t)((const char *)block - (const char *)handle);
}

/** The claim of the block at an offset, which must be one where blocks can begin. */
_Atomic uint64_t *claim_at(uint64_t offset);

/** From one claim to another; fails the run if it is neither `from` nor, with `from` 0, loose. */
void claim_turn(uint64_t offset, uint64_t from, uint64_t to);

/** Fill a block, of 16 bytes at least, so that a change of it is seen. */
void pattern_write(uint64_t offset, uint64_t size, uint64_t stamp);

/** Is the pattern that was written at offset `written` intact, up to `limit` bytes of it? */
bool pattern_intact(uint64_t offset, uint64_t written, uint64_t limit);
uint64_t pattern_size(uint64_t offset);

/** Fails the run if the block is not intact. */
void pattern_check(uint64_t offset);

/* ---- worker.c ---- */

/** The life of a process that the supervisor has started. Does not return.
 *  `joined`: it is a member by fork. */
_Noreturn void worker_main(int index, bool joined);

/* ---- steps.c: what a thread does to the segment ---- */

struct thread {
  struct record *record;
  uint64_t id, seed;
};

/** One small thing, at random. */
void step(struct thread *t);

/** One of the calls for upkeep, at random. */
void upkeep(struct thread *t);
void reap(struct thread *t);

void begin(struct thread *t, uint32_t op, uint64_t block, uint32_t place);
void end(struct thread *t);

void steps_prepare(void);

/* ---- oracle.c ---- */

struct totals {
  uint64_t counts[OP_COUNT], killed_in[OP_COUNT];
  uint64_t kills, workers, reaped;
  uint64_t longest; /* ns: of a step, and in which operation */
  uint32_t slowest;
  uint64_t held;      /* blocks that threads held when they died */
  uint64_t lost;      /* blocks in flight */
  uint64_t lost_most; /* of one kill */
  uint64_t examinations;
};
extern struct totals totals;

/** With all threads parked or dead: where is every block? Frees what the dead have left. */
void examine(uint32_t living, uint32_t threads);

/** All is free but the world, and the claims say so. */
void examine_end(void);

/** How many blocks of a size there is room for. */
uint64_t capacity(uint64_t size);

#endif
