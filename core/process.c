/* The list of open segments, and for each thread the caches it has claimed.
 *
 * A thread keeps its last worker at hand. That is valid while the epoch has
 * not changed; then a binding is known by the serial of a joining, so that it
 * survives neither leaving and joining again nor a fork.
 */
#include "process.h"

#include <stdlib.h>
#include <string.h>

#include "cache.h"

struct binding {
  struct worker worker;
  uint64_t serial;
  struct binding *next;
};

PSM_THREAD struct thread psm_thread;
_Atomic uint64_t psm_epoch = 1;

static os_mutex opening_mutex = OS_MUTEX_INIT;
static os_mutex list_mutex = OS_MUTEX_INIT; /* inside the opening lock */
static struct segment *segments;
static uint64_t last_serial;
static os_once watch_once = OS_ONCE_INIT;

void psm_opening_lock(void) { os_mutex_lock(&opening_mutex); }
void psm_opening_unlock(void) { os_mutex_unlock(&opening_mutex); }

void psm_process_lock(void) {
  os_mutex_lock(&opening_mutex);
  os_mutex_lock(&list_mutex);
}

void psm_process_unlock(void) {
  os_mutex_unlock(&list_mutex);
  os_mutex_unlock(&opening_mutex);
}

uint64_t psm_next_serial(void) { return ++last_serial; }

struct segment *psm_segment_first(void) {
  return segments;
}

void psm_segment_register(struct segment *s) {
  os_mutex_lock(&list_mutex);
  s->next = segments;
  segments = s;
  os_mutex_unlock(&list_mutex);
}

void psm_segment_unregister(struct segment *s) {
  os_mutex_lock(&list_mutex);
  for (struct segment **at = &segments; *at != NULL; at = &(*at)->next) {
    if (*at != s) continue;
    *at = s->next;
    break;
  }
  (void)at_add(&psm_epoch, 1);
  os_mutex_unlock(&list_mutex);
}

static struct segment *find_listed(PSMHandle handle) {
  struct segment *s = segments;
  while (s != NULL && (void *)s->base != (void *)handle) s = s->next;
  return s;
}

struct segment *psm_segment_find_any(PSMHandle handle) {
  os_mutex_lock(&list_mutex);
  struct segment *s = find_listed(handle);
  os_mutex_unlock(&list_mutex);
  if (s == NULL)
    (void)psm_fail(PSM_E_HANDLE, "%p is not the handle of a segment that this process has open",
                   (void *)handle);
  return s;
}

struct segment *psm_segment_find(PSMHandle handle) {
  struct segment *s = psm_segment_find_any(handle);
  if (s != NULL && s->lost) {
    (void)psm_fail(PSM_E_MEMBERS, "this process could not open '%.200s' when it was forked",
                   s->path);
    return NULL;
  }
  if (s == NULL || s->uses > 0) return s;
  (void)psm_fail(PSM_E_HANDLE, "this process has left the segment at %p", (void *)handle);
  return NULL;
}

struct segment *psm_segment_holding(const void *address) {
  os_mutex_lock(&list_mutex);
  struct segment *s = segments;
  for (; s != NULL; s = s->next)
    if (s->uses > 0 && !s->lost && (uintptr_t)address - (uintptr_t)s->base < s->geometry.size)
      break;
  os_mutex_unlock(&list_mutex);
  return s;
}

struct segment *psm_segment_of_file(const struct os_identity *identity) {
  struct segment *s = segments;
  while (s != NULL &&
         (s->identity.device != identity->device || s->identity.number != identity->number))
    s = s->next;
  return s;
}

/* ---- Threads ---- */

static void binding_drop(struct binding *binding) {
  for (struct segment *s = segments; s != NULL; s = s->next) {
    if (s->serial != binding->serial || binding->worker.cache == NULL) continue;
    psm_cache_release(s, binding->worker.id - 1);
  }
  free(binding);
}

static void thread_end(void *unused) {
  (void)unused;
  os_mutex_lock(&list_mutex);
  while (psm_thread.bindings != NULL) {
    struct binding *binding = psm_thread.bindings;
    psm_thread.bindings = binding->next;
    binding_drop(binding);
  }
  psm_thread.handle = NULL;
  os_mutex_unlock(&list_mutex);
}

static void watch_prepare(void) { os_on_thread_exit(thread_end); }

static bool serial_listed(uint64_t serial) {
  struct segment *s = segments;
  while (s != NULL && s->serial != serial) s = s->next;
  return s != NULL;
}

/* The thread's binding to a joining; drops those whose joining is over. */
static struct binding *binding_find(uint64_t serial) {
  struct binding *found = NULL;
  for (struct binding **at = &psm_thread.bindings; *at != NULL;) {
    struct binding *binding = *at;
    if (binding->serial == serial) found = binding;
    if (!serial_listed(binding->serial)) {
      *at = binding->next;
      free(binding);
    } else {
      at = &binding->next;
    }
  }
  return found;
}

static void worker_equip(struct worker *worker) {
  uint32_t cache = psm_cache_claim(worker->segment);
  if (cache == 0) return;
  worker->cache = cache_at(worker->segment, cache);
  worker->id = cache + 1;
}

/* All caches may be taken now and not later: try again each time. */
static void binding_equip(struct binding *binding) {
  if (binding == NULL || binding->worker.cache != NULL) return;
  worker_equip(&binding->worker);
}

static struct binding *binding_new(struct segment *s) {
  struct binding *binding = malloc(sizeof *binding);
  if (binding == NULL) return NULL;
  binding->worker = (struct worker){s, NULL, NO_CACHE_ID, false};
  binding->serial = s->serial;
  binding->next = psm_thread.bindings;
  psm_thread.bindings = binding;
  os_run_once(&watch_once, watch_prepare);
  os_thread_watch(&psm_thread);
  return binding;
}

static struct worker *bind(struct segment *s, PSMHandle handle) {
  struct thread *t = &psm_thread;
  struct binding *binding = binding_find(s->serial);
  if (binding == NULL) binding = binding_new(s);
  binding_equip(binding);
  t->worker = binding != NULL ? binding->worker : (struct worker){s, NULL, NO_CACHE_ID, false};
  t->handle = t->worker.cache != NULL ? handle : NULL;
  t->epoch = at_load(&psm_epoch);
  t->classes = s->classes;
  t->size = s->geometry.size;
  return &t->worker;
}

struct worker *psm_worker_find(PSMHandle handle) {
  struct worker *worker = NULL;
  os_mutex_lock(&list_mutex);
  struct segment *s = find_listed(handle);
  if (s == NULL || s->uses == 0)
    (void)psm_fail(PSM_E_HANDLE, "%p is not the handle of a segment that this process has open",
                   (void *)handle);
  else if (s->readonly)
    (void)psm_fail(PSM_E_READONLY, "this process has opened '%.200s' read-only", s->path);
  else if (s->seat == NO_SEAT)
    (void)psm_fail(PSM_E_MEMBERS, "no seat was free in '%.200s' when this process was forked",
                   s->path);
  else
    worker = bind(s, handle);
  os_mutex_unlock(&list_mutex);
  return worker;
}
