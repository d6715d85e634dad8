/* How long the others wait after a death: `recovery units=N members=M [kept=SIZE]`, with the core
 * in it.
 *
 * With `kept` all units are slabs full of blocks of that size, and the members keep some: the
 * states of all of them are read then. Without, a segment of N units gets its worst shape: every second unit a large block, the rest runs of one
 * free unit. M members each hold a cache. Then all of them are killed, one while it holds the span
 * lock. Told are, in ms:
 *
 *   rebuild  the next one's first call that needs the lock: take it over, rebuild the lists
 *   reap     PSMreap after that: give back what all the dead held
 *   check    PSMcheck, to compare: it too looks at everything
 *
 * The memory of the large blocks, which nobody touches, is given back behind the library's back:
 * else a million units would take 64 GiB.
 */
#undef _GNU_SOURCE /* the core defines it itself */
#include "psm.c"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "harness/failure.h"
#include "harness/timer.h"

enum { PUNCH_EVERY = 4096, MEMBERS_MOST = 1023 };

static char shm_name[64];
static char psm_name[72];
static uint64_t heap;

static PSMHandle segment_join(void) {
  PSMHandle handle;
  PSMinit(psm_name, heap, NULL, &handle);
  if (!handle) die("%s", PSMerrorString(PSMlastError()));
  return handle;
}

static double ms_since(uint64_t start) { return (double)(clock_ns() - start) / 1e6; }

static int file_open(void) {
  int file = shm_open(shm_name, O_RDWR, 0);
  if (file < 0) die("cannot open the segment's file");
  return file;
}

static void punch(int file, PSMHandle handle, void *first, void *end) {
  if (fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)PSMoffset(handle, first),
                (char *)end - (char *)first) != 0)
    die("cannot punch a hole");
}

/* Units come in the order of their addresses while the segment is new. */
static uint64_t units_fill(PSMHandle handle, uint64_t units, uint64_t unit, void **block) {
  int file = file_open();
  uint64_t count = 0, punched = 0;
  while (count < units && (block[count] = PSMalloc(handle, unit)) != NULL) {
    count++;
    if (count - punched < PUNCH_EVERY) continue;
    punch(file, handle, block[punched], (char *)block[count - 1] + unit);
    punched = count;
  }
  close(file);
  for (uint64_t i = 1; i < count; i += 2) PSMfree(handle, block[i]);
  return count;
}

/* The same of slabs, to their last blocks. */
static uint64_t slabs_fill(PSMHandle handle, uint64_t units, uint64_t unit, size_t size) {
  int file = file_open();
  char *first = NULL;
  for (uint64_t i = 0; i < units; i++) {
    char *block = NULL;
    for (uint64_t j = 0; j < unit / size; j++)
      if ((block = PSMalloc(handle, size)) == NULL) die("%s", PSMerrorString(PSMlastError()));
    if (first == NULL) first = block - (uint64_t)(block - (char *)handle) % unit;
    if ((i + 1) % PUNCH_EVERY != 0) continue;
    punch(file, handle, first, block);
    first = NULL;
  }
  close(file);
  return units;
}

static void keep_some(PSMHandle handle, size_t size) {
  void *blocks[20];
  for (int i = 0; i < 20; i++) blocks[i] = PSMalloc(handle, size);
  for (int i = 0; i < 20; i++) PSMfree(handle, blocks[i]);
}

/* Each takes blocks of many classes, so that its cache owns groups to give back. It is a member
 * as soon as it is a child. */
static void member_live(PSMHandle handle, int ready, size_t kept, bool holds_lock) {
  char byte = 0;
  for (size_t size = 16; size <= 1024; size *= 2)
    if (!PSMalloc(handle, size)) die("%s", PSMerrorString(PSMlastError()));
  if (kept > 0) keep_some(handle, kept);
  if (holds_lock) psm_span_lock(psm_segment_find(handle));
  if (write(ready, &byte, 1) != 1) die("cannot write to a pipe");
  for (;;) pause();
}

static void members_start(PSMHandle handle, uint64_t count, pid_t *children, size_t kept,
                          bool holds_lock) {
  int ready[2];
  char byte;
  if (pipe(ready) != 0) die("cannot make a pipe");
  for (uint64_t i = 0; i < count; i++) {
    children[i] = fork();
    if (children[i] < 0) die("cannot fork");
    if (children[i] == 0) member_live(handle, ready[1], kept, holds_lock);
    if (read(ready[0], &byte, 1) != 1) die("cannot read from a pipe");
  }
}

static void members_kill(uint64_t count, const pid_t *children) {
  for (uint64_t i = 0; i < count; i++) kill(children[i], SIGKILL);
  for (uint64_t i = 0; i < count; i++) waitpid(children[i], NULL, 0);
}

static uint64_t option(int argc, char **argv, const char *key, uint64_t otherwise) {
  size_t length = strlen(key);
  for (int i = 1; i < argc; i++)
    if (strncmp(argv[i], key, length) == 0 && argv[i][length] == '=')
      return strtoull(argv[i] + length + 1, NULL, 10);
  return otherwise;
}

static void measure(PSMHandle handle, uint64_t units, uint64_t members, uint64_t unit) {
  uint64_t start = clock_ns();
  void *block = PSMalloc(handle, unit);
  double rebuild = ms_since(start);
  start = clock_ns();
  int reaped = PSMreap(handle);
  double reap = ms_since(start);
  start = clock_ns();
  int sound = PSMcheck(handle);
  double check = ms_since(start);
  if (!block || sound != PSM_OK) die("%s", PSMerrorString(PSMlastError()));
  printf("{\"units\": %llu, \"members\": %llu, \"reaped\": %d, ", (unsigned long long)units,
         (unsigned long long)members, reaped);
  printf("\"rebuild_ms\": %.3f, \"reap_ms\": %.3f, \"check_ms\": %.3f}\n", rebuild, reap, check);
}

int main(int argc, char **argv) {
  static pid_t children[MEMBERS_MOST];
  PSMStat stat;
  uint64_t units = option(argc, argv, "units", 4096);
  uint64_t members = option(argc, argv, "members", 1);
  size_t kept = (size_t)option(argc, argv, "kept", 0);
  if (members < 1 || members > MEMBERS_MOST) die("members must be 1 to %d", MEMBERS_MOST);
  (void)snprintf(shm_name, sizeof shm_name, "psm-bench-%ld", (long)getpid());
  (void)snprintf(psm_name, sizeof psm_name, "shm:%s", shm_name);
  failure_cleans(shm_name);
  heap = (units + units / 16 + 2048)
         << 16; /* units of 64 KiB, metadata, and room for small blocks */
  PSMHandle handle = segment_join();
  if (PSMstat(handle, &stat) != PSM_OK) die("%s", PSMerrorString(PSMlastError()));
  void **block =
      mmap(NULL, units * sizeof *block, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (block == MAP_FAILED) die("no memory");
  members_start(handle, members - 1, children, kept, false);
  uint64_t filled = kept > 0 ? slabs_fill(handle, units, stat.unit, kept)
                             : units_fill(handle, units, stat.unit, block);
  members_start(handle, 1, children + members - 1, kept, true);
  members_kill(members, children);
  measure(handle, filled, members, stat.unit);
  PSMdeinit(handle);
  return 0;
}
