/* One open segment as this process sees it.
 *
 * The pointers follow from the geometry; nothing that the file says is used
 * as an address or an index before it has been compared with the geometry.
 */
#ifndef PSM_VIEW_H
#define PSM_VIEW_H

#include "layout.h"
#include "os/os.h"

enum { NO_SEAT = -1 };

/* Where the groups of a class lie: with those of a unit `stride` bytes behind
 * those of the unit before, all their `free` and then all their `owner`. */
struct shelf {
  char *free; /* of the first group of unit 0 */
  uint32_t stride;
  int32_t owners;               /* bytes from a unit's first `free` to its first `owner` */
  _Alignas(8) uint64_t notable; /* as in psm_class */
  uint64_t spare;               /* see shelf_of */
};

struct segment {
  char *base;
  const struct psm_classes *classes;
  _Atomic uint32_t *table;
  char *slabs;
  _Atomic uint8_t *states; /* from unit 0 on */
  uint64_t data;           /* offset of unit 0 */
  uint64_t data_size;      /* bytes in units */
  uint32_t shift;
  uint32_t slab_size;
  struct header_shm *header;
  struct seat_shm *roster;
  struct spans_shm *spans;
  _Atomic uint64_t *committed;
  _Atomic uint32_t *bins;
  _Atomic uint32_t *owners;
  _Atomic uint32_t *grants;
  struct death_shm *deaths;
  struct geometry geometry;
  struct shelf shelves[PSM_CLASSES];

  os_file file; /* holds the lock on the seat */
  struct os_identity identity;
  void *anchor; /* keeps `file`, and tells other copies of us in this process */
  char *path;
  int seat;     /* NO_SEAT when read-only, or when none was free */
  uint32_t tag; /* this member in the word of a lock */
  bool readonly;
  bool large_pages;          /* asked for by who opened it */
  bool lost;                 /* a child that could not open the file: nothing is mapped */
  _Atomic uint64_t *touched; /* a bit per unit whose pages this process has mapped */
  uint64_t serial;           /* of this joining; no two in a process are equal */
  struct binding *bindings;  /* of all threads to this joining, and of none to an older one */
  _Atomic int uses;          /* PSMinit less PSMdeinit */

  uint32_t inherited; /* executes this child may still make */
  int inherited_uses; /* of `uses`, those from before the fork */
  int parent_seat;
  uint32_t parent_tenure;

  os_file child_file; /* from before fork until after: the child's */
  int child_seat;

  struct segment *next;
};

/* What a thread keeps at hand of a class: what it frees by, and after it what it
 * allocates by. No address that a thread hands out comes from the file.
 *
 * Freed blocks go on a stack, the magazine, and come from there again. What was freed last
 * lies before the others: to find it takes one load, and no other waits for it. */
union way {
  struct {
    char *last;                    /* freed, or NULL: the magazine is empty */
    char **top, **bottom, **limit; /* limit: no more fit; all equal: there is none */
    uint32_t end;                  /* of a slab: no block begins there or behind */
    bool stated;                   /* as in psm_class; without, there is no magazine */
    bool hungry;                   /* the magazine was found empty since it was full last */
    uint32_t reciprocal;           /* as in psm_class */
    struct slot_shm *slot;
    _Alignas(8) uint64_t own; /* the group in the slot: unit * 64 + group, or OWNS_NONE */
  } free;
  struct {
    char *first;                   /* block of the group in the slot */
    const _Atomic uint64_t *group; /* the one in the slot: its `free` */
    struct slot_shm *slot;
    uintptr_t states;          /* see state_of; 0 if the class has none */
    uint32_t nothing;          /* 0: see WAYS */
    uint32_t size;             /* bytes of a block */
    _Alignas(8) uint64_t mask; /* of the blocks that the group has */
  } alloc;
  char line[64];
};
_Static_assert(sizeof(union way) == 64, "a line of the cache");

/* A free that meets a way to allocate finds that no block begins there. */
_Static_assert(offsetof(union way, alloc.nothing) == offsetof(union way, free.end), "see WAYS");

#define OWNS_NONE UINT64_MAX /* NO_GROUP - 1 */

/* A free finds its way by the lowest byte of the unit's word. That is odd for a
 * slab; with an even one it meets the `nothing` of a way to allocate, reads it
 * as a slab without blocks, and looks closer. */
enum { WAYS = 256 + 1 };

_Static_assert(unit_word(UNIT_SLAB, 7) == 1 + 2 * 7, "a way to free and one to allocate each");

PSM_INLINE union way *way_of(union way *ways, uint32_t cls) { return ways + 1 + 2 * (size_t)cls; }

/* A thread's cache in one segment, or the one that the span lock guards. */
struct worker {
  struct segment *segment;
  struct cache_shm *cache;
  union way *ways;   /* for its cache; NULL for the one that all share */
  uint32_t id;       /* 1 + index of the cache: its mark as an owner */
  bool locked;       /* the span lock is held by the caller */
  uint32_t pressure; /* the segment's, when this thread last kept nothing */
  uint32_t patience; /* how often not to ask whether more may be kept */
};

#define NO_CACHE_ID UINT32_C(0xfffffffe) /* of a worker without a cache: owns nothing */

enum { SHARED_CACHE = 0 }; /* index of the one that the span lock guards */

#define NO_UNIT UINT32_MAX

PSM_INLINE struct slab_shm *slab_at(const struct segment *s, uint32_t unit) {
  return (struct slab_shm *)(void *)(s->slabs + (uint64_t)unit * s->slab_size);
}

PSM_INLINE bool groups_near(const struct segment *s, uint32_t cls) {
  return s->classes->at[cls].groups <= s->geometry.near_groups;
}

/* See layout.h. */
struct group_ref {
  _Atomic uint64_t *free;
  _Atomic uint32_t *owner;
};

PSM_INLINE struct group_ref group_on(const struct shelf *shelf, uint64_t unit, uint64_t index) {
  char *free = shelf->free + unit * shelf->stride;
  char *owner = free + shelf->owners;
  return (struct group_ref){(_Atomic uint64_t *)(void *)free + index,
                            (_Atomic uint32_t *)(void *)owner + index};
}

/** A group of a unit that is, or is to be, a slab of this class. */
PSM_INLINE struct group_ref group_at(const struct segment *s, uint32_t unit, uint32_t cls,
                                     uint32_t index) {
  return group_on(&s->shelves[cls], unit, index);
}

PSM_INLINE uint64_t unit_offset(const struct segment *s, uint32_t unit) {
  return s->data + ((uint64_t)unit << s->shift);
}

PSM_INLINE struct cache_shm *cache_at(const struct segment *s, uint32_t index) {
  const struct geometry *g = &s->geometry;
  return (struct cache_shm *)(void *)(s->base + g->cache_area + (uint64_t)index * g->cache_size);
}

/** The state of a block of a class that has them. */
PSM_INLINE _Atomic uint8_t *state_at(const struct segment *s, uint32_t unit, uint32_t cls,
                                     uint32_t index) {
  uint64_t offset = ((uint64_t)unit << s->shift) + (uint64_t)index * s->classes->at[cls].size;
  return s->states + offset / PSM_STATED;
}

/** The same by the block's address and `states`, see states_for. */
PSM_INLINE _Atomic uint8_t *state_of(uintptr_t states, const char *block) {
  return (_Atomic uint8_t *)(states + (uintptr_t)block / PSM_STATED);
}

PSM_INLINE uintptr_t states_for(const struct segment *s) {
  return (uintptr_t)s->states - ((uintptr_t)s->base + (uintptr_t)s->data) / PSM_STATED;
}

PSM_INLINE uint64_t unit_size(const struct segment *s) { return UINT64_C(1) << s->shift; }

/** The place of a pointer at an offset that comes out of the file, or NULL if the
 *  offset is no place for one. */
PSM_INLINE const _Atomic uintptr_t *place_at(const struct segment *s, uint64_t offset) {
  if (offset % sizeof(void *) != 0 || offset > s->geometry.size - sizeof(void *)) return NULL;
  return (const _Atomic uintptr_t *)(const void *)(s->base + offset);
}

/** Remember for all members that the metadata contradicts itself. */
PSM_INLINE void mark_corrupt(struct segment *s) {
  if (!s->readonly) at_store(&s->header->error, PSM_E_CORRUPT);
}

#endif
