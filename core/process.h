/* What only this process knows: its segments, and its threads' caches. */
#ifndef PSM_PROCESS_H
#define PSM_PROCESS_H

#include "view.h"

struct binding;

/* The segment that this thread used last. */
struct thread {
  PSMHandle handle; /* NULL unless the worker has a cache */
  uint64_t epoch;
  const struct psm_classes *classes;
  uint64_t size; /* bytes of the segment */
  struct worker worker;
  struct binding *bindings;
};

extern PSM_THREAD struct thread psm_thread;

/* Grows whenever a handle may have come to mean something else. */
extern _Atomic uint64_t psm_epoch;

/** The calling thread's worker in a segment it may change.
 *
 *  Returns  the worker, or NULL with the thread's error set.
 */
struct worker *psm_worker_find(PSMHandle handle);

PSM_INLINE bool thread_ready(const struct thread *t, PSMHandle handle) {
  return likely(t->handle == handle && t->epoch == at_load(&psm_epoch));
}

PSM_INLINE struct worker *psm_worker(PSMHandle handle) {
  return thread_ready(&psm_thread, handle) ? &psm_thread.worker : psm_worker_find(handle);
}

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
