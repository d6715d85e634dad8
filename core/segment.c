/* Create, join and leave happen under a kernel lock of the whole file.
 *
 * A new file gets its header first, in state CREATING, and READY last: a file
 * that is not ready while nobody holds the lock is a dead creator's. After
 * locking, the path must still name this file, else somebody removed it.
 */
#include "segment.h"

#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "commit.h"
#include "process.h"
#include "reap.h"
#include "roster.h"
#include "slab.h"
#include "span.h"

/* One attempt to open; what is undone if it fails. */
struct opening {
  PSMOptions options;
  char path[OS_PATH_MAX];
  os_file file;
  struct os_identity identity;
  uint64_t file_size;
  bool created; /* the file is new: removed again on failure */
  bool readonly;
  bool adopted; /* mapped already by another copy of the library */
  struct header_shm header;
  struct geometry geometry;
};

/* ---- From the name to a locked file ---- */

static int file_open_locked(struct opening *o) {
  int how = o->readonly ? OS_READ : OS_WRITE;
  if ((o->options.flags & PSM_OPEN_JOIN) == 0) how |= OS_CREATE;
  uint32_t mode = o->options.mode != 0 ? o->options.mode : 0600;
  for (;;) {
    bool created;
    int result = os_file_open(o->path, how, mode, &o->file, &created);
    if (result == PSM_E_NOT_FOUND)
      return psm_fail(PSM_E_NOT_FOUND, "there is no segment '%.200s' to join", o->path);
    if (result != PSM_OK) return result;
    result = os_file_lock(o->file);
    if (result == PSM_OK) result = os_file_inspect(o->file, &o->identity, &o->file_size);
    if (result == PSM_OK && os_path_is(o->path, &o->identity)) {
      o->created = created;
      return PSM_OK;
    }
    os_file_close(o->file);
    o->file = OS_NO_FILE;
    if (result != PSM_OK) return result;
  }
}

/* ---- What the file is ---- */

enum verdict { VERDICT_CREATE, VERDICT_JOIN, VERDICT_REUSE, VERDICT_REFUSE };

static enum verdict refuse(int code, const struct opening *o) {
  (void)psm_fail(code, "'%.150s': %s", o->path, psm_sentence(code));
  return VERDICT_REFUSE;
}

/* The two bytes that tell lie at the same place in every platform's header. */
static enum verdict refuse_foreign(const struct opening *o) {
  struct header_shm own;
  psm_header_fill(&own, &(struct geometry){0});
  (void)psm_fail(PSM_E_PLATFORM,
                 "'%.120s' is shared by %d-bit %s-endian processes, and this one is %d-bit "
                 "%s-endian: use another name, or remove the file if nobody uses it",
                 o->path, o->header.pointer_size * 8, o->header.byte_order == 2 ? "big" : "little",
                 own.pointer_size * 8, own.byte_order == 2 ? "big" : "little");
  return VERDICT_REFUSE;
}

static enum verdict file_judge(struct opening *o) {
  size_t got = 0;
  if (o->file_size == 0) return VERDICT_CREATE;
  memset(&o->header, 0, sizeof o->header);
  if (os_file_read(o->file, &o->header, sizeof o->header, 0, &got) != PSM_OK) return VERDICT_REFUSE;
  int result = psm_header_judge(&o->header, o->file_size, &o->geometry);
  psm_clear_error();
  bool dead_creators = (result == PSM_OK || result == PSM_E_TRUNCATED) && got == sizeof o->header &&
                       at_load(&o->header.state) != STATE_READY;
  if (dead_creators) return VERDICT_CREATE;
  if (result != PSM_OK) {
    bool exclusive = (o->options.flags & PSM_OPEN_EXCLUSIVE) != 0;
    if (result == PSM_E_PLATFORM && !exclusive) return refuse_foreign(o);
    return refuse(exclusive ? PSM_E_EXISTS : result, o);
  }
  if (os_byte_held(o->file, BYTE_SEATS, PSM_SEATS, OS_TRY) ||
      os_byte_held(o->file, BYTE_READERS, 1, OS_SHARED))
    return VERDICT_JOIN;
  return at_load(&o->header.keep) != 0 ? VERDICT_REUSE : VERDICT_CREATE;
}

/* ---- Mapping ---- */

static void shelf_fill(struct shelf *shelf, const struct segment *s, uint32_t cls) {
  struct group_place place = psm_groups_at(&s->geometry, cls);
  shelf->free = s->base + place.free;
  shelf->stride = place.stride;
  shelf->owners = (int32_t)((int64_t)place.owners - (int64_t)place.free);
  shelf->notable = s->classes->at[cls].notable;
}

static void view_fill(struct segment *s, const struct geometry *g) {
  s->base = (char *)(uintptr_t)g->base;
  s->geometry = *g;
  s->classes = g->classes;
  s->shift = g->shift;
  s->slab_size = g->slab_size;
  s->data = g->data;
  s->data_size = (uint64_t)g->units << g->shift;
  s->header = (struct header_shm *)(void *)s->base;
  s->roster = (struct seat_shm *)(void *)(s->base + g->roster);
  s->spans = (struct spans_shm *)(void *)(s->base + g->spans);
  s->table = (_Atomic uint32_t *)(void *)(s->base + g->table);
  s->committed = (_Atomic uint64_t *)(void *)(s->base + g->committed);
  s->bins = (_Atomic uint32_t *)(void *)(s->base + g->bin_heads);
  s->owners = (_Atomic uint32_t *)(void *)(s->base + g->owners);
  s->grants = (_Atomic uint32_t *)(void *)(s->base + g->grants);
  s->deaths = (struct death_shm *)(void *)(s->base + g->deaths);
  s->slabs = s->base + g->slabs;
  s->states = (_Atomic uint8_t *)(void *)(s->base + g->states);
  for (uint32_t cls = 0; cls < g->classes->count; cls++) shelf_fill(&s->shelves[cls], s, cls);
}

static int map(struct opening *o) {
  void *base = (void *)(uintptr_t)o->geometry.base;
  size_t size = (size_t)o->geometry.size;
  char what[200];
  int result = os_map(o->file, base, size, !o->readonly);
  if (result != PSM_E_ADDRESS) return result;
  if (os_range_is(base, size, &o->identity, !o->readonly)) {
    o->adopted = true;
    return PSM_OK;
  }
  os_range_describe(base, size, what, sizeof what);
  return psm_fail(PSM_E_ADDRESS, "'%.60s' belongs at %p, but there lies %.150s", o->path, base,
                  what);
}

static struct segment *segment_new(const struct opening *o) {
  struct segment *s = calloc(1, sizeof *s);
  char *path = malloc(strlen(o->path) + 1);
  if (s == NULL || path == NULL) {
    free(s);
    free(path);
    (void)psm_fail(PSM_E_SYSTEM, "this process has no memory left");
    return NULL;
  }
  memcpy(path, o->path, strlen(o->path) + 1);
  view_fill(s, &o->geometry);
  s->path = path;
  s->file = o->file;
  s->identity = o->identity;
  s->readonly = o->readonly;
  s->large_pages = (o->options.flags & PSM_OPEN_LARGE_PAGES) != 0;
  s->seat = s->parent_seat = s->child_seat = NO_SEAT;
  s->child_file = OS_NO_FILE;
  s->serial = psm_next_serial();
  s->touched = calloc((o->geometry.units + 63) / 64, sizeof *s->touched);
  s->anchor = os_anchor(o->file);
  at_store(&s->uses, 1);
  return s;
}

static void anchor_weigh(struct segment *s) {
  if (s->anchor != NULL) os_unmap(s->anchor, os_page_size());
  s->anchor = NULL;
}

static void segment_delete(struct segment *s) {
  anchor_weigh(s);
  free((void *)s->touched);
  free(s->path);
  free(s);
}

/* ---- Create ---- */

static int size_refused(const struct opening *o, uint64_t size) {
  if (size == 0) return psm_fail(PSM_E_SIZE, "'%.180s' must be created: give its size", o->path);
  return psm_fail(PSM_E_SIZE, "%llu bytes are %s for a segment: it takes %d bytes to %s",
                  (unsigned long long)size, size < PSM_SIZE_MIN ? "too few" : "too many",
                  PSM_SIZE_MIN, PSM_SIZE_BITS == 45 ? "32 TiB" : "2 GiB");
}

static int address_given(struct opening *o, uint64_t size) {
  uint64_t base = (uintptr_t)o->options.address;
  char what[200];
  if (base % os_page_size() != 0)
    return psm_fail(PSM_E_INVALID, "the address %p is not a multiple of the page size, %zu",
                    o->options.address, os_page_size());
  if (!psm_geometry(&o->geometry, size, base)) return size_refused(o, size);
  if (os_range_free(o->options.address, (size_t)size)) return PSM_OK;
  os_range_describe(o->options.address, (size_t)size, what, sizeof what);
  return psm_fail(PSM_E_ADDRESS, "the address %p cannot be had: there lies %.200s",
                  o->options.address, what);
}

static int address_settle(struct opening *o, uint32_t attempt) {
  uint64_t size = o->options.size;
  if (size == 0 || !psm_geometry(&o->geometry, size, 0)) return size_refused(o, size);
  if (o->options.address != NULL) return address_given(o, size);
  return psm_address_choose(o->path, size, attempt, &o->geometry);
}

/* What must be there before the file is mapped: all that is touched without
 * being committed first. */
static int file_prepare(struct opening *o) {
  const struct geometry *g = &o->geometry;
  struct header_shm header;
  psm_header_fill(&header, g);
  int result = os_file_resize(o->file, 0);
  if (result == PSM_OK) result = os_file_write(o->file, &header, sizeof header, 0);
  if (result == PSM_OK) result = os_file_resize(o->file, g->size);
  if (result == PSM_OK && os_file_commit(o->file, 0, g->eager) != PSM_OK)
    result = psm_fail(PSM_E_NOSPACE, "no room for the %llu bytes that '%.120s' needs at first",
                      (unsigned long long)g->eager, o->path);
  return result;
}

static int heap_begin(struct segment *s) {
  const struct geometry *g = &s->geometry;
  int result = psm_commit(s, 0, g->eager);
  if (result == PSM_OK) result = psm_commit(s, g->slabs, g->slab_size);
  if (result == PSM_OK) result = psm_commit(s, g->cache_area, g->cache_size);
  if (result != PSM_OK) return psm_fail(result, "no room to begin '%.180s'", s->path);
  psm_span_begin(s);
  return PSM_OK;
}

static int seat_take(struct segment *s) {
  s->seat = psm_seat_claim(s, s->file, false);
  bool taken_over = s->seat == NO_SEAT;
  if (taken_over) s->seat = psm_seat_claim(s, s->file, true);
  if (s->seat == NO_SEAT)
    return psm_fail(PSM_E_MEMBERS, "all %d seats of '%.160s' are taken: a process must leave first",
                    PSM_SEATS, s->path);
  s->tag = psm_seat_tag(s, s->seat);
  if (taken_over) {
    psm_span_lock(s);
    psm_seat_bury(s, s->seat);
    psm_seat_wipe(s, s->seat);
    (void)psm_reap_dead(s); /* the house was full: it is time */
    psm_span_unlock(s);
  }
  psm_seat_occupy(s, s->seat);
  return PSM_OK;
}

static int create(struct opening *o, struct segment **segment) {
  int result = PSM_E_ADDRESS;
  bool begun = false;
  for (uint32_t attempt = 0; attempt < 4 && result == PSM_E_ADDRESS; attempt++) {
    result = address_settle(o, attempt);
    if (result != PSM_OK) break;
    begun = true;
    result = file_prepare(o);
    if (result == PSM_OK) result = map(o);
    if (o->options.address != NULL) break;
  }
  if (result != PSM_OK) goto undo_file;
  struct segment *s = segment_new(o);
  result = s != NULL ? heap_begin(s) : PSM_E_SYSTEM;
  if (result == PSM_OK) result = seat_take(s);
  if (result != PSM_OK) goto undo_map;
  if ((o->options.flags & PSM_OPEN_KEEP) != 0) at_store(&s->header->keep, KEEP_FILE);
  at_store_release(&s->header->state, STATE_READY);
  *segment = s;
  return PSM_OK;

undo_map:
  if (s != NULL) segment_delete(s);
  os_unmap((void *)(uintptr_t)o->geometry.base, (size_t)o->geometry.size);
undo_file:
  if (o->created)
    os_file_remove(o->path);
  else if (begun)
    (void)os_file_resize(o->file, 0);
  return result;
}

/* ---- Join ---- */

static int join_fits(const struct opening *o, uint64_t size, uint64_t base) {
  if (o->options.size != 0 && o->options.size != size)
    return psm_fail(PSM_E_SIZE, "'%.140s' has %llu bytes, not %llu: give its size, or 0 to PSMopen",
                    o->path, (unsigned long long)size, (unsigned long long)o->options.size);
  if (o->options.address != NULL && (uintptr_t)o->options.address != base)
    return psm_fail(PSM_E_ADDRESS, "'%.160s' lies at 0x%llx in all its members, not at %p", o->path,
                    (unsigned long long)base, o->options.address);
  return PSM_OK;
}

static int join(struct opening *o, struct segment **segment) {
  int result = join_fits(o, o->header.size, o->header.base);
  if (result == PSM_OK) result = map(o);
  if (result != PSM_OK) return result;
  struct segment *s = segment_new(o);
  result = s != NULL ? PSM_OK : PSM_E_SYSTEM;
  if (result == PSM_OK && o->readonly)
    result = os_byte_lock(s->file, BYTE_READERS, OS_WAIT | OS_SHARED);
  else if (result == PSM_OK)
    result = seat_take(s);
  if (result != PSM_OK) {
    if (s != NULL) segment_delete(s);
    if (!o->adopted) os_unmap((void *)(uintptr_t)o->geometry.base, (size_t)o->geometry.size);
    return result;
  }
  if (!o->readonly) {
    if ((o->options.flags & PSM_OPEN_KEEP) != 0) at_store(&s->header->keep, KEEP_FILE);
    psm_span_lock(s);
    psm_reap_some(s);
    psm_span_unlock(s);
  }
  *segment = s;
  return PSM_OK;
}

/* ---- Open ---- */

/* The segment is open in this process, or only waits for children. */
static int open_again(const struct opening *o, struct segment *s) {
  int result = join_fits(o, s->geometry.size, s->geometry.base);
  if (result == PSM_OK && s->seat == NO_SEAT && !s->readonly)
    result = psm_fail(PSM_E_MEMBERS,
                      "no seat was free in '%.160s' at the fork: leave and join again", o->path);
  if (result != PSM_OK) return result;
  if ((o->options.flags & PSM_OPEN_KEEP) != 0 && !s->readonly)
    at_store(&s->header->keep, KEEP_FILE);
  if (at_add(&s->uses, 1) == 0 && s->seat != NO_SEAT) psm_seat_occupy(s, s->seat);
  return PSM_OK;
}

static int open_locked(struct opening *o, struct segment **segment) {
  struct segment *s = psm_segment_of_file(&o->identity);
  if (s != NULL) {
    int result = (o->options.flags & PSM_OPEN_EXCLUSIVE) != 0
                     ? psm_fail(PSM_E_EXISTS, "this process has '%.180s' open already", o->path)
                     : open_again(o, s);
    if (result == PSM_OK) *segment = s;
    os_file_close(o->file);
    return result;
  }
  int result;
  enum verdict verdict = file_judge(o);
  if (verdict == VERDICT_REFUSE)
    result = psm_last_error();
  else if (verdict == VERDICT_CREATE && (o->options.flags & PSM_OPEN_JOIN) != 0)
    result = psm_fail(PSM_E_NOT_FOUND, "nobody uses '%.200s': there is nothing to join", o->path);
  else if (verdict == VERDICT_CREATE)
    result = create(o, segment);
  else if ((o->options.flags & PSM_OPEN_EXCLUSIVE) != 0)
    result = psm_fail(PSM_E_EXISTS, "the segment '%.180s' exists already", o->path);
  else
    result = join(o, segment);
  if (result != PSM_OK) {
    os_file_close(o->file);
    return result;
  }
  psm_segment_register(*segment);
  os_file_unlock(o->file);
  return PSM_OK;
}

/* Refuse before a file is made. */
static int options_check(const struct opening *o) {
  const PSMOptions *options = &o->options;
  struct geometry unused;
  if ((options->flags & ~31u) != 0)
    return psm_fail(PSM_E_INVALID, "the flags 0x%x hold unknown bits", options->flags);
  if ((options->mode & ~07777u) != 0)
    return psm_fail(PSM_E_INVALID, "the mode 0%o holds more than permission bits", options->mode);
  if ((options->flags & PSM_OPEN_JOIN) != 0 && (options->flags & PSM_OPEN_EXCLUSIVE) != 0)
    return psm_fail(PSM_E_INVALID, "to join only and to create only exclude each other");
  if (options->size != 0 && !psm_geometry(&unused, options->size, 0))
    return size_refused(o, options->size);
  return PSM_OK;
}

int psm_segment_open(const char *name, const PSMOptions *options, struct segment **segment) {
  struct opening *o = calloc(1, sizeof *o);
  *segment = NULL;
  if (o == NULL) return psm_fail(PSM_E_SYSTEM, "this process has no memory left");
  o->options = *options;
  o->readonly = (options->flags & PSM_OPEN_READONLY) != 0;
  if (o->readonly || (options->size == 0 && (options->flags & PSM_OPEN_EXCLUSIVE) == 0))
    o->options.flags |= PSM_OPEN_JOIN;
  int result = options_check(o);
  if (result == PSM_OK) result = os_path_resolve(name, o->path);
  if (result == PSM_OK) {
    psm_opening_lock();
    psm_segments_sweep();
    result = file_open_locked(o);
    if (result == PSM_OK) result = open_locked(o, segment);
    psm_opening_unlock();
  }
  free(o);
  return result;
}

/* ---- Leave ---- */

static void seat_leave(struct segment *s) {
  psm_span_lock(s);
  psm_seat_flush(s, s->seat);
  psm_span_unlock(s);
}

void psm_segment_leave(struct segment *s) {
  psm_binding_empty(s);
  psm_segment_unregister(s);
  bool has_file = !s->lost && psm_file_regain(s);
  if (has_file) (void)os_file_lock(s->file);
  if (s->seat != NO_SEAT) seat_leave(s);
  bool last = has_file && !psm_others_alive(s) && at_load(&s->header->keep) == 0 &&
              os_path_is(s->path, &s->identity);
  int seat = s->seat;
  anchor_weigh(s);
  bool shared = !s->lost && psm_mapping_shared(s);
  if (seat != NO_SEAT) psm_seat_vacate(s, seat, at_load(&s->roster[seat].tenure));
  if (!shared) os_unmap(s->base, (size_t)s->geometry.size);
  if (last) os_file_remove(s->path);
  if (has_file) {
    /* A mapping that another copy of the library still uses keeps the locks. */
    if (seat != NO_SEAT) os_byte_unlock(s->file, BYTE_SEATS + (uint64_t)seat);
    if (s->readonly) os_byte_unlock(s->file, BYTE_READERS);
    os_file_unlock(s->file);
    os_file_close(s->file);
  }
  segment_delete(s);
}

/* One that only waited for children, who have all come. */
static bool is_over(const struct segment *s) {
  return at_load(&s->uses) == 0 && s->seat != NO_SEAT && at_load(&s->roster[s->seat].pending) == 0;
}

void psm_segments_sweep(void) {
  for (struct segment *s = psm_segment_first(), *next; s != NULL; s = next) {
    next = s->next;
    if (is_over(s)) psm_segment_leave(s);
  }
}

static int close_locked(PSMHandle handle) {
  struct segment *s = psm_segment_find_any(handle);
  if (s != NULL && !s->lost) s = psm_segment_find(handle);
  if (s == NULL) return PSM_E_HANDLE;
  int uses = (int)at_add(&s->uses, -1) - 1;
  if (s->inherited_uses > uses) s->inherited_uses = uses;
  if (uses > 0) return PSM_OK;
  struct seat_shm *seat = s->seat != NO_SEAT ? &s->roster[s->seat] : NULL;
  if (seat == NULL || at_load(&seat->pending) == 0) {
    psm_segment_leave(s);
    return PSM_OK;
  }
  psm_binding_empty(s);
  psm_bindings_end(s);
  seat_leave(s);
  s->serial = psm_next_serial();
  (void)at_exchange(&seat->tenure, (at_load(&seat->tenure) & ~3u) | SEAT_LEFT);
  /* The last child may have come and left meanwhile, and taken us for a member. */
  if (at_load_ordered(&seat->pending) == 0) psm_segment_leave(s);
  return PSM_OK;
}

int psm_segment_close(PSMHandle handle) {
  psm_opening_lock();
  int result = close_locked(handle);
  psm_opening_unlock();
  return result;
}
