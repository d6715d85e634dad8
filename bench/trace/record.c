/* Record what a program allocates: LD_PRELOAD=libbench_record.so BENCH_TRACE=FILE PROGRAM.
 *
 * The first process that finds no such file records into it; its children do not, and nothing is
 * left of it if it runs another program by exec. A block's address becomes a slot number at once, so a trace needs no work afterwards. A realloc is
 * recorded as a new block and a free of the old one, zeroing and alignment are left out: what is
 * replayed is malloc and free. Memory of the recorder itself comes from mmap.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "trace/format.h"

enum { BUFFER_RECORDS = 8192, BLOCKS_MAX = 1 << 25 }; /* places in the table, half of them used */

/* The allocator of the C library under its other names. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *block, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);
extern void __libc_free(void *block);

typedef struct Known {
  void *block; /* NULL: nobody */
  uint64_t size;
  uint32_t slot;
} Known;

static struct {
  pthread_mutex_t mutex;
  int file; /* -1: not recording */
  TraceHeader header;
  uint64_t alive; /* bytes */
  uint64_t buffer[BUFFER_RECORDS];
  uint32_t buffered;
  Known *known;    /* open addressing, linear */
  uint32_t *spare; /* a stack of slots that are free again */
  uint32_t spares;
} recorder = {.mutex = PTHREAD_MUTEX_INITIALIZER, .file = -1};

static void write_all(const void *data, size_t bytes, off_t offset) {
  const char *at = data;
  while (bytes > 0) {
    ssize_t done =
        offset < 0 ? write(recorder.file, at, bytes) : pwrite(recorder.file, at, bytes, offset);
    if (done <= 0) abort(); /* a trace that is cut short must not pass for a whole one */
    at += done;
    bytes -= (size_t)done;
  }
}

static void flush(void) {
  write_all(recorder.buffer, recorder.buffered * sizeof *recorder.buffer, -1);
  recorder.header.records += recorder.buffered;
  recorder.buffered = 0;
}

static void put(uint64_t record) {
  recorder.buffer[recorder.buffered++] = record;
  if (recorder.buffered == BUFFER_RECORDS) flush();
}

static uint32_t place_of(const void *block) {
  uint64_t hash = (uint64_t)(uintptr_t)block / 16 * 0x9e3779b97f4a7c15u;
  return (uint32_t)(hash >> 39); /* 25 bits */
}

static Known *known_find(const void *block) {
  uint32_t at = place_of(block);
  while (recorder.known[at].block && recorder.known[at].block != block) at = (at + 1) % BLOCKS_MAX;
  return &recorder.known[at];
}

/* Close the gap: whoever may move into it does. */
static void known_remove(Known *gone) {
  uint32_t hole = (uint32_t)(gone - recorder.known);
  for (uint32_t at = (hole + 1) % BLOCKS_MAX; recorder.known[at].block;
       at = (at + 1) % BLOCKS_MAX) {
    uint32_t home = place_of(recorder.known[at].block);
    if ((at - home) % BLOCKS_MAX < (at - hole) % BLOCKS_MAX) continue;
    recorder.known[hole] = recorder.known[at];
    hole = at;
  }
  recorder.known[hole].block = NULL;
}

/* Blocks from before the recording are not known. */
static void freed(void *block) {
  Known *known = known_find(block);
  if (!known->block) return;
  recorder.alive -= known->size;
  recorder.spare[recorder.spares++] = known->slot;
  put(trace_record(known->slot, 0, TRACE_FREE));
  known_remove(known);
}

static void allocated(void *block, size_t size) {
  TraceHeader *header = &recorder.header;
  freed(block); /* by a call that is not seen here, if the address is known */
  Known *known = known_find(block);
  if (recorder.spares == 0 && header->slots == TRACE_SLOTS_MAX) abort();
  known->slot = recorder.spares ? recorder.spare[--recorder.spares] : (uint32_t)header->slots++;
  known->block = block;
  known->size = size;
  header->allocations++;
  recorder.alive += size;
  if (recorder.alive > header->peak) header->peak = recorder.alive;
  put(trace_record(known->slot, size, 0));
}

/* A free is recorded before it happens, an allocation after: so no other thread can have the
 * address in between. */
static void record(void *before, void *after, size_t size) {
  int error = errno;
  pthread_mutex_lock(&recorder.mutex);
  if (recorder.file >= 0 && before) freed(before);
  if (recorder.file >= 0 && after) allocated(after, size);
  pthread_mutex_unlock(&recorder.mutex);
  errno = error;
}

/* ---- What the program calls ------------------------------------------------ */

void *malloc(size_t size) {
  void *block = __libc_malloc(size);
  record(NULL, block, size);
  return block;
}

void *calloc(size_t count, size_t size) {
  void *block = __libc_calloc(count, size);
  record(NULL, block, count * size);
  return block;
}

void free(void *block) {
  record(block, NULL, 0);
  __libc_free(block);
}

/* The old block is forgotten first; if the call then fails the trace has a block too few. */
void *realloc(void *block, size_t size) {
  record(block, NULL, 0);
  void *moved = __libc_realloc(block, size);
  record(NULL, moved, size);
  return moved;
}

void *memalign(size_t alignment, size_t size) {
  void *block = __libc_memalign(alignment, size);
  record(NULL, block, size);
  return block;
}

void *aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }

int posix_memalign(void **where, size_t alignment, size_t size) {
  void *block = memalign(alignment, size);
  if (!block) return ENOMEM;
  *where = block;
  return 0;
}

/* ---- Begin and end --------------------------------------------------------- */

static void in_child(void) {
  pthread_mutex_init(&recorder.mutex, NULL);
  if (recorder.file >= 0) close(recorder.file);
  recorder.file = -1;
}

static void *table(size_t bytes) {
  void *memory =
      mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) abort();
  return memory;
}

static void begin(void) __attribute__((constructor));

static void begin(void) {
  const char *path = getenv("BENCH_TRACE");
  int file = path ? open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
  if (file < 0) return;
  recorder.known = table(BLOCKS_MAX * sizeof *recorder.known);
  recorder.spare = table(TRACE_SLOTS_MAX * sizeof *recorder.spare);
  pthread_atfork(NULL, NULL, in_child);
  pthread_mutex_lock(&recorder.mutex);
  recorder.file = file;
  write_all(&recorder.header, sizeof recorder.header, -1);
  pthread_mutex_unlock(&recorder.mutex);
}

static void end(void) __attribute__((destructor));

/* The magic comes last: a program that is killed leaves no trace. */
static void end(void) {
  pthread_mutex_lock(&recorder.mutex);
  if (recorder.file >= 0) {
    flush();
    recorder.header.magic = TRACE_MAGIC;
    write_all(&recorder.header, sizeof recorder.header, 0);
    close(recorder.file);
    recorder.file = -1;
  }
  pthread_mutex_unlock(&recorder.mutex);
}
