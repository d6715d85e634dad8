/* What only this process knows: its segments, and its threads' caches. */
#ifndef PSM_PROCESS_H
#define PSM_PROCESS_H

#include "view.h"

/* A thread's tie to one joining of a segment, with all that its common calls
 * read. It answers to a handle from when it has a cache until the joining ends;
 * whoever ends it says so to the bindings of all threads. */
struct binding {
  _Atomic(PSMHandle) handle; /* or itself; by the thread, and by who ends the joining */
  uint64_t small_max;
  uintptr_t data; /* address of unit 0 */
  uint64_t data_size;
  uint32_t shift, unit_mask;
  uintptr_t states; /* see state_of */
  uint8_t mark;     /* of what this thread keeps; of no use without a magazine */
  struct worker worker;
  uint64_t serial;                         /* of the joining */
  struct binding *next;                    /* of the thread */
  struct binding *sibling;                 /* of the joining */
  void *memory;                            /* that it lies in, aligned */
  uint8_t class_of_16[PSM_SMALL / 16 + 1]; /* as in psm_classes */
  _Alignas(sizeof(union way)) union way ways[];
};

/* The ways of a class to the next lie four times as far from each other as their shelves. */
_Static_assert(4 * sizeof(struct shelf) == 2 * sizeof(union way), "see shelf_of");
PSM_INLINE const struct shelf *shelf_of(const struct binding *binding, const union way *way) {
  uintptr_t distance = (uintptr_t)way - (uintptr_t)way_of((union way *)binding->ways, 0);
  const char *shelves = (const char *)binding->worker.segment->shelves;
  return (const struct shelf *)(const void *)(shelves + distance / 4);
}

struct thread {
  struct binding *last; /* that it used; never NULL */
  struct binding *bindings;
  struct worker bare; /* when there is no memory for a binding */
};

extern PSM_THREAD struct thread psm_thread;

PSM_INLINE bool binding_answers(const struct binding *binding, PSMHandle handle) {
  return likely(at_load(&binding->handle) == handle);
}

/** The calling thread's worker in a segment it may change.
 *
 *  Returns  the worker, or NULL with the thread's error set.
 */
struct worker *psm_worker_find(PSMHandle handle);

PSM_INLINE struct worker *psm_worker(PSMHandle handle) {
  struct binding *last = psm_thread.last;
  return binding_answers(last, handle) ? &last->worker : psm_worker_find(handle);
}

/** Give back what the calling thread keeps in a segment that it is about to leave. */
void psm_binding_empty(const struct segment *s);

/** The joining is over: no thread's binding answers any more. */
void psm_bindings_end(struct segment *s);

/** The same in a child by fork, where the other threads are gone. */
void psm_bindings_end_in_child(struct segment *s);

/** The open segment of a handle; NULL with the thread's error set. */
struct segment *psm_segment_find(PSMHandle handle);

/** The same, but also one that only waits for children. */
struct segment *psm_segment_find_any(PSMHandle handle);

/** The segment an address lies in, or NULL, quietly. */
struct segment *psm_segment_holding(const void *address);

/** The segment of a file, or NULL, quietly. Under the opening lock. */
struct segment *psm_segment_of_file(const struct os_identity *identity);

/** Under the opening lock. */
void psm_segment_register(struct segment *s);
void psm_segment_unregister(struct segment *s);
struct segment *psm_segment_first(void);

/** One thread at a time opens, closes or forks. */
void psm_opening_lock(void);
void psm_opening_unlock(void);

/** Both locks of this floor, around fork. */
void psm_process_lock(void);
void psm_process_unlock(void);

uint64_t psm_next_serial(void);

#endif
