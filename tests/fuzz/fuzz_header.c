/* Files of all kinds are opened: the input is a file, or what differs from a valid segment.
 *
 * A file that is refused stays as it was, and the reason has a code. One that is joined is used by
 * a program of calls and left again. It is held by nobody, by a member (its seat is locked through
 * another open file) or by a reader.
 */
#include "program.h"

enum { PATCHES_MAX = 24, SEAT = 3 };

/* A segment that is kept, with blocks in it, as its member has left it by dying. In another seat
 * is the one who may hold it. */
struct template {
  uint64_t size, base, stored; /* `stored` bytes of the file: the rest is zero */
  struct geometry geometry;
  char *bytes;
};

static struct template templates[] = {
    {.size = UINT64_C(28) << 10}, {.size = UINT64_C(64) << 10}, {.size = UINT64_C(192) << 10},
    {.size = UINT64_C(4) << 20},  {.size = UINT64_C(64) << 20},
};
enum {
  TEMPLATES = sizeof templates / sizeof *templates,
  RAW_MAX = 64 * 1024,
  FILE_MAX = 128 << 20
};

static char path[64];

/* ---- Begin ---------------------------------------------------------------- */

/* Removes the file whatever becomes of this process. */
static void remover_begin(void) {
  int ends[2];
  CHECK(pipe(ends) == 0);
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid > 0) {
    CHECK(close(ends[0]) == 0 && fcntl(ends[1], F_SETFD, FD_CLOEXEC) == 0);
    return;
  }
  char byte;
  (void)close(ends[1]);
  int null = open("/dev/null", O_RDWR);
  for (int i = 0; i < 3; i++) (void)dup2(null, i);
  (void)setsid();
  while (read(ends[0], &byte, 1) > 0) continue;
  (void)unlink(path);
  _exit(0);
}

static void template_begin(struct template *t) {
  PSMHandle handle;
  PSMOptions options = {t->size, (void *)(uintptr_t)t->base, 0, PSM_OPEN_KEEP};
  guard_pages(t->base, t->size);
  if (PSMopen(path, &options, &handle) != PSM_OK) FAIL("%s", PSMerrorString(PSMlastError()));
  struct segment *s = psm_segment_find(handle);
  t->geometry = s->geometry;
  for (uint32_t i = 0; i < 20; i++) {
    void *block = PSMalloc(handle, (uint64_t)i * i * 3);
    if (i % 3 == 0) PSMfree(handle, block);
  }
  (void)PSMallocTo(handle, 24, PSMgetUser(handle));
  s->roster[SEAT].tenure = 5u << 2 | SEAT_JOINED;
  seat_count(s, SEAT);
  t->stored = t->size < 256 * 1024 ? t->size : t->geometry.data;
  t->bytes = malloc(t->stored);
  CHECK(t->bytes != NULL);
  memcpy(t->bytes, s->base, t->stored);
  PSMdeinit(handle);
  CHECK(unlink(path) == 0);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc, (void)argv;
  (void)snprintf(path, sizeof path, "/dev/shm/psm-fuzz-%d-header", (int)getpid());
  remover_begin();
  for (unsigned i = 0; i < TEMPLATES; i++) {
    templates[i].base = UINT64_C(0x210000000000) + ((uint64_t)i << 36);
    template_begin(&templates[i]);
  }
  return 0;
}

/* ---- The file ------------------------------------------------------------- */

/* What one run has to do with the file. */
struct run {
  struct input in;
  const struct template *template;
  bool valid; /* nothing of the template has been changed */
  int file;   /* through which another holds it */
  uint64_t file_size;
  struct header_shm header; /* as in the file */
};

static void file_write(struct run *r, const void *bytes, uint64_t count, uint64_t size) {
  r->file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  CHECK(r->file >= 0 && pwrite(r->file, bytes, count, 0) == (ssize_t)count);
  CHECK(ftruncate(r->file, (off_t)size) == 0);
  r->file_size = size;
  memset(&r->header, 0, sizeof r->header);
  uint64_t head = count < sizeof r->header ? count : sizeof r->header;
  memcpy(&r->header, bytes, size < head ? size : head);
}

/* The input as it is, perhaps followed by zeros. */
static void file_raw(struct run *r) {
  uint64_t zeros = input_8(&r->in) % 4u == 0 ? input_below(&r->in, RAW_MAX) : 0;
  uint64_t count = (uint64_t)(r->in.end - r->in.at);
  file_write(r, r->in.at, count, count + zeros);
  r->in.at = r->in.end;
  r->valid = false;
}

/* Another size or base with all that follows from it, as only a library could write it. */
static void header_consistent(struct run *r, struct header_shm *header) {
  struct geometry g;
  static const uint64_t bases[] = {
      0, 1, 4096, UINT64_C(0x7ffffffff000), UINT64_C(1) << 63, ~UINT64_C(0), ~UINT64_C(0) - 4095};
  uint8_t form = input_8(&r->in);
  uint64_t size = header->size;
  uint64_t base = header->base;
  if (form & 1) size = form & 2 ? input_take(&r->in, 3) * 16 : input_take(&r->in, 8);
  if (form & 4) base = bases[form / 16u % 7];
  if (form & 8) base += input_take(&r->in, 8) << input_8(&r->in) % 64;
  if (!psm_geometry(&g, size, base)) return;
  uint32_t state = header->state;
  uint32_t keep = header->keep;
  psm_header_fill(header, &g);
  header->state = state;
  header->keep = keep;
  r->valid = false;
}

static void file_patched(struct run *r, uint8_t form, bool stormy) {
  const struct template *t = r->template;
  static char *bytes;
  bytes = realloc(bytes, t->stored);
  CHECK(bytes != NULL);
  memcpy(bytes, t->bytes, t->stored);
  struct header_shm *header = (struct header_shm *)(void *)bytes;
  struct target target = {bytes, &t->geometry, 0, NO_SEAT, -1};
  uint64_t size = t->size;
  uint8_t patches = input_8(&r->in) % PATCHES_MAX;
  if (patches > 0 || stormy) r->valid = false;
  for (uint8_t i = 0; i < patches; i++) {
    struct poke poke = poke_read(&r->in, &target);
    poke_apply(&target, &poke);
  }
  if (stormy) storm(&r->in, &target);
  if (form & 1) header_consistent(r, header);
  if (form & 2) header->checksum = header_checksum(header);
  if (form & 4) {
    /* Cut to any part, or a little longer or shorter. */
    uint8_t by = input_8(&r->in);
    size = form & 8 ? size / 256 * by : size + (uint64_t)(int64_t)(int8_t)by;
    r->valid = false;
  } else if (header->size < FILE_MAX) {
    size = header->size;
  }
  if (size > FILE_MAX) size = 0;
  file_write(r, bytes, t->stored < size ? t->stored : size, size);
}

/* ---- Held by others ------------------------------------------------------- */

static void hold(struct run *r, uint8_t form) {
  if (form & 1) CHECK(os_byte_lock(r->file, BYTE_SEATS + SEAT, OS_TRY) == PSM_OK);
  if (form & 2) CHECK(os_byte_lock(r->file, BYTE_READERS, OS_TRY | OS_SHARED) == PSM_OK);
}

/* ---- Open, use, leave ----------------------------------------------------- */

static PSMHandle file_open(struct run *r) {
  static const uint32_t flags[] = {0,
                                   PSM_OPEN_JOIN,
                                   PSM_OPEN_KEEP,
                                   PSM_OPEN_READONLY,
                                   PSM_OPEN_EXCLUSIVE,
                                   PSM_OPEN_JOIN | PSM_OPEN_KEEP,
                                   PSM_OPEN_READONLY | PSM_OPEN_KEEP,
                                   31};
  uint8_t form = input_8(&r->in);
  const struct template *t = r->template;
  PSMOptions options = {0, NULL, 0, flags[form % 8]};
  if (form & 8) options.size = t->size;
  if (form & 16) options.address = (void *)(uintptr_t)t->base;
  /* Where no address is given, neighbours are read: that takes long, and is seldom new. */
  if (!(form & 16) && (form & 0xe0) != 0) options.flags |= PSM_OPEN_JOIN;
  if ((options.flags & PSM_OPEN_EXCLUSIVE) != 0) options.flags &= ~(uint32_t)PSM_OPEN_JOIN;
  PSMHandle handle = (PSMHandle)(uintptr_t)1;
  int result = CALL(PSMopen(path, &options, &handle));
  CHECK((result == PSM_OK) == (handle != NULL));
  result_told(result);
  if (r->valid && options.flags == PSM_OPEN_JOIN && options.size == 0) CHECK(result == PSM_OK);
  return handle;
}

/* A file that is no segment of ours is not touched. */
static void refused_untouched(const struct run *r) {
  int code = PSMlastError();
  struct stat status;
  struct header_shm header;
  if (code != PSM_E_FORMAT && code != PSM_E_VERSION && code != PSM_E_PLATFORM) return;
  memset(&header, 0, sizeof header);
  CHECK(fstat(r->file, &status) == 0 && (uint64_t)status.st_size == r->file_size);
  CHECK(pread(r->file, &header, sizeof header, 0) >= 0);
  CHECK(memcmp(&header, &r->header, sizeof header) == 0);
}

/* What hostile counts of children, or a hostile neighbour's pid, have left behind. */
static void left_behind(const struct geometry *g) {
  psm_opening_lock();
  struct segment *s = psm_segment_first();
  if (s != NULL) {
    CHECK(s->next == NULL);
    fuzz_call_begins();
    psm_segment_leave(s);
  }
  (void)binding_find(0);
  psm_opening_unlock();
  psm_thread = (struct thread){.last = &nobody};
  char *base = (char *)(uintptr_t)g->base;
  if (!os_range_free(base, g->size)) CHECK(munmap(base, g->size) == 0);
}

/* A second use of a segment that this process has open. */
static void open_again_and_leave(const struct program *p) {
  PSMHandle again = NULL;
  PSMOptions options = {0, NULL, 0, PSM_OPEN_JOIN | PSM_OPEN_KEEP};
  int result = CALL(PSMopen(path, &options, &again));
  result_told(result);
  CHECK((result == PSM_OK) == (again != NULL));
  if (again == NULL) return;
  CHECK(again == p->handle);
  CALL(PSMdeinit(again));
}

static void use(struct run *r, PSMHandle handle, uint8_t held) {
  struct program p;
  memset(&p, 0, sizeof p);
  for (unsigned i = 0; i < THREADS; i++) p.threads[i].last = &nobody;
  struct segment *s = psm_segment_find(handle);
  CHECK(s != NULL);
  struct geometry g = s->geometry;
  p.in = &r->in;
  p.segment = s;
  p.handle = handle;
  p.readonly = s->readonly;
  p.clean = r->valid;
  fuzz.target = (struct target){s->base, &g, s->tag, held & 1 ? SEAT : NO_SEAT, r->file};
  program_run(&p);
  if (held & 8) open_again_and_leave(&p);
  /* The other threads end before the segment is left, as the library asks. */
  for (unsigned i = 1; i < THREADS; i++) {
    do_switch(&p);
    fuzz_call_begins();
    thread_end(NULL);
  }
  do_switch(&p);
  CALL(PSMdeinit(handle));
  fuzz.armed = 0;
  left_behind(&g);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
  struct run r;
  struct geometry g;
  memset(&r, 0, sizeof r);
  r.in = (struct input){bytes, bytes + count};
  uint8_t form = input_8(&r.in);
  uint8_t held = input_8(&r.in);
  static const uint8_t chances[16] = {0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 3};
  r.template = &templates[form == 0xf3 ? TEMPLATES - 1 : chances[form / 16]];
  r.valid = true;
  fuzz_begins();
  if (form % 16 == 15)
    file_raw(&r);
  else
    file_patched(&r, form % 16, (held & 4) != 0);
  hold(&r, held);
  fuzz.target = (struct target){NULL, NULL, 0, held & 1 ? SEAT : NO_SEAT, r.file};
  if (psm_header_judge(&r.header, r.header.size, &g) == PSM_OK) {
    fuzz.target.bytes = (char *)(uintptr_t)g.base;
    fuzz.target.geometry = &g;
  }
  PSMHandle handle = file_open(&r);
  if (handle != NULL)
    use(&r, handle, held);
  else
    refused_untouched(&r);
  CHECK(close(r.file) == 0);
  (void)unlink(path);
  return 0;
}
