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

struct segment {
  char *base;
  const struct psm_classes *classes;
  _Atomic uint32_t *table;
  char *slabs;
  uint64_t data;      /* offset of unit 0 */
  uint64_t data_size; /* bytes in units */
  uint32_t shift;
  uint32_t slab_size;
  struct header_shm *header;
  struct seat_shm *roster;
  struct spans_shm *spans;
  _Atomic uint64_t *committed;
  _Atomic uint32_t *bins;
  _Atomic uint32_t *owners;
  struct death_shm *deaths;
  struct geometry geometry;

  os_file file; /* holds the lock on the seat */
  struct os_identity identity;
  void *anchor; /* keeps `file`, and tells other copies of us in this process */
  char *path;
  int seat;     /* NO_SEAT when read-only, or when none was free */
  uint32_t tag; /* this member in the word of a lock */
  bool readonly;
  bool lost;                 /* a child that could not open the file: nothing is mapped */
  _Atomic uint64_t *touched; /* a bit per unit whose pages this process has mapped */
  uint64_t serial;           /* of this joining; no two in a process are equal */
  _Atomic int uses;          /* PSMinit less PSMdeinit */

  uint32_t inherited; /* executes this child may still make */
  int inherited_uses; /* of `uses`, those from before the fork */
  int parent_seat;
  uint32_t parent_tenure;

  os_file child_file; /* from before fork until after: the child's */
  int child_seat;

  struct segment *next;
};

/* A thread's cache in one segment, or the one that the span lock guards. */
struct worker {
  struct segment *segment;
  struct cache_shm *cache;
  uint32_t id; /* 1 + index of the cache: its mark as an owner */
  bool locked; /* the span lock is held by the caller */
};

#define NO_CACHE_ID UINT32_C(0xfffffffe) /* of a worker without a cache: owns nothing */

enum { SHARED_CACHE = 0 }; /* index of the one that the span lock guards */

#define NO_UNIT UINT32_MAX

PSM_INLINE struct slab_shm *slab_at(const struct segment *s, uint32_t unit) {
  return (struct slab_shm *)(void *)(s->slabs + (uint64_t)unit * s->slab_size);
}

PSM_INLINE uint64_t unit_offset(const struct segment *s, uint32_t unit) {
  return s->data + ((uint64_t)unit << s->shift);
}

PSM_INLINE struct cache_shm *cache_at(const struct segment *s, uint32_t index) {
  const struct geometry *g = &s->geometry;
  return (struct cache_shm *)(void *)(s->base + g->cache_area + (uint64_t)index * g->cache_size);
}

PSM_INLINE uint64_t unit_size(const struct segment *s) { return UINT64_C(1) << s->shift; }

/** The word at an offset that comes out of the file, or NULL if the offset is
 *  no place for one. */
PSM_INLINE _Atomic uint64_t *word_at(const struct segment *s, uint64_t offset) {
  if (offset % sizeof(uint64_t) != 0 || offset > s->geometry.size - sizeof(uint64_t)) return NULL;
  return (_Atomic uint64_t *)(void *)(s->base + offset);
}

/** Remember for all members that the metadata contradicts itself. */
PSM_INLINE void mark_corrupt(struct segment *s) {
  if (!s->readonly) at_store(&s->header->error, PSM_E_CORRUPT);
}

#endif
