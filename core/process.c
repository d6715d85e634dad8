/* The list of open segments, and for each thread the caches it has claimed.
 *
 * A thread keeps its last binding at hand, and knows a binding to a joining by
 * the serial: it survives neither leaving and joining again nor a fork. One that
 * is over answers to no handle; only its own thread frees it.
 */
#include "process.h"

#include <stdlib.h>
#include <string.h>

#include "cache.h"

static struct binding nobody = {.handle = (PSMHandle)&nobody};

PSM_THREAD struct thread psm_thread = {.last = &nobody};

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

static void binding_free(struct binding *binding) {
  psm_magazines_free(binding->ways);
  free(binding->memory);
}

/* No handle is the address of a binding. */
static void binding_end(struct binding *binding) {
  at_store(&binding->handle, (PSMHandle)(void *)binding);
}

static void bindings_end(struct segment *s) {
  for (struct binding *b = s->bindings; b != NULL; b = b->sibling) binding_end(b);
  s->bindings = NULL;
}

void psm_bindings_end(struct segment *s) {
  os_mutex_lock(&list_mutex);
  bindings_end(s);
  os_mutex_unlock(&list_mutex);
}

void psm_segment_unregister(struct segment *s) {
  os_mutex_lock(&list_mutex);
  for (struct segment **at = &segments; *at != NULL; at = &(*at)->next) {
    if (*at != s) continue;
    *at = s->next;
    break;
  }
  bindings_end(s);
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

static void binding_unlink(struct segment *s, const struct binding *binding) {
  struct binding **at = &s->bindings;
  while (*at != NULL && *at != binding) at = &(*at)->sibling;
  if (*at != NULL) *at = binding->sibling;
}

static void binding_drop(struct binding *binding) {
  for (struct segment *s = segments; s != NULL; s = s->next) {
    if (s->serial != binding->serial) continue;
    binding_unlink(s, binding);
    if (binding->worker.cache == NULL) continue;
    psm_magazines_empty(&binding->worker);
    psm_cache_release(s, binding->worker.id - 1);
  }
  binding_free(binding);
}

static bool is_own(const struct binding *binding) {
  const struct binding *own = psm_thread.bindings;
  while (own != NULL && own != binding) own = own->next;
  return own != NULL;
}

void psm_bindings_end_in_child(struct segment *s) {
  for (struct binding *b = s->bindings, *next; b != NULL; b = next) {
    next = b->sibling;
    binding_end(b);
    if (!is_own(b)) binding_free(b);
  }
  s->bindings = NULL;
}

static void thread_end(void *unused) {
  (void)unused;
  os_mutex_lock(&list_mutex);
  psm_thread.last = &nobody;
  while (psm_thread.bindings != NULL) {
    struct binding *binding = psm_thread.bindings;
    psm_thread.bindings = binding->next;
    binding_drop(binding);
  }
  os_mutex_unlock(&list_mutex);
}

static void watch_prepare(void) { os_on_thread_exit(thread_end); }

void psm_binding_empty(const struct segment *s) {
  for (struct binding *b = psm_thread.bindings; b != NULL; b = b->next)
    if (b->serial == s->serial && b->worker.cache != NULL) psm_magazines_empty(&b->worker);
}

static bool serial_listed(uint64_t serial) {
  struct segment *s = segments;
  while (s != NULL && s->serial != serial) s = s->next;
  return s != NULL;
}

/* The thread's binding to a joining; frees those whose joining is over. */
static struct binding *binding_find(uint64_t serial) {
  struct binding *found = NULL;
  psm_thread.last = &nobody;
  for (struct binding **at = &psm_thread.bindings; *at != NULL;) {
    struct binding *binding = *at;
    if (binding->serial == serial) found = binding;
    if (!serial_listed(binding->serial)) {
      *at = binding->next;
      binding_free(binding);
    } else {
      at = &binding->next;
    }
  }
  return found;
}

/* All caches may be taken now and not later: try again each time. */
static void binding_equip(struct binding *binding) {
  struct worker *worker = &binding->worker;
  struct segment *s = worker->segment;
  if (worker->cache != NULL) return;
  uint32_t cache = psm_cache_claim(s);
  if (cache == 0) return;
  worker->cache = cache_at(s, cache);
  worker->id = cache + 1;
  worker->ways = binding->ways;
  worker->pressure = at_load(&s->spans->pressure);
  binding->mark = keeper_mark(worker->id);
  psm_ways_begin(s, worker->cache, binding->ways);
  at_store(&binding->handle, (PSMHandle)(void *)s->base);
}

static struct binding *binding_new(struct segment *s) {
  enum { LINE = sizeof(union way) };
  void *memory = malloc(sizeof(struct binding) + WAYS * sizeof(union way) + LINE);
  if (memory == NULL) return NULL;
  struct binding *b = (struct binding *)(uintptr_t)round_up((uintptr_t)memory, LINE);
  b->memory = memory;
  binding_end(b);
  b->small_max = s->classes->small_max;
  memcpy(b->class_of_16, s->classes->of_16, sizeof b->class_of_16);
  b->data = (uintptr_t)s->base + (uintptr_t)s->data;
  b->data_size = s->data_size;
  b->shift = s->shift;
  b->unit_mask = (UINT32_C(1) << s->shift) - 1;
  b->states = states_for(s);
  b->worker = (struct worker){s, NULL, NULL, NO_CACHE_ID, false, 0, 0};
  b->serial = s->serial;
  memset(b->ways, 0, WAYS * sizeof *b->ways);
  b->next = psm_thread.bindings;
  psm_thread.bindings = b;
  b->sibling = s->bindings;
  s->bindings = b;
  os_run_once(&watch_once, watch_prepare);
  os_thread_watch(&psm_thread);
  return b;
}

static struct worker *bind(struct segment *s) {
  struct binding *binding = binding_find(s->serial);
  if (binding == NULL) binding = binding_new(s);
  if (binding == NULL) {
    psm_thread.bare = (struct worker){s, NULL, NULL, NO_CACHE_ID, false, 0, 0};
    return &psm_thread.bare;
  }
  binding_equip(binding);
  psm_thread.last = binding;
  return &binding->worker;
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
    worker = bind(s);
  os_mutex_unlock(&list_mutex);
  return worker;
}
