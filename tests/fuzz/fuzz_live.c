/* A live segment under hostile writes: the input is a program of calls and of overwritten metadata.
 *
 * Segments are made once and set back before each run from a copy of their metadata; the smaller
 * ones with their data. In each there are two threads of this process, a member that lives (its
 * seat is locked through another open file) and one that has died and left its caches.
 */
#include "program.h"

enum {
  KINDS = 3,
  OTHER_LIVING = 1,
  OTHER_DEAD = 2,
  RESTORE_MAX = 256 * 1024,
  COMMITTED_MIN = 16 << 20
};
enum { FRESH, USED, LOCKED };

struct world {
  struct segment *segment;
  int neighbour;
  char *images[KINDS];
  uint64_t restored; /* bytes of each image */
  struct binding *bindings[THREADS];
  struct {
    struct worker worker;
    union way ways[WAYS];
  } threads[KINDS][THREADS]; /* what they knew then */
};

/* Units of 4 KiB, 16 KiB and 64 KiB. The last has two words of hints on level 1, and counts as
 * committed: to ask the file system for so much takes long. */
static const uint64_t sizes[] = {
    UINT64_C(28) << 10, UINT64_C(64) << 10, UINT64_C(256) << 10,
    UINT64_C(1) << 20,  UINT64_C(5) << 20,  UINT64_C(320) << 20,
};
enum { WORLDS = sizeof sizes / sizeof *sizes };

static struct world worlds[WORLDS];
static struct binding *bindings[THREADS]; /* of all worlds */

/* ---- Worlds --------------------------------------------------------------- */

static void thread_begin(struct world *w, unsigned thread) {
  psm_thread = (struct thread){.last = &nobody, .bindings = bindings[thread]};
  CHECK(psm_worker((PSMHandle)(void *)w->segment->base) != NULL);
  bindings[thread] = psm_thread.bindings;
  w->bindings[thread] = psm_thread.bindings;
}

/* A member that lives, or has died, with what it took from the segment. */
static void other_begin(struct world *w, int seat) {
  struct segment *s = w->segment;
  struct seat_shm *shm = &s->roster[seat];
  struct worker worker = {s, NULL, NULL, NO_CACHE_ID, false, 0, 0};
  shm->pid = 4000 + (uint32_t)seat;
  shm->start = 77;
  shm->tenure = 9u << 2 | SEAT_JOINED;
  seat_count(s, (uint32_t)seat);
  if (seat == OTHER_LIVING) CHECK(os_byte_lock(w->neighbour, BYTE_SEATS + 1, OS_TRY) == PSM_OK);
  int own = s->seat;
  s->seat = seat;
  uint32_t cache = psm_cache_claim(s);
  s->seat = own;
  if (cache == 0) return;
  worker.cache = cache_at(s, cache);
  worker.id = cache + 1;
  for (uint32_t cls = 0; cls < s->classes->count; cls += 9) (void)psm_cache_refill(&worker, cls);
  worker.cache->to_block = unit_offset(s, 0);
  worker.cache->to_where = PSM_USER_OFFSET;
}

/* Blocks of many sizes, and holes between them. */
static void thread_use(struct world *w, unsigned thread) {
  PSMHandle handle = (PSMHandle)(void *)w->segment->base;
  void *blocks[60];
  uint64_t room = w->segment->data_size / 4;
  for (uint32_t i = 0; i < 60; i++) {
    uint64_t size = (uint64_t)i * i * (i % 3 + 1) + thread;
    blocks[i] = size <= room ? PSMalloc(handle, size) : NULL;
    if (size <= room) room -= size;
  }
  for (uint32_t i = 0; i < 60; i += i % 4 + 1) PSMfree(handle, blocks[i]);
}

/* The lock of one that died with intents of every kind. */
static void lock_leave(struct world *w) {
  struct spans_shm *spans = w->segment->spans;
  spans->marked = 1;
  spans->to_block = unit_offset(w->segment, w->segment->geometry.units - 1);
  spans->to_where = PSM_USER_OFFSET;
  spans->lock = psm_seat_tag(w->segment, OTHER_DEAD);
}

/* With magazines of their own. */
static void ways_copy(union way *to, const union way *from) {
  memcpy(to, from, WAYS * sizeof *to);
  for (uint32_t cls = 0; cls < PSM_CLASSES; cls++) {
    union way *way = way_of(to, cls);
    size_t room = (size_t)(way->free.limit - way->free.bottom);
    size_t holds = (size_t)(way->free.top - way->free.bottom);
    char **bottom = room > 0 ? stack_new(room) : NULL;
    CHECK(room == 0 || bottom != NULL);
    if (holds > 0) memcpy(bottom, way->free.bottom, holds * sizeof *bottom);
    way->free.bottom = bottom;
    way->free.top = room > 0 ? bottom + holds : NULL;
    way->free.limit = room > 0 ? bottom + room : NULL;
  }
}

static void image_take(struct world *w, int kind) {
  uint64_t data = w->segment->data;
  uint64_t size = w->segment->geometry.size;
  w->restored = size <= RESTORE_MAX ? size : data;
  w->images[kind] = malloc(w->restored);
  CHECK(w->images[kind] != NULL);
  memcpy(w->images[kind], w->segment->base, w->restored);
  for (unsigned i = 0; i < THREADS; i++) {
    w->threads[kind][i].worker = w->bindings[i]->worker;
    ways_copy(w->threads[kind][i].ways, w->bindings[i]->ways);
  }
}

static void world_begin(struct world *w, unsigned number, uint64_t size) {
  uint64_t base = UINT64_C(0x210000000000) + ((uint64_t)number << 36);
  char name[64];
  PSMHandle handle;
  PSMOptions options = {size, (void *)(uintptr_t)base, 0, PSM_OPEN_EXCLUSIVE};
  guard_pages(base, size);
  (void)snprintf(name, sizeof name, "/dev/shm/psm-fuzz-%d-%u", (int)getpid(), number);
  if (PSMopen(name, &options, &handle) != PSM_OK) FAIL("%s", PSMerrorString(PSMlastError()));
  w->neighbour = open(name, O_RDWR | O_CLOEXEC);
  CHECK(w->neighbour >= 0 && unlink(name) == 0);
  w->segment = psm_segment_find(handle);
  thread_begin(w, 0);
  w->bindings[1] = w->bindings[0];
  image_take(w, FRESH);
  thread_begin(w, 1);
  thread_use(w, 1);
  other_begin(w, OTHER_LIVING);
  other_begin(w, OTHER_DEAD);
  thread_begin(w, 0);
  thread_use(w, 0);
  CHECK(PSMcheck(handle) == PSM_OK);
  image_take(w, USED);
  lock_leave(w);
  image_take(w, LOCKED);
  for (int kind = 0; kind < KINDS && size > COMMITTED_MIN; kind++)
    memset(w->images[kind] + w->segment->geometry.committed, 0xff, w->segment->geometry.chunks / 8);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc, (void)argv;
  for (unsigned i = 0; i < WORLDS; i++) world_begin(&worlds[i], i, sizes[i]);
  return 0;
}

/* ---- A run ---------------------------------------------------------------- */

/* The large ones are slow to set back: few inputs go there. */
static struct world *choose_world(uint8_t byte) {
  static const uint8_t chances[WORLDS] = {30, 90, 70, 44, 20, 2};
  unsigned i = 0;
  while (i < WORLDS - 1 && byte >= chances[i]) byte = (uint8_t)(byte - chances[i++]);
  return &worlds[i];
}

static void world_reset(struct world *w, int kind) {
  memcpy(w->segment->base, w->images[kind], w->restored);
  memset(w->segment->touched, 0, (w->segment->geometry.units + 63) / 64 * 8);
  for (unsigned i = 0; i < THREADS; i++) {
    struct binding *b = w->bindings[i];
    b->worker = w->threads[kind][i].worker;
    psm_magazines_free(b->ways);
    ways_copy(b->ways, w->threads[kind][i].ways);
    if (b->worker.cache == NULL) binding_end(b);
  }
}

static void world_leave(struct world *w) {
  struct segment *s = w->segment;
  fuzz_call_begins();
  seat_leave(s);
  (void)psm_others_alive(s);
  (void)psm_mapping_shared(s);
  psm_seat_vacate(s, s->seat, at_load(&s->roster[s->seat].tenure));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
  struct input in = {bytes, bytes + count};
  static struct program p;
  memset(&p, 0, sizeof p);
  struct world *w = choose_world(input_8(&in));
  uint8_t form = input_8(&in);
  int kind = form % KINDS;
  fuzz_begins();
  world_reset(w, kind);
  p.in = &in;
  p.segment = w->segment;
  p.handle = (PSMHandle)(void *)w->segment->base;
  p.clean = kind != LOCKED;
  for (unsigned i = 0; i < THREADS; i++)
    p.threads[i] = (struct thread){.last = &nobody, .bindings = bindings[i]};
  psm_thread = p.threads[0];
  fuzz.target = (struct target){w->segment->base, &w->segment->geometry, w->segment->tag,
                                OTHER_LIVING, w->neighbour};
  program_run(&p);
  if (form & 0x80) world_leave(w);
  fuzz.armed = 0;
  return 0;
}
