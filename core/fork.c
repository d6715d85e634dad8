/* The parent takes the child's seat before it forks, on a file of its own that
 * the child inherits: the kernel's lock is the child's from its first
 * instruction, and is gone if the fork fails or the child dies. The child maps
 * the segment anew, from that file: its copy of the parent's mapping would keep
 * the parent's lock, and the parent's seat would look alive as long as it.
 */
#include "fork.h"

#include "magazine.h"
#include "process.h"
#include "reap.h"
#include "roster.h"
#include "segment.h"
#include "span.h"

static os_once watch_fork_once = OS_ONCE_INIT;

static void seat_reserve(struct segment *s) {
  s->child_seat = NO_SEAT;
  s->child_file = OS_NO_FILE;
  if (!s->readonly && s->seat == NO_SEAT) return;
  int how = s->readonly ? OS_READ : OS_WRITE;
  if (os_file_reopen(s->file, s->path, &s->identity, how, &s->child_file) != PSM_OK) {
    s->child_file = OS_NO_FILE;
    return;
  }
  if (s->readonly) {
    (void)os_byte_lock(s->child_file, BYTE_READERS, OS_WAIT | OS_SHARED);
    return;
  }
  s->child_seat = psm_seat_claim(s, s->child_file, false);
  if (s->child_seat != NO_SEAT) return;
  psm_span_lock(s);
  (void)psm_reap_dead(s);
  psm_span_unlock(s);
  s->child_seat = psm_seat_claim(s, s->child_file, false);
}

static void before_fork(void) {
  psm_opening_lock();
  psm_segments_sweep();
  psm_opening_unlock();
  psm_process_lock();
  psm_magazines_lock();
  bool hushed = psm_hush(true);
  for (struct segment *s = psm_segment_first(); s != NULL; s = s->next) seat_reserve(s);
  (void)psm_hush(hushed);
}

static void after_fork_parent(void) {
  for (struct segment *s = psm_segment_first(); s != NULL; s = s->next) {
    if (s->child_file != OS_NO_FILE) os_file_close(s->child_file);
    s->child_file = OS_NO_FILE;
    s->child_seat = NO_SEAT;
  }
  psm_magazines_unlock();
  psm_process_unlock();
}

/* What the parent itself was entitled to and has not used passes on. */
static void parent_remember(struct segment *s) {
  uint32_t pending = at_load(&s->roster[s->seat].pending);
  s->inherited_uses = at_load(&s->uses);
  if (pending == 0 && s->inherited > 0) return;
  s->parent_seat = s->seat;
  s->parent_tenure = at_load(&s->roster[s->seat].tenure);
  s->inherited = pending;
}

static void pages_forget(struct segment *s) {
  for (uint32_t i = 0; s->touched != NULL && i < (s->geometry.units + 63) / 64; i++)
    at_store(&s->touched[i], 0);
}

/* The parent had no descriptor to spare: there is one now that its own is
 * closed here. The segment may have ended meanwhile. */
static void child_open(struct segment *s) {
  int how = s->readonly ? OS_READ : OS_WRITE;
  if (os_file_reopen(OS_NO_FILE, s->path, &s->identity, how, &s->child_file) != PSM_OK) {
    s->child_file = OS_NO_FILE;
    return;
  }
  (void)os_file_lock(s->child_file);
  if (!os_path_is(s->path, &s->identity)) {
    os_file_close(s->child_file);
    s->child_file = OS_NO_FILE;
    return;
  }
  if (s->readonly)
    (void)os_byte_lock(s->child_file, BYTE_READERS, OS_WAIT | OS_SHARED);
  else
    s->child_seat = psm_seat_claim(s, s->child_file, false);
  os_file_unlock(s->child_file);
}

/* Whatever comes of it: the parent's open file does not stay mapped here. */
static void child_map(struct segment *s) {
  pages_forget(s);
  if (s->anchor != NULL) os_unmap(s->anchor, os_page_size());
  s->anchor = NULL;
  if (s->child_file != OS_NO_FILE &&
      os_remap(s->child_file, s->base, (size_t)s->geometry.size, !s->readonly)) {
    s->anchor = os_anchor(s->child_file);
    return;
  }
  os_map_nothing(s->base, (size_t)s->geometry.size);
  s->lost = true;
}

static void child_sit_down(struct segment *s) {
  s->serial = psm_next_serial();
  bool member = s->readonly || s->seat != NO_SEAT;
  if (s->seat != NO_SEAT) parent_remember(s);
  if (os_file_is(s->file, &s->identity)) os_file_close(s->file);
  if (member && s->child_file == OS_NO_FILE) child_open(s);
  if (member) child_map(s);
  s->file = s->child_file;
  s->seat = s->lost ? NO_SEAT : s->child_seat;
  s->tag = 0;
  s->child_file = OS_NO_FILE;
  s->child_seat = NO_SEAT;
  if (s->seat == NO_SEAT) return;
  psm_seat_occupy(s, s->seat);
  s->tag = psm_seat_tag(s, s->seat);
}

static void after_fork_child(void) {
  bool hushed = psm_hush(true);
  for (struct segment *s = psm_segment_first(); s != NULL; s = s->next) {
    psm_bindings_end_in_child(s);
    child_sit_down(s);
  }
  (void)psm_hush(hushed);
  psm_magazines_unlock();
  psm_process_unlock();
}

static void watch_fork(void) { os_on_fork(before_fork, after_fork_parent, after_fork_child); }

void psm_fork_watch(void) { os_run_once(&watch_fork_once, watch_fork); }

/* ---- The inherit calls ---- */

enum { PENDING_MAX = 0xffff };

static bool count_down(_Atomic uint32_t *count) {
  uint32_t seen = at_load(count);
  while (seen > 0)
    if (at_cas(count, &seen, seen - 1)) return true;
  return false;
}

static int prepare_locked(PSMHandle handle) {
  struct segment *s = psm_segment_find(handle);
  if (s == NULL) return PSM_E_HANDLE;
  if (s->readonly || s->seat == NO_SEAT)
    return psm_fail(PSM_E_READONLY, "a process without a seat cannot announce a child");
  if (at_load(&s->roster[s->seat].pending) >= PENDING_MAX)
    return psm_fail(PSM_E_STATE, "%d children are announced already", PENDING_MAX);
  (void)at_add(&s->roster[s->seat].pending, 1);
  return PSM_OK;
}

/* The parent's seat counts as long as it is the parent's; after its death
 * the child relies on what it saw at the fork. */
static bool parent_agrees(struct segment *s) {
  struct seat_shm *parent = &s->roster[s->parent_seat];
  uint32_t tenure = at_load_acquire(&parent->tenure);
  if (tenure >> 2 != s->parent_tenure >> 2 || seat_state(tenure) == SEAT_EMPTY) return true;
  return count_down(&parent->pending);
}

static int execute_locked(PSMHandle handle) {
  struct segment *s = psm_segment_find_any(handle);
  if (s == NULL) return PSM_E_HANDLE;
  if (s->parent_seat == NO_SEAT || s->seat == NO_SEAT)
    return psm_fail(PSM_E_STATE, "this process is no child that has inherited the segment");
  if (s->inherited == 0 || !parent_agrees(s))
    return psm_fail(PSM_E_STATE, "the parent has not prepared this inheritance");
  s->inherited--;
  (void)at_add(&s->uses, 1 - s->inherited_uses);
  s->inherited_uses = 0;
  return PSM_OK;
}

static int cancel_locked(PSMHandle handle) {
  struct segment *s = psm_segment_find_any(handle);
  if (s == NULL) return PSM_E_HANDLE;
  if (s->seat == NO_SEAT || !count_down(&s->roster[s->seat].pending))
    return psm_fail(PSM_E_STATE, "nothing is prepared that could be cancelled");
  if (at_load(&s->uses) == 0 && at_load(&s->roster[s->seat].pending) == 0) psm_segment_leave(s);
  return PSM_OK;
}

static int locked(int (*step)(PSMHandle), PSMHandle handle) {
  psm_opening_lock();
  int result = step(handle);
  psm_opening_unlock();
  return result;
}

int psm_inherit_prepare(PSMHandle handle) { return locked(prepare_locked, handle); }
int psm_inherit_execute(PSMHandle handle) { return locked(execute_locked, handle); }
int psm_inherit_cancel(PSMHandle handle) { return locked(cancel_locked, handle); }
