/* The harness on POSIX systems: fork, pipes, signals. Included by harness.h only. */
#ifndef PSM_TEST_HARNESS_POSIX_H
#define PSM_TEST_HARNESS_POSIX_H

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define H_SHM "/dev/shm/"
static inline const char *h_shm_folder(void) { return H_SHM; }

#ifdef PSM_TEST_COVERAGE
#ifdef __cplusplus
extern "C" void __gcov_dump(void);
#else
void __gcov_dump(void);
#endif
#endif

__attribute__((noreturn)) static inline void h_quit(int status) {
  fflush(NULL);
#ifdef PSM_TEST_COVERAGE
  __gcov_dump();
#endif
  _exit(status);
}

/* As if killed from outside. */
__attribute__((noreturn)) static inline void h_die(void) {
  raise(SIGKILL);
  abort();
}

/* ---- Time ----------------------------------------------------------------------- */

static inline double h_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static inline void h_sleep_us(unsigned us) {
  struct timespec t = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};
  while (nanosleep(&t, &t) && errno == EINTR) continue;
}

/* ---- Memory --------------------------------------------------------------------- */

static inline size_t h_page_size(void) { return (size_t)sysconf(_SC_PAGESIZE); }

/* What the addresses of mappings are multiples of. */
static inline size_t h_granule(void) { return h_page_size(); }

/* ---- Files ---------------------------------------------------------------------- */

static inline bool h_exists(const char *path) {
  struct stat st;
  return lstat(path, &st) == 0;
}

static inline long long h_blocks_of(const char *path) {
  struct stat st;
  CHECK(stat(path, &st) == 0);
  return (long long)st.st_blocks;
}

static inline void h_truncate(const char *path, size_t size) {
  CHECK(truncate(path, (off_t)size) == 0);
}
static inline size_t h_file_size(const char *path) {
  struct stat st;
  CHECK(stat(path, &st) == 0);
  return (size_t)st.st_size;
}
static inline bool h_can_punch(const char *path) { return (void)path, true; }
static inline bool h_link(const char *from, const char *to) { return link(from, to) == 0; }
static inline bool h_mkdir(const char *path) { return mkdir(path, 0700) == 0; }

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

#define H_HAS_FORK 1
#define H_START_US 0

static inline void h_remember(PSMHandle handle, const char *name) { (void)handle, (void)name; }

/* Start MEMBER(name) in the segment, with arguments up to NULL. */
static inline pid_t h_member(PSMHandle handle, const char *name, ...) {
  char *argv[12];
  int argc = 0;
  va_list args;
  va_start(args, name);
  while (argc < 11 && (argv[argc] = va_arg(args, char *)) != NULL) argc++;
  va_end(args);
  argv[argc] = NULL;
  const h_entry *entry = h_find(h_children, name);
  pid_t pid = h_fork();
  if (pid != 0) return pid;
  entry->member(handle, argv);
  h_quit(0);
}

/* Does the system end a process that writes there? */
static inline bool h_refuses_writing(void *address) {
  pid_t child = h_fork();
  if (child == 0) {
    signal(SIGSEGV, SIG_DFL);
    *(volatile uint32_t *)address = 1;
    h_quit(0);
  }
  return h_wait(child) == 1000 + SIGSEGV;
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

static inline void h_gate_close(h_gate gate) {
  close(gate.fd[0]);
  close(gate.fd[1]);
}

/* A stopped process is alive and does nothing. */
static inline void h_stop(pid_t pid) { CHECK(kill(pid, SIGSTOP) == 0); }
static inline void h_continue(pid_t pid) { CHECK(kill(pid, SIGCONT) == 0); }

/* Zeroed memory that children by fork share with their parent, apart from any segment. */
static inline void *h_shared(size_t size) {
  void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(p != MAP_FAILED);
  return p;
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

#endif
