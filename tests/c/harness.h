/* A small test harness: one executable holds cases, each runs in a process of its own.
 *
 *   prog            run all cases        prog NAME   run one
 *   prog --list     print their names    prog --direct NAME   run one without the supervisor
 *
 * Exit status: 0 passed, 1 failed, 77 skipped. A supervisor starts each case, ends it after
 * PSM_TEST_TIMEOUT seconds (60), kills what the case has left running and removes its files.
 * PSM_TEST_SEED repeats a random run. Everything here begins with h_ or is a macro. It is C and C++.
 *
 * What the system does, processes, gates and files, is in harness_posix.h and harness_win32.h. Where
 * there is no fork, h_fork ends its case as skipped; h_member and h_spawn work everywhere.
 */
#ifndef PSM_TEST_HARNESS_H
#define PSM_TEST_HARNESS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64
#endif
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include "psm.h"

#define KIB ((size_t)1024)
#define MIB ((size_t)1024 * 1024)
#if defined(__MINGW32__) && !defined(__clang__)
#define H_PRINTF(f, a) __attribute__((format(gnu_printf, f, a)))
#else
#define H_PRINTF(f, a) __attribute__((format(printf, f, a)))
#endif

/* ---- Cases and children -------------------------------------------------- */

typedef struct h_entry {
  const char *name;
  void (*run)(void);
  int (*child)(int argc, char **argv);
  void (*member)(PSMHandle handle, char **argv);
  struct h_entry *next;
} h_entry;

static h_entry *h_cases, **h_cases_end = &h_cases;
static h_entry *h_children;
__attribute__((unused)) static h_entry **h_children_end = &h_children; /* if there are any */

/* CASE(name) { body } is one test. It passes if it returns. */
#define CASE(id)                                               \
  static void case_##id(void);                                 \
  __attribute__((constructor)) static void add_##id(void) {    \
    static h_entry entry = {#id, case_##id, NULL, NULL, NULL}; \
    *h_cases_end = &entry;                                     \
    h_cases_end = &entry.next;                                 \
  }                                                            \
  static void case_##id(void)

/* A case that this system has nothing for, in the #else of the real one. */
#define LEFT_OUT(id, reason) \
  CASE(id) { SKIP(reason); }

/* EXEC_CHILD(name) { body } is run by h_spawn("name", ...); its result is the exit status. */
#define EXEC_CHILD(id)                                           \
  static int child_##id(int argc, char **argv);                  \
  __attribute__((constructor)) static void addchild_##id(void) { \
    static h_entry entry = {#id, NULL, child_##id, NULL, NULL};  \
    *h_children_end = &entry;                                    \
    h_children_end = &entry.next;                                \
  }                                                              \
  static int child_##id(__attribute__((unused)) int argc, __attribute__((unused)) char **argv)

/* MEMBER(name) { body } is run by h_member(handle, "name", ...), as a member of the segment: a child
 * by fork, or where there is none a process that joins. When it returns it ends without leaving. */
#define MEMBER(id)                                                  \
  static void member_##id(PSMHandle handle, char **argv);           \
  __attribute__((constructor)) static void addmember_##id(void) {   \
    static h_entry entry = {#id, NULL, NULL, member_##id, NULL};    \
    *h_children_end = &entry;                                       \
    h_children_end = &entry.next;                                   \
  }                                                                 \
  static void member_##id(__attribute__((unused)) PSMHandle handle, \
                          __attribute__((unused)) char **argv)

/* ---- Ends and checks ------------------------------------------------------ */

static char h_prefix[80]; /* of every segment name of this case, without a directory */
static char h_directory[128];
static uint64_t h_seed;

/* End this process at once: nothing of the library runs, as when a program forgets to leave. */
__attribute__((noreturn)) static inline void h_quit(int status);

__attribute__((noreturn))
H_PRINTF(3, 4) static inline void h_fail(const char *file, int line, const char *format, ...) {
  va_list args;
  va_start(args, format);
  fprintf(stderr, "%s:%d: ", file, line);
  vfprintf(stderr, format, args);
  fprintf(stderr, "\n  last error %d (%s); PSM_TEST_SEED=%llu\n", PSMlastError(),
          PSMlastError() ? PSMerrorString(PSMlastError()) : "none", (unsigned long long)h_seed);
  va_end(args);
  h_quit(1);
}

#define FAIL(...) h_fail(__FILE__, __LINE__, __VA_ARGS__)
#define CHECK(cond)                         \
  do {                                      \
    if (!(cond)) FAIL("not so: %s", #cond); \
  } while (0)
#define CHECK_EQ(a, b)                                                    \
  do {                                                                    \
    long long h_a = (long long)(a), h_b = (long long)(b);                 \
    if (h_a != h_b) FAIL("%s is %lld, but %s is %lld", #a, h_a, #b, h_b); \
  } while (0)
#define CHECK_PTR(a, b)                                               \
  do {                                                                \
    const void *h_a = (a), *h_b = (b);                                \
    if (h_a != h_b) FAIL("%s is %p, but %s is %p", #a, h_a, #b, h_b); \
  } while (0)
/* The statement fails with this code; the last error is looked at, so clear it first. */
#define CHECK_SETS(code, statement)                                            \
  do {                                                                         \
    PSMclearError();                                                           \
    statement;                                                                 \
    if (PSMlastError() != (code))                                              \
      FAIL("%s: last error is %d, not %s", #statement, PSMlastError(), #code); \
  } while (0)
/* A pointer is refused: whether a block once began there is more than may be known. */
#define CHECK_REFUSED(statement)                                                \
  do {                                                                          \
    PSMclearError();                                                            \
    statement;                                                                  \
    if (PSMlastError() != PSM_E_POINTER && PSMlastError() != PSM_E_DOUBLE_FREE) \
      FAIL("%s is not refused: %d", #statement, PSMlastError());                \
  } while (0)
#define SKIP(...)                    \
  do {                               \
    printf("skipped: " __VA_ARGS__); \
    printf("\n");                    \
    h_quit(77);                      \
  } while (0)

/* Skip for what an emulator is known to lack, and what has just turned out to be missing. */
#define SKIP_EMULATED(lack)                                   \
  do {                                                        \
    if (getenv("PSM_TEST_EMULATOR")) SKIP("qemu-user " lack); \
  } while (0)

/* A text that is never freed; the list is for leak checkers, which then find it. */
static inline char *h_text(const char *format, ...) H_PRINTF(1, 2);
static inline char *h_text(const char *format, ...) {
  struct kept {
    struct kept *next;
  };
  static struct kept *list;
  va_list args, again;
  va_start(args, format);
  va_copy(again, args);
  int length = vsnprintf(NULL, 0, format, args);
  struct kept *kept = length < 0 ? NULL : (struct kept *)malloc(sizeof *kept + (size_t)length + 1);
  if (!kept) abort();
  char *text = (char *)(kept + 1);
  vsnprintf(text, (size_t)length + 1, format, again);
  va_end(again);
  va_end(args);
  kept->next = __atomic_load_n(&list, __ATOMIC_RELAXED);
  while (!__atomic_compare_exchange_n(&list, &kept->next, kept, true, __ATOMIC_RELEASE,
                                      __ATOMIC_RELAXED))
    continue;
  return text;
}

/* ---- The system -------------------------------------------------------------- */

static inline const h_entry *h_find(const h_entry *list, const char *name) {
  for (; list; list = list->next)
    if (!strcmp(list->name, name)) return list;
  fprintf(stderr, "there is no case %s\n", name);
  exit(2);
}

static inline int h_env(const char *name, int otherwise) {
  const char *value = getenv(name);
  return value && *value ? atoi(value) : otherwise;
}

static inline pthread_t h_thread(void *(*run)(void *), void *arg) {
  pthread_t thread;
  CHECK_EQ(pthread_create(&thread, NULL, run, arg), 0);
  return thread;
}
static inline void *h_join(pthread_t thread) {
  void *result = NULL;
  CHECK_EQ(pthread_join(thread, &result), 0);
  return result;
}

#if defined(_WIN32)
#include "harness_win32.h"
#else
#include "harness_posix.h"
#endif

/* ---- Names and files --------------------------------------------------------- */

/* "shm:..." and its path; `which` tells several of one case apart. */
static inline char *h_shm_name(const char *which) { return h_text("shm:%s%s", h_prefix, which); }
static inline char *h_shm_path(const char *which) {
  return h_text("%s%s%s", h_shm_folder(), h_prefix, which);
}

/* A path in the temporary directory of this case, which exists. */
static inline char *h_path(const char *which) { return h_text("%s/%s", h_directory, which); }

static inline void *h_read_file(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  CHECK(file != NULL && fseek(file, 0, SEEK_END) == 0);
  long end = ftell(file);
  CHECK(end >= 0 && fseek(file, 0, SEEK_SET) == 0);
  char *bytes = (char *)malloc((size_t)end + 1);
  CHECK(bytes != NULL);
  *size = fread(bytes, 1, (size_t)end + 1, file);
  CHECK_EQ(*size, end);
  fclose(file);
  return bytes;
}

static inline void h_write_file(const char *path, const void *bytes, size_t size) {
  FILE *file = fopen(path, "wb");
  CHECK(file != NULL && fwrite(bytes, 1, size, file) == size);
  CHECK(fclose(file) == 0);
}

/* Change some bytes of a file in place. */
static inline void h_patch(const char *path, long at, const void *bytes, size_t size) {
  FILE *file = fopen(path, "r+b");
  CHECK(file != NULL && fseek(file, at, SEEK_SET) == 0 && fwrite(bytes, 1, size, file) == size);
  CHECK(fclose(file) == 0);
}

/* ---- Chance ------------------------------------------------------------------ */

/* splitmix64 */
static inline uint64_t h_random(uint64_t *state) {
  uint64_t z = (*state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

static inline size_t h_below(uint64_t *state, size_t limit) {
  return (size_t)(h_random(state) % limit);
}

/* Sanitizers and valgrind are slow: they divide the rounds of the random tests by this. */
static inline int h_rounds(int plain) {
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
  plain = plain / 4;
#endif
  int percent = h_env("PSM_TEST_ROUNDS", 100);
  int rounds = (int)((long long)plain * percent / 100);
  return rounds > 0 ? rounds : 1;
}

/* ---- Segments and blocks --------------------------------------------------- */

static inline PSMHandle h_init(const char *name, size_t size) {
  PSMHandle handle = NULL;
  PSMinit(name, size, NULL, &handle);
  if (!handle) FAIL("PSMinit(%s, %zu) failed", name, size);
  h_remember(handle, name);
  return handle;
}

/* Where that many bytes can be mapped: the library would put a segment there. */
static inline char *h_vacant(size_t size) {
  PSMHandle handle = h_init(h_shm_name("vacant"), size);
  PSMdeinit(handle);
  return (char *)handle;
}

static inline PSMHandle h_open(const char *name, size_t size, uint32_t flags) {
  PSMOptions options = {size, NULL, 0, flags};
  PSMHandle handle = NULL;
  int result = PSMopen(name, &options, &handle);
  if (result != 0) FAIL("PSMopen(%s, %zu, %u) is %d", name, size, flags, result);
  CHECK(handle != NULL);
  h_remember(handle, name);
  return handle;
}

/* Members, without those that have died: a fork before an exec leaves one. */
static inline int h_members(PSMHandle handle) {
  (void)PSMreap(handle);
  return PSMmembers(handle, NULL, 0);
}

/* How many members with this pid are alive, or are dead and not reaped. */
static inline int h_entries(PSMHandle handle, pid_t pid, bool alive) {
  PSMMember members[16];
  int count = PSMmembers(handle, members, 16), found = 0;
  CHECK(count >= 0 && count <= 16);
  for (int i = 0; i < count; i++)
    found += members[i].pid == (uint32_t)pid && members[i].alive == alive;
  return found;
}

static inline PSMStat h_stat(PSMHandle handle) {
  PSMStat stat;
  memset(&stat, 0x5a, sizeof stat);
  CHECK_EQ(PSMstat(handle, &stat), 0);
  return stat;
}

static inline void h_sound(PSMHandle handle) {
  CHECK_EQ(PSMcheck(handle), 0);
  CHECK_EQ(PSMgetError(handle), 0);
}

static inline void h_fill(void *block, size_t size, uint64_t seed) {
  unsigned char *p = (unsigned char *)block;
  for (; size >= 8; size -= 8, p += 8, seed += 0x9e3779b97f4a7c15u) memcpy(p, &seed, 8);
  memcpy(p, &seed, size);
}
static inline bool h_intact(const void *block, size_t size, uint64_t seed) {
  const unsigned char *p = (const unsigned char *)block;
  for (; size >= 8; size -= 8, p += 8, seed += 0x9e3779b97f4a7c15u)
    if (memcmp(p, &seed, 8) != 0) return false;
  return memcmp(p, &seed, size) == 0;
}

/* Small blocks and a large one, of new memory, and back: is this process a sound member? */
static inline void h_work(PSMHandle handle) {
  static const size_t sizes[] = {40, 3000, 200 * KIB};
  for (size_t i = 0; i < 3; i++) {
    void *block = PSMalloc(handle, sizes[i]);
    CHECK(block != NULL);
    h_fill(block, sizes[i], i);
    CHECK(h_intact(block, sizes[i], i));
    CHECK_SETS(0, PSMfree(handle, block));
  }
}

/* The largest size that PSMalloc gives now, to 16 bytes; nothing stays allocated. */
static inline size_t h_largest(PSMHandle handle) {
  size_t low = 0, high = (size_t)h_stat(handle).size;
  while (high - low > 16) {
    size_t middle = low + (high - low) / 2;
    void *p = PSMalloc(handle, middle);
    if (p)
      low = middle;
    else
      high = middle;
    PSMfree(handle, p);
  }
  return low;
}

/* ---- Members and the main program --------------------------------------------- */

static inline void h_chance(void) {
  struct timespec t;
  const char *seed = getenv("PSM_TEST_SEED");
  clock_gettime(CLOCK_REALTIME, &t);
  h_seed = seed ? strtoull(seed, NULL, 0) : (uint64_t)t.tv_nsec / 1000 + 1;
}

/* A process that this program has started: a case of its own, a child, or a member. */
static inline int h_play(int argc, char **argv) {
  snprintf(h_prefix, sizeof h_prefix, "%s", argv[2]);
  snprintf(h_directory, sizeof h_directory, "%s", argv[3]);
  if (!strcmp(argv[1], "--case")) {
    h_find(h_cases, argv[4])->run();
    return 0;
  }
  const h_entry *entry = h_find(h_children, argv[4]);
  if (entry->child) return entry->child(argc - 5, argv + 5);
  CHECK(argc > 6);
  PSMHandle handle = h_open(argv[5], 0, PSM_OPEN_JOIN);
  h_gate_open(h_gate_from(argv[6]));
  entry->member(handle, argv + 7);
  h_quit(0);
}

int main(int argc, char **argv) {
  h_chance();
  if (argc > 4 && (!strcmp(argv[1], "--child") || !strcmp(argv[1], "--case"))) {
    int result = h_play(argc, argv);
    fflush(NULL);
    exit(result);
  }
  if (argc == 2 && !strcmp(argv[1], "--list")) {
    for (const h_entry *entry = h_cases; entry; entry = entry->next) puts(entry->name);
    return 0;
  }
  if (argc == 3 && !strcmp(argv[1], "--direct")) {
    const h_entry *entry = h_find(h_cases, argv[2]);
    h_begin(entry->name);
    atexit(h_clean);
    entry->run();
    return 0;
  }
  signal(SIGINT, h_interrupted);
  signal(SIGTERM, h_interrupted);
  if (argc == 2) return h_run(h_find(h_cases, argv[1]));
  int failed = 0, skipped = 0, passed = 0;
  for (const h_entry *entry = h_cases; entry; entry = entry->next) {
    int result = h_run(entry);
    if (result == 0)
      passed++;
    else if (result == 77)
      skipped++;
    else
      failed++;
  }
  printf("%d passed, %d skipped, %d failed\n", passed, skipped, failed);
  return failed ? 1 : passed ? 0 : 77;
}

#endif
