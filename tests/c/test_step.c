/* Coming, leaving and forking, cut short or held at each of their system calls.
 *
 * A traced process stops where each system call begins and where it ends. There it is killed, or a
 * few instructions later, or it stands still while another comes or leaves. Whatever happens, those
 * who are in share one file, which is the one of that name, and the last one removes it.
 */
#include "harness.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/ptrace.h>

/* ---- Tracing ----------------------------------------------------------------------- */

static void be_traced(void) {
  signal(SIGUSR1, SIG_IGN);
  if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) h_quit(77);
  raise(SIGSTOP);
}

/* A traced process says that it is done. Nobody else notices. */
static void be_done(void) { raise(SIGUSR1); }

static int await_stop(pid_t pid) {
  int status;
  CHECK(waitpid(pid, &status, __WALL) == pid);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
    SKIP_EMULATED("does not emulate ptrace");
    SKIP("ptrace is not permitted here");
  }
  if (!WIFSTOPPED(status)) FAIL("a traced process ended: %x", (unsigned)status);
  return status;
}

static void trace(pid_t pid, long options) {
  CHECK_EQ(WSTOPSIG(await_stop(pid)), SIGSTOP);
  options |= PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD;
  CHECK(ptrace(PTRACE_SETOPTIONS, pid, NULL, (void *)options) == 0);
}

static void let_go(pid_t pid) { CHECK(ptrace(PTRACE_DETACH, pid, NULL, NULL) == 0); }

/* Go on to the n-th beginning or end of a system call. False: it was done before. `*child`, if not
 * NULL, is a child that it has made on the way, stopped. */
static bool run_to_call(pid_t pid, int n, pid_t *child) {
  while (n > 0) {
    CHECK(ptrace(PTRACE_SYSCALL, pid, NULL, NULL) == 0);
    int status = await_stop(pid);
    if (WSTOPSIG(status) == SIGUSR1) return false;
    if (WSTOPSIG(status) == (SIGTRAP | 0x80)) n--;
    if (status >> 8 == (SIGTRAP | PTRACE_EVENT_FORK << 8)) {
      unsigned long made;
      CHECK(child != NULL && ptrace(PTRACE_GETEVENTMSG, pid, NULL, &made) == 0);
      *child = (pid_t)made;
      CHECK_EQ(WSTOPSIG(await_stop(*child)), SIGSTOP);
    }
  }
  return true;
}

static void run_on(pid_t pid, size_t instructions) {
  for (; instructions > 0; instructions--) {
    CHECK(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) == 0);
    if (WSTOPSIG(await_stop(pid)) == SIGUSR1) return;
  }
}

/* Who creates looks at all segments of the folder: alone in it, it makes the same calls each time.
 * Without the right to have a folder of our own some calls may be left out. */
static void be_alone(void) {
  if (unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0)
    (void)mount("psm-test", "/dev/shm", "tmpfs", 0, "mode=1777");
}

/* ---- Actors ------------------------------------------------------------------------ */

enum act { INIT, LEAVE, READ, READER_LEAVES, STAY, READER_STAYS, OPENER };

struct actor {
  pid_t pid;
  h_gate says, told;
};

static struct stage {
  uint64_t token;       /* in the user word of the segment that all are in */
  int writers, readers; /* who are in */
} * stage;

static void work(PSMHandle handle) {
  static const size_t sizes[] = {40, 3000, 200 * KIB};
  for (size_t i = 0; i < 3; i++) {
    void *block = PSMalloc(handle, sizes[i]);
    CHECK(block != NULL);
    CHECK_SETS(0, PSMfree(handle, block));
  }
}

static void count_in(PSMHandle handle, bool reader) {
  if (handle != NULL)
    __atomic_add_fetch(reader ? &stage->readers : &stage->writers, 1, __ATOMIC_SEQ_CST);
}

static void act_out(struct actor self, enum act act, bool traced) {
  const bool reader = act == READ || act == READER_LEAVES || act == READER_STAYS;
  PSMOptions options = {0, NULL, 0, PSM_OPEN_READONLY};
  PSMHandle handle = NULL;
  if (act == LEAVE || act == STAY || act == OPENER) handle = h_init(h_shm_name(""), MIB);
  if (act == READER_LEAVES || act == READER_STAYS)
    CHECK_EQ(PSMopen(h_shm_name(""), &options, &handle), 0);
  h_gate_open(self.says);
  if (traced) be_traced();
  if (!traced) h_gate_pass(self.told);
  if (act == LEAVE || act == READER_LEAVES) PSMdeinit(handle), handle = NULL;
  if (act == INIT) handle = h_init(h_shm_name(""), MIB);
  if (act == READ && PSMopen(h_shm_name(""), &options, &handle) != 0)
    CHECK_EQ(PSMlastError(), PSM_E_NOT_FOUND);
  if (traced) be_done();
  count_in(handle, reader);
  h_gate_open(self.says);
  h_gate_pass(self.told);
  if (handle != NULL && act != OPENER)
    CHECK_EQ(*(volatile uint64_t *)PSMgetUser(handle), stage->token);
  if (handle != NULL && !reader) work(handle);
  PSMdeinit(handle);
  h_quit(0);
}

/* It has come so far that only its act is left to do. */
static struct actor actor_new(enum act act, bool traced) {
  struct actor actor = {0, h_gate_new(), h_gate_new()};
  actor.pid = h_fork();
  if (actor.pid == 0) act_out(actor, act, traced);
  h_gate_pass(actor.says);
  if (traced) trace(actor.pid, 0);
  return actor;
}

static void actor_end(struct actor *actor, int result) {
  CHECK_EQ(h_wait(actor->pid), result);
  for (int i = 0; i < 2; i++) close(actor->says.fd[i]), close(actor->told.fd[i]);
}

static bool has_said(const struct actor *actor, int milliseconds) {
  struct pollfd p = {actor->says.fd[0], POLLIN, 0};
  return poll(&p, 1, milliseconds) == 1;
}

/* All who are in agree with us, who come last, about the segment; then all leave. */
static void finale(struct actor *actors, int count, size_t size, const char *round) {
  const int writers = stage->writers, readers = stage->readers;
  PSMHandle handle = NULL;
  if (h_exists(h_shm_path("")) != (writers + readers > 0))
    FAIL("%s: %d are in, and the file is %s", round, writers + readers,
         writers + readers > 0 ? "gone" : "left");
  if (writers + readers > 0) {
    handle = h_init(h_shm_name(""), size);
    CHECK_EQ(PSMreap(handle), 0);
    CHECK_EQ(PSMmembers(handle, NULL, 0), writers + 1);
    *(uint64_t *)PSMgetUser(handle) = ++stage->token;
    work(handle);
    h_sound(handle);
  }
  for (int i = 0; i < count; i++) h_gate_open(actors[i].told);
  for (int i = 0; i < count; i++) actor_end(&actors[i], 0);
  PSMdeinit(handle);
  CHECK(!h_exists(h_shm_path("")));
  stage->writers = stage->readers = 0;
}

/* ---- Killed ------------------------------------------------------------------------- */

/* One round: a victim is killed at a call, or some instructions later. One other is in throughout,
 * if `held`, and one may come just before the kill, perhaps while the victim has a lock. After that
 * somebody begins, with a size of its own if nobody is in. False: the victim was done before. */
static bool kill_at_call(enum act act, bool held, int calls, size_t instructions, uint64_t *seed) {
  struct actor others[2];
  int count = 0;
  if (held) others[count++] = actor_new(STAY, false);
  if (held) h_gate_open(others[0].told), h_gate_pass(others[0].says);
  struct actor victim = actor_new(act, true);
  const bool cut_short = run_to_call(victim.pid, calls, NULL);
  if (cut_short) run_on(victim.pid, instructions);
  if (h_below(seed, 2)) {
    others[count] = actor_new(INIT, false);
    h_gate_open(others[count++].told);
    h_sleep_us((unsigned)h_below(seed, 1500));
  }
  CHECK(kill(victim.pid, SIGKILL) == 0);
  actor_end(&victim, 1000 + SIGKILL);
  if (count > held) h_gate_pass(others[held].says);
  const size_t size = count > 0 ? MIB : (1 + h_below(seed, 3)) * MIB;
  PSMHandle handle = h_init(h_shm_name(""), size);
  if (count == 0) CHECK_EQ(*(uint64_t *)PSMgetUser(handle), 0);
  CHECK_EQ(h_stat(handle).size, size);
  CHECK_EQ(h_members(handle), 1 + count);
  CHECK_EQ(h_stat(handle).blocks, 0);
  work(handle);
  h_sound(handle);
  PSMdeinit(handle);
  finale(others, count, size, h_text("killed at call %d and %zu", calls, instructions));
  return cut_short;
}

static void kill_at_every_call(enum act act, bool held) {
#ifdef __SANITIZE_THREAD__
  SKIP("the thread sanitizer's forks are too slow for this");
#endif
  uint64_t seed = h_seed;
  stage = h_shared(sizeof *stage);
  be_alone();
  int calls = 1;
  for (; kill_at_call(act, held, calls, 0, &seed); calls++)
    if (calls % 3 == 0)
      (void)kill_at_call(act, held, calls, 1 + h_below(&seed, calls % 15 ? 120 : 3000), &seed);
  printf("  killed at %d calls\n", calls - 1);
  CHECK(calls > 20);
}

CASE(creator_killed_at_every_call) { kill_at_every_call(INIT, false); }
CASE(joiner_killed_at_every_call) { kill_at_every_call(INIT, true); }
CASE(leaver_killed_at_every_call) { kill_at_every_call(LEAVE, true); }
CASE(last_leaver_killed_at_every_call) { kill_at_every_call(LEAVE, false); }
CASE(reader_killed_at_every_call) { kill_at_every_call(READ, true); }

/* ---- Held --------------------------------------------------------------------------- */

/* One stands still at a call; another acts, or waits for it; the first goes on. */
static void hold_at_call(enum act first, enum act second, int present, int calls, bool *reached) {
  struct actor actors[3], opener;
  int count = 0;
  const bool reads = first == READER_LEAVES || second == READER_LEAVES || present == READER_STAYS;
  if (reads) opener = actor_new(OPENER, false);
  if (present >= 0) actors[count++] = actor_new((enum act)present, false);
  if (present >= 0) h_gate_open(actors[0].told), h_gate_pass(actors[0].says);
  struct actor *held = &actors[count++], *other = &actors[count++];
  *held = actor_new(first, true);
  *other = actor_new(second, false);
  if (reads) { /* it has made the segment for them, and leaves first */
    h_gate_open(opener.told), h_gate_pass(opener.says);
    stage->writers--;
    h_gate_open(opener.told);
    actor_end(&opener, 0);
  }
  *reached = run_to_call(held->pid, calls, NULL);
  h_gate_open(other->told);
  (void)has_said(other, 3);
  let_go(held->pid);
  h_gate_pass(held->says);
  h_gate_pass(other->says);
  finale(actors, count, MIB,
         h_text("held at call %d of act %d, meanwhile act %d", calls, first, second));
}

static void hold_at_calls(int present) {
#ifdef __SANITIZE_THREAD__
  SKIP("the thread sanitizer's forks are too slow for this");
#endif
  static const enum act acts[] = {INIT, LEAVE, READ, READER_LEAVES};
  const int stride = h_env("PSM_STEP_STRIDE", 10 - h_rounds(4)); /* 6, or 9 if all is slow */
  uint64_t seed = h_seed;
  stage = h_shared(sizeof *stage);
  be_alone();
  for (int i = 0; i < 16; i++) {
    bool reached = true;
    int calls = 1 + (int)h_below(&seed, (size_t)stride);
    for (; reached; calls += stride)
      hold_at_call(acts[i / 4], acts[i % 4], present, calls, &reached);
  }
}

CASE(held_at_calls_alone) { hold_at_calls(-1); }
CASE(held_at_calls_beside_a_member) { hold_at_calls(STAY); }
CASE(held_at_calls_beside_a_reader) { hold_at_calls(READER_STAYS); }

/* ---- Fork ---------------------------------------------------------------------------- */

/* A member that forks. Both say so when they have worked. */
static void fork_and_work(uint32_t *worked) {
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  work(handle);
  be_traced();
  pid_t child = fork();
  CHECK(child >= 0);
  work(handle);
  __atomic_or_fetch(worked, child == 0 ? 2 : 1, __ATOMIC_SEQ_CST);
  be_done();
  for (;;) pause();
}

static void await_work(uint32_t *worked, uint32_t bit) {
  for (double end = h_now() + 40; (__atomic_load_n(worked, __ATOMIC_SEQ_CST) & bit) == 0;) {
    CHECK(h_now() < end);
    h_sleep_us(100);
  }
}

/* Kill the parent at a call of its fork, or the child at a call of what it does after; the other
 * goes on, and is the only member that is left. */
static void kill_at_fork(bool kill_child) {
#ifdef __SANITIZE_THREAD__
  SKIP("the thread sanitizer's forks are too slow for this");
#endif
  uint32_t *worked = h_shared(sizeof *worked);
  if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) { /* orphans are ours */
    SKIP_EMULATED("does not emulate ptrace and PR_SET_CHILD_SUBREAPER");
    FAIL("prctl: %s", strerror(errno));
  }
  int calls = 1, orphans = 0;
  for (bool cut_short = true; cut_short; calls++) {
    *worked = 0;
    pid_t child = -1, parent = h_fork();
    if (parent == 0) fork_and_work(worked);
    trace(parent, PTRACE_O_TRACEFORK);
    if (kill_child) {
      CHECK(!run_to_call(parent, 1000000, &child) && child > 0);
      cut_short = run_to_call(child, calls, NULL);
    } else {
      cut_short = run_to_call(parent, calls, &child);
    }
    pid_t victim = kill_child ? child : parent, other = kill_child ? parent : child;
    if (other > 0) let_go(other);
    CHECK(kill(victim, SIGKILL) == 0);
    CHECK(waitpid(victim, NULL, __WALL) == victim);
    if (other > 0) await_work(worked, kill_child ? 1 : 2);
    PSMHandle handle = h_init(h_shm_name(""), MIB);
    PSMMember member[4];
    CHECK_EQ(h_members(handle), 1 + (other > 0));
    CHECK_EQ(PSMmembers(handle, member, 4), 1 + (other > 0));
    for (int i = 0; other > 0 && i < 2; i++)
      CHECK(member[i].pid == (uint32_t)other || member[i].pid == (uint32_t)getpid());
    CHECK(h_stat(handle).blocks <= 1); /* the one in flight */
    h_sound(handle);
    work(handle);
    PSMdeinit(handle);
    CHECK_EQ(h_exists(h_shm_path("")), other > 0);
    if (other > 0) CHECK(kill(other, SIGKILL) == 0);
    while (waitpid(-1, NULL, 0) > 0) orphans++;
  }
  printf("  killed at %d places, %d orphans\n", calls - 2, orphans);
  CHECK(calls > 10);
}

CASE(parent_killed_at_every_call_of_fork) { kill_at_fork(false); }
CASE(child_killed_at_every_call_of_fork) { kill_at_fork(true); }

/* ---- A publisher ------------------------------------------------------------------- */

/* A block is out and in its place, and who published it dies before it has said that it is done.
 * Another takes it back; whoever judges by the place now thinks that it was never published. */
CASE(taken_back_from_a_publisher_that_dies) {
  enum { SIZE = 256, MOST = 4 * MIB / SIZE };
  PSMHandle handle = h_init(h_shm_name(""), 4 * MIB);
  void **place = PSMcalloc(handle, 1, sizeof *place);
  char **blocks = malloc(MOST * sizeof *blocks);
  CHECK(place != NULL && blocks != NULL);
  PSMfree(handle, PSMalloc(handle, SIZE));
  pid_t pid = h_fork();
  if (pid == 0) {
    PSMfree(handle, PSMalloc(handle, SIZE));
    be_traced();
    (void)PSMallocTo(handle, SIZE, place);
    h_quit(1);
  }
  trace(pid, 0);
  while (*(void *volatile *)place == NULL) run_on(pid, 1);
  h_kill(pid);
  CHECK_EQ(PSMfreeFrom(handle, place), 0);
  CHECK_PTR(*place, NULL);
  CHECK(PSMreap(handle) >= 0);
  size_t count = 0;
  while (count < MOST && (blocks[count] = PSMalloc(handle, SIZE)) != NULL) {
    memcpy(blocks[count], &count, sizeof count);
    count++;
  }
  for (size_t i = 0; i < count; i++) CHECK(memcmp(blocks[i], &i, sizeof i) == 0);
  for (size_t i = 0; i < count; i++) CHECK_SETS(0, PSMfree(handle, blocks[i]));
  PSMfree(handle, place);
  h_sound(handle);
  CHECK_EQ(h_stat(handle).blocks, 0);
  free(blocks);
  PSMdeinit(handle);
}
