/* A small test harness: one executable holds cases, each runs in a process of its own.
 *
 *   prog            run all cases        prog NAME   run one
 *   prog --list     print their names    prog --direct NAME   run one without the supervisor
 *
 * Exit status: 0 passed, 1 failed, 77 skipped. A supervisor forks for each case, ends it after
 * PSM_TEST_TIMEOUT seconds (60), kills what the case has left running and removes its files.
 * PSM_TEST_SEED repeats a random run. Everything here begins with h_ or is a macro. It is C and C++.
 */
#ifndef PSM_TEST_HARNESS_H
#define PSM_TEST_HARNESS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "psm.h"

#define KIB   ((size_t)1024)
#define MIB   ((size_t)1024 * 1024)
#define H_SHM "/dev/shm/"

/* ---- Cases and children -------------------------------------------------- */

typedef struct h_entry {
  const char *name;
  void (*run)(void);
  int (*child)(int argc, char **argv);
  struct h_entry *next;
} h_entry;

static h_entry *h_cases, **h_cases_end = &h_cases;
static h_entry *h_children;
__attribute__((unused)) static h_entry **h_children_end = &h_children; /* if there are any */

/* CASE(name) { body } is one test. It passes if it returns. */
#define CASE(id)                                            \
  static void case_##id(void);                              \
  __attribute__((constructor)) static void add_##id(void) { \
    static h_entry entry = {#id, case_##id, NULL, NULL};    \
    *h_cases_end = &entry;                                  \
    h_cases_end = &entry.next;                              \
  }                                                         \
  static void case_##id(void)

/* EXEC_CHILD(name) { body } is run by h_spawn("name", ...); its result is the exit status. */
#define EXEC_CHILD(id)                                           \
  static int child_##id(int argc, char **argv);                  \
  __attribute__((constructor)) static void addchild_##id(void) { \
    static h_entry entry = {#id, NULL, child_##id, NULL};        \
    *h_children_end = &entry;                                    \
    h_children_end = &entry.next;                                \
  }                                                              \
  static int child_##id(__attribute__((unused)) int argc, __attribute__((unused)) char **argv)

/* ---- Ends and checks ------------------------------------------------------ */

static char h_prefix[80]; /* of every segment name of this case, without a directory */
static char h_directory[128];
static uint64_t h_seed;

#ifdef PSM_TEST_COVERAGE
#ifdef __cplusplus
extern "C" void __gcov_dump(void);
#else
void __gcov_dump(void);
#endif
#endif

/* End this process at once: nothing of the library runs, as when a program forgets to leave. */
__attribute__((noreturn)) static inline void h_quit(int status) {
  fflush(NULL);
#ifdef PSM_TEST_COVERAGE
  __gcov_dump();
#endif
  _exit(status);
}

__attribute__((noreturn, format(printf, 3, 4))) static inline void h_fail(const char *file,
                                                                          int line,
                                                                          const char *format, ...) {
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

/* ---- Time and chance ------------------------------------------------------ */

static inline double h_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static inline void h_sleep_us(unsigned us) {
  struct timespec t = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};
  while (nanosleep(&t, &t) && errno == EINTR) continue;
}

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

static inline int h_env(const char *name, int otherwise) {
  const char *value = getenv(name);
  return value && *value ? atoi(value) : otherwise;
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

/* ---- Names and files ------------------------------------------------------ */

/* A text that is never freed; the list is for leak checkers, which then find it. */
static inline char *h_text(const char *format, ...) __attribute__((format(printf, 1, 2)));
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
/* "shm:..." and its path; `which` tells several of one case apart. */
static inline char *h_shm_name(const char *which) { return h_text("shm:%s%s", h_prefix, which); }
static inline char *h_shm_path(const char *which) { return h_text(H_SHM "%s%s", h_prefix, which); }

/* A path in the temporary directory of this case, which exists. */
static inline char *h_path(const char *which) { return h_text("%s/%s", h_directory, which); }

static inline bool h_exists(const char *path) {
  struct stat st;
  return lstat(path, &st) == 0;
}

static inline long long h_blocks_of(const char *path) {
  struct stat st;
  CHECK(stat(path, &st) == 0);
  return (long long)st.st_blocks;
}

static inline void *h_read_file(const char *path, size_t *size) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  struct stat st;
  CHECK(fd >= 0 && fstat(fd, &st) == 0);
  char *bytes = (char *)malloc((size_t)st.st_size + 1);
  CHECK(bytes != NULL);
  size_t got = 0;
  ssize_t n;
  while ((n = read(fd, bytes + got, (size_t)st.st_size + 1 - got)) > 0) got += (size_t)n;
  close(fd);
  *size = got;
  return bytes;
}

static inline void h_write_file(const char *path, const void *bytes, size_t size) {
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  CHECK(fd >= 0);
  for (size_t put = 0; put < size;) {
    ssize_t n = write(fd, (const char *)bytes + put, size - put);
    CHECK(n > 0);
    put += (size_t)n;
  }
  close(fd);
}

/* Change some bytes of a file in place. */
static inline void h_patch(const char *path, off_t at, const void *bytes, size_t size) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  CHECK(fd >= 0 && pwrite(fd, bytes, size, at) == (ssize_t)size);
  close(fd);
}

/* ---- Processes ------------------------------------------------------------ */

static inline pid_t h_fork(void) {
  fflush(NULL);
  pid_t pid = fork();
  CHECK(pid >= 0);
  return pid;
}

/* Become this executable anew. One for another processor does not start by itself: then
 * PSM_TEST_EMULATOR has the words that come before it. */
__attribute__((noreturn)) static inline void h_exec_self(char **argv) {
  static char words[1024], self[1024];
  char *full[32] = {NULL};
  const char *emulator = getenv("PSM_TEST_EMULATOR");
  snprintf(words, sizeof words, "%s", emulator ? emulator : "");
  int count = 0;
  for (char *word = strtok(words, " "); word && count < 8; word = strtok(NULL, " "))
    full[count++] = word;
  if (count == 0) execv("/proc/self/exe", argv);
  if (count == 0 || readlink("/proc/self/exe", self, sizeof self - 1) < 0) _exit(126);
  full[count++] = self;
  for (int i = 1; argv[i] && count < 31; i++) full[count++] = argv[i];
  execvp(full[0], full);
  _exit(126);
}

/* Start EXEC_CHILD(name) of this executable anew, with arguments up to NULL. */
static inline pid_t h_spawn(const char *name, ...) {
  char *argv[16] = {(char *)(uintptr_t) "psm-test", (char *)(uintptr_t) "--child", h_prefix,
                    h_directory, (char *)(uintptr_t)name};
  int argc = 5;
  va_list args;
  va_start(args, name);
  while (argc < 15 && (argv[argc] = va_arg(args, char *)) != NULL) argc++;
  va_end(args);
  argv[argc] = NULL;
  pid_t pid = h_fork();
  if (pid == 0) h_exec_self(argv);
  return pid;
}

/* How a child ended: its exit status, or 1000 + the signal. -1: not within `seconds`. */
static inline int h_wait_within(pid_t pid, double seconds) {
  int status = 0;
  for (double end = h_now() + seconds;; h_sleep_us(500)) {
    pid_t got = waitpid(pid, &status, WNOHANG);
    if (got < 0 && errno == EINTR) continue;
    CHECK(got >= 0);
    if (got == pid) break;
    if (h_now() > end) return -1;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static inline int h_wait(pid_t pid) {
  int result = h_wait_within(pid, 40);
  if (result == -1) {
    kill(pid, SIGKILL);
    FAIL("child %d hangs", (int)pid);
  }
  return result;
}

static inline void h_kill(pid_t pid) {
  CHECK(kill(pid, SIGKILL) == 0);
  CHECK_EQ(h_wait(pid), 1000 + SIGKILL);
}

/* A gate between processes: each pass takes what one open gave, in whatever order. */
typedef struct h_gate {
  int fd[2];
} h_gate;

static inline h_gate h_gate_new(void) {
  h_gate gate;
  CHECK(pipe(gate.fd) == 0);
  return gate;
}
static inline void h_gate_open(h_gate gate) { CHECK(write(gate.fd[1], "x", 1) == 1); }
static inline void h_gate_pass(h_gate gate) {
  struct pollfd p = {gate.fd[0], POLLIN, 0};
  char byte;
  int got;
  while ((got = poll(&p, 1, 40000)) < 0 && errno == EINTR) continue;
  CHECK(got == 1);
  CHECK(read(gate.fd[0], &byte, 1) == 1);
}
/* For children by h_spawn, which get the two descriptors as one argument. */
static inline char *h_gate_text(h_gate gate) { return h_text("%d,%d", gate.fd[0], gate.fd[1]); }
static inline h_gate h_gate_from(const char *text) {
  h_gate gate;
  CHECK(sscanf(text, "%d,%d", &gate.fd[0], &gate.fd[1]) == 2);
  return gate;
}

/* Zeroed memory that children by fork share with their parent, apart from any segment. */
static inline void *h_shared(size_t size) {
  void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(p != MAP_FAILED);
  return p;
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

/* ---- Segments and blocks --------------------------------------------------- */

static inline PSMHandle h_init(const char *name, size_t size) {
  PSMHandle handle = NULL;
  PSMinit(name, size, NULL, &handle);
  if (!handle) FAIL("PSMinit(%s, %zu) failed", name, size);
  return handle;
}

static inline PSMHandle h_open(const char *name, size_t size, uint32_t flags) {
  PSMOptions options = {size, NULL, 0, flags};
  PSMHandle handle = NULL;
  int result = PSMopen(name, &options, &handle);
  if (result != 0) FAIL("PSMopen(%s, %zu, %u) is %d", name, size, flags, result);
  CHECK(handle != NULL);
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

/* ---- The supervisor --------------------------------------------------------- */

static volatile pid_t h_running;

static inline void h_remove_tree(const char *path) {
  struct stat st;
  if (lstat(path, &st)) return;
  if (S_ISDIR(st.st_mode)) {
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && (e = readdir(dir)) != NULL;) {
      if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
      char *inner = h_text("%s/%s", path, e->d_name);
      h_remove_tree(inner);
    }
    if (dir) closedir(dir);
    rmdir(path);
  } else {
    unlink(path);
  }
}

static inline void h_clean(void) {
  DIR *dir = opendir(H_SHM);
  for (struct dirent *e; dir && (e = readdir(dir)) != NULL;) {
    if (strncmp(e->d_name, h_prefix, strlen(h_prefix)) != 0) continue;
    char *path = h_text(H_SHM "%s", e->d_name);
    unlink(path);
  }
  if (dir) closedir(dir);
  h_remove_tree(h_directory);
}

static void h_interrupted(int signal) {
  if (h_running > 0) kill(-h_running, SIGKILL);
  h_clean();
  _exit(128 + signal);
}

static inline void h_begin(const char *name) {
  const char *tmp = getenv("TMPDIR");
  snprintf(h_prefix, sizeof h_prefix, "psm-test-%d-%.40s-", (int)getpid(), name);
  snprintf(h_directory, sizeof h_directory, "%.80s/psm-test-XXXXXX", tmp && *tmp ? tmp : "/tmp");
  if (!mkdtemp(h_directory)) abort();
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  const char *seed = getenv("PSM_TEST_SEED");
  h_seed = seed ? strtoull(seed, NULL, 0) : (uint64_t)t.tv_nsec / 1000 + 1;
}

/* The result of one case, as an exit status; also printed. */
static inline int h_run(const h_entry *entry) {
  h_begin(entry->name);
  double began = h_now();
  fflush(NULL);
  pid_t pid = fork();
  if (pid < 0) abort();
  if (pid == 0) {
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    entry->run();
    fflush(NULL);
    exit(0);
  }
  setpgid(pid, pid);
  h_running = pid;
  int result = h_wait_within(pid, h_env("PSM_TEST_TIMEOUT", 60));
  kill(-pid, SIGKILL);
  if (result == -1) waitpid(pid, NULL, 0);
  h_running = 0;
  h_clean();
  const char *word = result == 0    ? "ok"
                     : result == 77 ? "skipped"
                     : result == -1 ? "TIMEOUT"
                                    : "FAILED";
  if (result > 1000)
    printf("%s (signal %d) ", word, result - 1000);
  else
    printf("%s ", word);
  printf("%s %.2fs\n", entry->name, h_now() - began);
  fflush(stdout);
  return result == 0 || result == 77 ? result : 1;
}

static inline const h_entry *h_find(const h_entry *list, const char *name) {
  for (; list; list = list->next)
    if (!strcmp(list->name, name)) return list;
  fprintf(stderr, "there is no case %s\n", name);
  exit(2);
}

int main(int argc, char **argv) {
  if (argc > 4 && !strcmp(argv[1], "--child")) {
    snprintf(h_prefix, sizeof h_prefix, "%s", argv[2]);
    snprintf(h_directory, sizeof h_directory, "%s", argv[3]);
    int result = h_find(h_children, argv[4])->child(argc - 5, argv + 5);
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
