/* Members that stand still, and seats that are all taken: nobody waits for a process that is
 * stopped, unless it has the span lock, and a process without a seat disturbs no one.
 *
 * These look at the span lock at its place in the file, and at processes step by step.
 */
#include "harness.h"

#include <sys/ptrace.h>

#include "layout.h"

/* ---- Stopped ------------------------------------------------------------------------ */

/* Nobody waits for members that are stopped, and nobody takes what they hold. */
CASE(stopped_members_hold_nobody_up) {
  enum { N = 3, HELD = 50 };
  PSMHandle handle = h_init(h_shm_name(""), 2 * MIB);
  h_gate ready = h_gate_new(), go = h_gate_new();
  pid_t child[N];
  for (int i = 0; i < N; i++) {
    child[i] = h_fork();
    if (child[i] == 0) {
      void *held[HELD];
      for (int k = 0; k < HELD; k++) h_fill(held[k] = PSMalloc(handle, 64), 64, (uint64_t)k);
      for (int k = 0; k < HELD; k += 2) PSMfree(handle, held[k]); /* into its cache */
      h_gate_open(ready);
      h_gate_pass(go);
      for (int k = 0; k < HELD; k += 2) h_fill(held[k] = PSMalloc(handle, 64), 64, (uint64_t)k);
      for (int k = 0; k < HELD; k++) CHECK(h_intact(held[k], 64, (uint64_t)k));
      for (int k = 0; k < HELD; k++) CHECK_SETS(0, PSMfree(handle, held[k]));
      PSMdeinit(handle);
      h_quit(0);
    }
  }
  for (int i = 0; i < N; i++) h_gate_pass(ready);
  for (int i = 0; i < N; i++) {
    int status;
    CHECK(kill(child[i], SIGSTOP) == 0);
    CHECK(waitpid(child[i], &status, WUNTRACED) == child[i] && WIFSTOPPED(status));
  }
  for (int round = 0; round < 20; round++) {
    h_work(handle);
    CHECK_EQ(PSMreap(handle), 0);
    CHECK_EQ(PSMmembers(handle, NULL, 0), N + 1);
    for (int i = 0; i < N; i++) CHECK_EQ(h_entries(handle, child[i], true), 1);
    CHECK_EQ(PSMtrim(handle, NULL), 0);
    h_sound(handle);
  }
  size_t n = 0; /* memory runs short, which reaps too */
  void *blocks[4096];
  for (size_t size = 256 * KIB; size >= 64; size /= 4)
    while (n < 4096 && (blocks[n] = PSMalloc(handle, size)) != NULL) n++;
  while (n > 0) PSMfree(handle, blocks[--n]);
  CHECK_EQ(h_wait(h_spawn("passes_by", h_shm_name(""), NULL)), 0);
  for (int i = 0; i < N; i++) CHECK(kill(child[i], SIGCONT) == 0);
  for (int i = 0; i < N; i++) h_gate_open(go);
  for (int i = 0; i < N; i++) CHECK_EQ(h_wait(child[i]), 0);
  CHECK_EQ(h_stat(handle).blocks, 0);
  h_sound(handle);
  PSMdeinit(handle);
  CHECK(!h_exists(h_shm_path("")));
}
EXEC_CHILD(passes_by) {
  PSMHandle handle = h_init(argv[0], 2 * MIB);
  h_work(handle);
  PSMdeinit(handle);
  return 0;
}

static _Atomic uint32_t *span_lock(PSMHandle handle) {
  struct geometry g;
  CHECK(psm_geometry(&g, h_stat(handle).size, (uintptr_t)handle));
  return &((struct spans_shm *)(void *)((char *)handle + g.spans))->lock;
}

/* One instruction of a traced child. False: it has stopped by itself, or ended. */
static bool step_once(pid_t child) {
  int status;
  CHECK(ptrace(PTRACE_SINGLESTEP, child, NULL, NULL) == 0);
  CHECK(waitpid(child, &status, 0) == child);
  return WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP;
}

/* A child that is traced by us, and has stopped where it calls this. */
static void be_traced(void) {
  if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) h_quit(77);
  raise(SIGSTOP);
}
static void await_traced(pid_t child) {
  int status;
  CHECK(waitpid(child, &status, 0) == child);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
    SKIP_EMULATED("does not emulate ptrace");
    SKIP("ptrace is not permitted here");
  }
  CHECK(WIFSTOPPED(status));
  CHECK(ptrace(PTRACE_SETOPTIONS, child, NULL, PTRACE_O_EXITKILL) == 0);
}

/* Stopped by us, and not traced any more. */
static void leave_stopped(pid_t child) {
  int status;
  CHECK(kill(child, SIGSTOP) == 0);
  CHECK(ptrace(PTRACE_DETACH, child, NULL, NULL) == 0);
  CHECK(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status));
}

/* Stop a member that has the span lock; who needs the lock waits, and gets it after SIGCONT, or
 * after a SIGKILL. Who does not need it goes on. */
static void stopped_in_the_lock(bool killed) {
#ifdef __SANITIZE_THREAD__
  SKIP("the thread sanitizer's instructions are too many to be stepped through");
#endif
  enum { ROUNDS = 6 };
  uint64_t seed = h_seed;
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  _Atomic uint32_t *lock = span_lock(handle);
  void *mine = PSMalloc(handle, 64);
  for (int round = 0; round < ROUNDS; round++) {
    h_gate ready = h_gate_new(), go = h_gate_new();
    pid_t waiter = h_fork();
    if (waiter == 0) {
      PSMfree(handle, PSMalloc(handle, 64));
      h_gate_open(ready);
      h_gate_pass(go);
      PSMfree(handle, PSMalloc(handle, 64)); /* from its cache, without the lock */
      h_gate_open(ready);
      h_work(handle);
      PSMdeinit(handle);
      h_quit(0);
    }
    h_gate_pass(ready);
    pid_t holder = h_fork();
    if (holder == 0) {
      PSMfree(handle, PSMalloc(handle, 64));
      be_traced();
      void *large = PSMalloc(handle, 200 * KIB);
      CHECK(large != NULL);
      PSMfree(handle, large);
      PSMdeinit(handle);
      h_quit(0);
    }
    await_traced(holder);
    while (*lock == 0) CHECK(step_once(holder));
    const uint32_t tag = *lock;
    for (size_t more = h_below(&seed, 60); more > 0 && *lock == tag; more--)
      CHECK(step_once(holder));
    while (*lock != tag) CHECK(step_once(holder));
    leave_stopped(holder);

    h_gate_open(go);
    h_gate_pass(ready);
    PSMfree(handle, mine);
    mine = PSMalloc(handle, 64);
    CHECK_EQ(h_wait_within(waiter, 0.12), -1);
    CHECK_EQ(*lock & 0x7fffffff, tag); /* the top bit says that somebody waits */
    CHECK_EQ(h_entries(handle, holder, true), 1);
    CHECK(kill(holder, killed ? SIGKILL : SIGCONT) == 0);
    CHECK_EQ(h_wait(waiter), 0);
    CHECK_EQ(h_wait(holder), killed ? 1000 + SIGKILL : 0);
    CHECK_EQ(PSMreap(handle), killed);
    h_work(handle);
    h_sound(handle);
    close(ready.fd[0]), close(ready.fd[1]), close(go.fd[0]), close(go.fd[1]);
  }
  PSMfree(handle, mine);
  CHECK(h_stat(handle).blocks <= (killed ? ROUNDS : 0));
  PSMdeinit(handle);
}

CASE(stopped_in_the_span_lock) { stopped_in_the_lock(false); }
CASE(killed_in_the_span_lock) { stopped_in_the_lock(true); }

/* ---- All seats --------------------------------------------------------------------------- */

/* A child that found no seat: every call that needs one says so, and it never takes the span
 * lock, which would be in its parent's name. */
static void be_refused(PSMHandle handle, void *block) {
  PSMHandle again = NULL;
  PSMStat stat;
  uint32_t *word = block;
  CHECK_SETS(PSM_E_MEMBERS, CHECK(PSMalloc(handle, 10) == NULL));
  CHECK_SETS(PSM_E_MEMBERS, CHECK(PSMalloc(handle, 200 * KIB) == NULL));
  CHECK_SETS(PSM_E_MEMBERS, PSMfree(handle, block));
  CHECK_SETS(PSM_E_MEMBERS, CHECK(PSMrealloc(handle, block, 5000) == NULL));
  CHECK_EQ(PSMlock(handle, word), PSM_E_MEMBERS);
  CHECK_EQ(PSMunlock(handle, word), PSM_E_MEMBERS);
  CHECK_EQ(PSMreap(handle), PSM_E_MEMBERS);
  CHECK_EQ(PSMtrim(handle, NULL), PSM_E_MEMBERS);
  CHECK_EQ(PSMmembers(handle, NULL, 0), PSM_SEATS);
  be_traced();
  CHECK_EQ(PSMstat(handle, &stat), 0);
  CHECK_EQ(PSMcheck(handle), 0);
  CHECK_SETS(PSM_E_MEMBERS, PSMinit(h_shm_name(""), MIB, NULL, &again));
  CHECK(again == NULL);
  PSMdeinit(handle);
  CHECK_SETS(PSM_E_MEMBERS, PSMinit(h_shm_name(""), MIB, NULL, &again));
  CHECK(again == NULL);
}

CASE(all_seats_taken) {
  static pid_t child[PSM_SEATS];
  h_gate ready = h_gate_new(), go = h_gate_new(), left = h_gate_new();
  PSMHandle handle = h_init(h_shm_name(""), MIB);
  void *block = PSMcalloc(handle, 1, 100);
  for (int i = 1; i < PSM_SEATS; i++) {
    child[i] = h_fork();
    if (child[i] != 0) continue;
    h_gate_open(ready);
    if (i != 7) h_gate_pass(left); /* never */
    h_gate_pass(go);
    PSMdeinit(handle);
    h_gate_open(ready);
    h_gate_pass(go);
    CHECK_PTR(h_init(h_shm_name(""), MIB), handle); /* and comes back */
    h_work(handle);
    h_gate_open(ready);
    for (;;) pause();
  }
  for (int i = 1; i < PSM_SEATS; i++) h_gate_pass(ready);
  CHECK_EQ(PSMmembers(handle, NULL, 0), PSM_SEATS);

  pid_t refused = h_fork();
  if (refused == 0) {
    be_refused(handle, block);
    h_quit(0);
  }
  await_traced(refused);
#ifndef __SANITIZE_THREAD__
  _Atomic uint32_t *lock = span_lock(handle);
  for (int steps = 0; steps < 4000 && step_once(refused); steps++)
    if (*lock != 0) FAIL("a process without a seat takes the lock, as %x", (unsigned)*lock);
#endif
  CHECK(ptrace(PTRACE_DETACH, refused, NULL, NULL) == 0);
  CHECK_EQ(h_wait(refused), 0);
  h_work(handle);

  h_gate_open(go); /* one leaves, the next gets in */
  h_gate_pass(ready);
  pid_t next = h_fork();
  if (next == 0) {
    h_work(handle);
    h_gate_open(ready);
    for (;;) pause();
  }
  h_gate_pass(ready);
  CHECK_EQ(PSMmembers(handle, NULL, 0), PSM_SEATS);
  h_kill(next); /* one dies, and the one that has left gets in again */
  h_gate_open(go);
  h_gate_pass(ready);
  CHECK_EQ(PSMmembers(handle, NULL, 0), PSM_SEATS);
  for (int i = 1; i < PSM_SEATS; i++) CHECK(kill(child[i], SIGKILL) == 0);
  for (int i = 1; i < PSM_SEATS; i++) CHECK(waitpid(child[i], NULL, 0) == child[i]);
  CHECK_EQ(PSMreap(handle), PSM_SEATS - 1);
  h_sound(handle);
  CHECK_SETS(0, PSMfree(handle, block));
  PSMdeinit(handle);
  CHECK(!h_exists(h_shm_path("")));
}
