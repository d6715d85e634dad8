/* A pid means nothing: it is used again, it exists once in every PID namespace, and a process may
 * change its user. Members are told apart all the same, no living one is taken for dead, and each
 * death is seen on the other side.
 */
#include "harness.h"

#include <sched.h>

static bool is_mapped(PSMHandle handle) {
  unsigned char in_core;
  return mincore((void *)handle, 1, &in_core) == 0;
}

/* ---- PID namespaces -------------------------------------------------------------- */

static void need_namespaces(void) {
  pid_t pid = h_fork();
  if (pid == 0) h_quit(unshare(CLONE_NEWPID) != 0);
  if (h_wait(pid) != 0) SKIP("PID namespaces are not permitted here");
}

/* A child that is the first process of a PID namespace of its own. It is no member. */
static pid_t fork_into_namespace(void) {
  CHECK(unshare(CLONE_NEWPID) == 0);
  pid_t pid = h_fork();
  if (pid == 0) CHECK_EQ(getpid(), 1);
  return pid;
}

/* The next process of this namespace gets this pid. */
static void next_pid_is(pid_t pid) {
  FILE *file = fopen("/proc/sys/kernel/ns_last_pid", "w");
  if (file == NULL || fprintf(file, "%d", (int)pid - 1) <= 0 || fclose(file) != 0)
    SKIP("pids cannot be chosen: %s", strerror(errno));
}

enum { ELSEWHERE, ANOTHER_SEGMENT, JOINS_UNREAPED, JOINS_REAPED, JOINED_BY_FORK, ROLES };

/* What a process does with the pid of a dead member. */
static void live_with_used_pid(int role, PSMHandle handle, h_gate ready, h_gate go) {
  if (role == ANOTHER_SEGMENT) handle = h_init(h_shm_name("other"), MIB);
  if (role == JOINS_UNREAPED || role == JOINS_REAPED) handle = h_init(h_shm_name(""), MIB);
  if (handle != NULL) h_work(handle);
  h_gate_open(ready);
  h_gate_pass(go);
  PSMdeinit(handle);
  h_quit(0);
}

static void pids_used_again(void) {
  next_pid_is(100);
  for (int role = 0; role < ROLES; role++) {
    h_gate ready = h_gate_new(), go = h_gate_new(), again = h_gate_new(), leave = h_gate_new();
    pid_t *pid = h_shared(sizeof *pid);
    pid_t observer = h_fork();
    if (observer == 0) {
      PSMHandle handle = h_init(h_shm_name(""), MIB);
      h_work(handle);
      uint32_t *lock = PSMcalloc(handle, 1, sizeof *lock);
      *(void **)PSMgetUser(handle) = lock;
      h_gate_open(ready);
      h_gate_pass(go); /* the victim is dead */
      CHECK_EQ(h_entries(handle, *pid, false), 1);
      uint64_t dead = 0;
      PSMMember member[2];
      if (role == JOINS_REAPED) CHECK_EQ(PSMdeaths(handle, &dead, member, 2), 1);
      h_gate_open(ready);
      pid_t same = -1;
      if (role == JOINED_BY_FORK) {
        next_pid_is(*pid);
        same = h_fork();
        if (same == 0) live_with_used_pid(role, handle, ready, leave);
        CHECK_EQ(same, *pid);
      }
      h_gate_pass(again); /* its pid is another's */
      const bool joined = role >= JOINS_UNREAPED, reaped = joined && role != JOINED_BY_FORK;
      CHECK_EQ(h_entries(handle, *pid, false), !reaped);
      CHECK_EQ(h_entries(handle, *pid, true), joined);
      CHECK_EQ(PSMreap(handle), !reaped);
      CHECK_EQ(PSMlock(handle, lock), PSM_OWNER_DIED);
      CHECK_EQ(PSMunlock(handle, lock), 0);
      CHECK_EQ(h_entries(handle, *pid, true), joined);
      CHECK_EQ(PSMmembers(handle, NULL, 0), 1 + joined);
      CHECK_EQ(h_stat(handle).caches, 1 + joined);
      CHECK_EQ(h_stat(handle).blocks, 1);
      if (role != JOINS_REAPED) CHECK_EQ(PSMdeaths(handle, &dead, member, 2), 1);
      CHECK_EQ(member[0].pid, *pid);
      CHECK_EQ(PSMalive(handle, member[0].id), 0);
      h_gate_open(ready);
      if (same > 0) CHECK_EQ(h_wait(same), 0);
      h_gate_pass(go);
      CHECK_EQ(PSMmembers(handle, NULL, 0), 1);
      h_sound(handle);
      PSMdeinit(handle);
      h_quit(0);
    }
    h_gate_pass(ready);
    pid_t victim = h_fork();
    if (victim == 0) {
      PSMHandle handle = h_init(h_shm_name(""), MIB);
      h_work(handle);
      CHECK_EQ(PSMlock(handle, *(void **)PSMgetUser(handle)), 0);
      h_quit(0);
    }
    CHECK_EQ(h_wait(victim), 0);
    *pid = victim;
    h_gate_open(go);
    h_gate_pass(ready);
    pid_t same = -1;
    if (role != JOINED_BY_FORK) {
      next_pid_is(victim);
      same = h_fork();
      if (same == 0) live_with_used_pid(role, NULL, ready, leave);
      CHECK_EQ(same, victim);
    }
    h_gate_pass(ready);
    h_gate_open(again);
    h_gate_pass(ready);
    h_gate_open(leave);
    if (same > 0) CHECK_EQ(h_wait(same), 0);
    h_gate_open(go);
    CHECK_EQ(h_wait(observer), 0);
    CHECK(!h_exists(h_shm_path("")) && !h_exists(h_shm_path("other")));
  }
}

/* Who gets the pid of a dead member, a member itself or not, is not taken for the dead one. */
CASE(pid_is_used_again) {
  need_namespaces();
  pid_t outer = h_fork();
  if (outer == 0) {
    pid_t first = fork_into_namespace();
    if (first == 0) {
      pids_used_again();
      h_quit(0);
    }
    h_quit(h_wait(first));
  }
  int result = h_wait(outer);
  if (result == 77) h_quit(77);
  CHECK_EQ(result, 0);
}

/* Two namespaces, and in each a first process with two children: the pids 1, 2 and 3 twice. */
enum { SIDES = 2, WORKERS = 2, FIRST_BLOCKS = 20 };

struct side {
  h_gate ready, go;
};

/* Each side is the first process of a PID namespace; `outer` waits for it outside. */
static void sides_start(struct side *side, pid_t *outer, void (*live)(struct side, int)) {
  for (int i = 0; i < SIDES; i++) {
    side[i] = (struct side){h_gate_new(), h_gate_new()};
    outer[i] = h_fork();
    if (outer[i] != 0) continue;
    pid_t first = fork_into_namespace();
    if (first == 0) live(side[i], i);
    h_quit(h_wait(first));
  }
}

static void exchange(PSMHandle handle, void **table, uint64_t seed) {
  for (int round = 0; round < h_rounds(3000); round++) {
    size_t size = h_below(&seed, 60) ? h_below(&seed, 2000) : h_below(&seed, 100 * KIB);
    void *block = PSMalloc(handle, size);
    if (block != NULL) memset(block, 1, size);
    block = __atomic_exchange_n(&table[h_below(&seed, 64)], block, __ATOMIC_ACQ_REL);
    CHECK_SETS(0, PSMfree(handle, block));
  }
}

static void live_in_side(struct side self, int which) {
  (void)which;
  h_gate_pass(self.go);
  pid_t child[WORKERS];
  PSMHandle handle = h_init(h_shm_name(""), 4 * MIB);
  void **table = *(void **)PSMgetUser(handle);
  for (int i = 0; i < WORKERS; i++) {
    child[i] = h_fork();
    if (child[i] != 0) continue;
    exchange(handle, table, h_seed + (uint64_t)i);
    h_gate_open(self.ready);
    if (i == 0) PSMfree(handle, PSMalloc(handle, 64));
    for (;;) pause();
  }
  h_gate_open(self.ready);
  h_gate_pass(self.go); /* all are there */
  for (pid_t pid = 1; pid <= 3; pid++) CHECK_EQ(h_entries(handle, pid, true), SIDES);
  CHECK_EQ(PSMmembers(handle, NULL, 0), 1 + SIDES * (1 + WORKERS));
  CHECK_EQ(PSMreap(handle), 0);
  h_gate_open(self.ready);
  h_gate_pass(self.go); /* one worker of each side dies */
  h_kill(child[0]);
  h_gate_open(self.ready);
  h_gate_pass(self.go);
  h_work(handle);
  CHECK_EQ(h_entries(handle, 2, true), 0);
  CHECK_EQ(h_entries(handle, 3, true), SIDES);
  CHECK_EQ(h_entries(handle, 1, true), SIDES);
  h_gate_open(self.ready);
  h_gate_pass(self.go);
  h_kill(child[1]);
  PSMdeinit(handle);
  CHECK(!is_mapped(handle));
  h_quit(0);
}

CASE(two_pid_namespaces) {
  SKIP_EMULATED("has threads of its own, which take pids");
  need_namespaces();
  struct side side[SIDES];
  pid_t outer[SIDES];
  sides_start(side, outer, live_in_side);
  PSMHandle handle = h_init(h_shm_name(""), 4 * MIB);
  void **table = PSMcalloc(handle, 64, sizeof *table);
  *(void **)PSMgetUser(handle) = table;
  for (int i = 0; i < SIDES; i++) h_gate_open(side[i].go);
  for (int i = 0; i < SIDES * (1 + WORKERS); i++) h_gate_pass(side[i % SIDES].ready);
  for (int step = 0; step < 3; step++) {
    for (int i = 0; i < SIDES; i++) h_gate_open(side[i].go);
    for (int i = 0; i < SIDES; i++) h_gate_pass(side[i].ready);
    if (step == 1) CHECK_EQ(h_entries(handle, 2, false), SIDES);
    if (step == 1) CHECK_EQ(PSMreap(handle), SIDES);
  }
  for (int i = 0; i < 64; i++) CHECK_SETS(0, PSMfree(handle, table[i]));
  CHECK_SETS(0, PSMfree(handle, table));
  CHECK_EQ(h_stat(handle).blocks, 0);
  h_sound(handle);
  PSMdeinit(handle); /* the last leaver is in a namespace */
  CHECK(h_exists(h_shm_path("")));
  for (int i = 0; i < SIDES; i++) h_gate_open(side[i].go);
  for (int i = 0; i < SIDES; i++) CHECK_EQ(h_wait(outer[i]), 0);
  CHECK(!h_exists(h_shm_path("")));
}

/* Two members with one pid, in two namespaces, who began at the same time as far as they can tell:
 * who leaves takes its mapping along and can come back, even to another segment of that name. */
static void turn_ends(struct side self) {
  h_gate_open(self.ready);
  h_gate_pass(self.go);
}

static void live_as_twin(struct side self, int which) {
  bool second = which == 1;
  h_gate_pass(self.go);
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  turn_ends(self);
  CHECK_EQ(h_entries(handle, 1, true), 2 - second);
  CHECK_EQ(PSMmembers(handle, NULL, 0), 2 - second);
  PSMdeinit(handle);
  CHECK(!is_mapped(handle));
  CHECK_EQ(h_exists(h_shm_path("")), !second);
  if (second) CHECK_PTR(h_init(h_shm_name(""), MIB), handle);
  turn_ends(self);
  if (!second) CHECK_PTR(h_init(h_shm_name(""), MIB), handle);
  h_work(handle);
  CHECK_EQ(h_entries(handle, 1, true), SIDES);
  turn_ends(self);
  CHECK_EQ(PSMreap(handle), 0);
  h_work(handle);
  PSMdeinit(handle);
  CHECK(!is_mapped(handle));
  h_gate_open(self.ready);
  h_quit(0);
}

CASE(one_pid_in_two_namespaces) {
  need_namespaces();
  struct side side[SIDES];
  pid_t outer[SIDES];
  sides_start(side, outer, live_as_twin);
  for (int turn = 0; turn < 4 * SIDES; turn++) {
    h_gate_open(side[turn % SIDES].go);
    h_gate_pass(side[turn % SIDES].ready);
  }
  for (int i = 0; i < SIDES; i++) CHECK_EQ(h_wait(outer[i]), 0);
  CHECK(!h_exists(h_shm_path("")));
}

/* ---- Users ----------------------------------------------------------------------- */

static void become_nobody(void) { CHECK(setgid(65534) == 0 && setuid(65534) == 0); }

/* A path in a folder that everybody may write. */
static char *public_path(void) {
  if (geteuid() != 0) SKIP("needs root to become somebody else");
  CHECK(chmod(h_directory, 0777) == 0);
  umask(0);
  return h_path("segment");
}

static PSMHandle open_for_all(const char *path) {
  PSMOptions options = {MIB, NULL, 0666, 0};
  PSMHandle handle = NULL;
  CHECK_EQ(PSMopen(path, &options, &handle), 0);
  return handle;
}

/* Each of two users sees the other's death, gets its lock and memory, and may be the last. */
CASE(two_users_and_their_deaths) {
  char *path = public_path();
  for (int victim_is_root = 0; victim_is_root < 2; victim_is_root++) {
    h_gate ready = h_gate_new(), go = h_gate_new(), leave = h_gate_new();
    pid_t survivor = h_fork();
    if (survivor == 0) {
      if (victim_is_root) become_nobody();
      PSMHandle handle = open_for_all(path);
      uint32_t *lock = PSMcalloc(handle, 1, sizeof *lock);
      *(void **)PSMgetUser(handle) = lock;
      h_work(handle);
      h_gate_open(ready);
      h_gate_pass(go);
      CHECK_EQ(PSMmembers(handle, NULL, 0), 2);
      CHECK_EQ(PSMreap(handle), 1);
      CHECK_EQ(PSMlock(handle, lock), PSM_OWNER_DIED);
      CHECK_EQ(PSMunlock(handle, lock), 0);
      CHECK_EQ(h_stat(handle).caches, 1);
      CHECK_EQ(h_stat(handle).blocks, 1);
      h_work(handle);
      h_sound(handle);
      h_gate_open(ready);
      h_gate_pass(go);
      PSMdeinit(handle);
      CHECK(h_exists(path));
      h_quit(0);
    }
    h_gate_pass(ready);
    pid_t victim = h_fork();
    if (victim == 0) {
      if (!victim_is_root) become_nobody();
      PSMHandle handle = open_for_all(path);
      h_work(handle);
      CHECK_EQ(PSMreap(handle), 0);
      CHECK_EQ(PSMlock(handle, *(void **)PSMgetUser(handle)), 0);
      h_gate_open(ready);
      for (;;) pause();
    }
    h_gate_pass(ready);
    h_kill(victim);
    h_gate_open(go);
    h_gate_pass(ready);
    pid_t last = h_fork();
    if (last == 0) {
      if (!victim_is_root) become_nobody();
      PSMHandle handle = open_for_all(path);
      h_gate_open(ready);
      h_gate_pass(leave);
      h_work(handle);
      PSMdeinit(handle);
      CHECK(!h_exists(path));
      h_quit(0);
    }
    h_gate_pass(ready);
    h_gate_open(go);
    CHECK_EQ(h_wait(survivor), 0);
    h_gate_open(leave);
    CHECK_EQ(h_wait(last), 0);
  }
}

/* Who may not open the file changes nothing in it. */
CASE(refused_user_changes_nothing) {
  char *path = public_path();
  h_gate go = h_gate_new();
  pid_t nobody = h_fork();
  if (nobody == 0) {
    PSMHandle other = (PSMHandle)(uintptr_t)1;
    PSMOptions reader = {0, NULL, 0, PSM_OPEN_READONLY};
    h_gate_pass(go);
    become_nobody();
    CHECK_SETS(PSM_E_ACCESS, PSMinit(path, MIB, NULL, &other));
    CHECK(other == NULL);
    CHECK_SETS(PSM_E_ACCESS, PSMinit(path, 2 * MIB, NULL, &other));
    CHECK_EQ(PSMopen(path, &reader, &other), PSM_E_ACCESS);
    h_quit(0);
  }
  struct stat before, after;
  size_t size, size_after;
  PSMHandle handle = h_init(path, MIB);
  PSMfree(handle, PSMalloc(handle, 100));
  CHECK(stat(path, &before) == 0);
  char *bytes = h_read_file(path, &size);
  h_gate_open(go);
  CHECK_EQ(h_wait(nobody), 0);
  CHECK(stat(path, &after) == 0);
  char *bytes_after = h_read_file(path, &size_after);
  CHECK(after.st_ino == before.st_ino && after.st_mode == before.st_mode);
  CHECK_EQ(after.st_blocks, before.st_blocks);
  CHECK(size_after == size && memcmp(bytes, bytes_after, size) == 0);
  free(bytes);
  free(bytes_after);
  h_sound(handle);
  PSMdeinit(handle);
  CHECK(!h_exists(path));
}

/* A private file, and a member that is another user by now: it goes on, is seen alive and dead,
 * and its children keep nobody waiting. */
CASE(user_changed_after_opening) {
  char *path = public_path();
  h_gate ready = h_gate_new(), go = h_gate_new();
  PSMHandle handle = h_init(path, MIB);
  uint32_t *lock = PSMcalloc(handle, 1, sizeof *lock);
  pid_t member = h_fork();
  if (member == 0) {
    become_nobody();
    h_work(handle);
    CHECK_EQ(PSMreap(handle), 0);
    CHECK_EQ(PSMlock(handle, lock), 0);
    h_gate_open(ready);
    h_gate_pass(go);
    pid_t child = h_fork();
    if (child == 0) {
      PSMclearError();
      void *block = PSMalloc(handle, 100);
      if (block == NULL) CHECK_EQ(PSMlastError(), PSM_E_MEMBERS);
      PSMfree(handle, block);
      h_gate_open(ready);
      for (;;) pause();
    }
    h_work(handle);
    for (;;) pause();
  }
  h_gate_pass(ready);
  CHECK_EQ(PSMreap(handle), 0);
  CHECK_EQ(h_entries(handle, member, true), 1);
  h_gate_open(go);
  h_gate_pass(ready);
  h_kill(member); /* its child lives on */
  CHECK_EQ(h_entries(handle, member, true), 0);
  CHECK_EQ(PSMreap(handle), 1);
  CHECK_EQ(PSMlock(handle, lock), PSM_OWNER_DIED);
  CHECK_EQ(PSMunlock(handle, lock), 0);
  h_work(handle);
  h_sound(handle);
  pid_t last = h_fork();
  if (last == 0) {
    become_nobody();
    h_gate_pass(go);
    PSMdeinit(handle);
    CHECK(!h_exists(path));
    h_quit(0);
  }
  PSMdeinit(handle);
  h_gate_open(go);
  CHECK_EQ(h_wait(last), 0);
}
