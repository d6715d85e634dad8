/* A worker: it joins, its threads go through their steps until it is killed, and in between it
 * forks, leaves, comes back, and exchanges a thread for a new one.
 */
#include "soak.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { UPKEEP_US = 8000, CHANGE_US = 20000, VISITORS = 6, STEPS_OF_VISITOR = 2000 };

/* AddressSanitizer takes locks that a child of several threads finds held for ever. */
#if defined(__SANITIZE_ADDRESS__)
enum { FORK_ALONE = true };
#else
enum { FORK_ALONE = false };
#endif

#define WITHOUT_SUPERVISOR UINT64_C(60000000000) /* ns: for so long its processes go on */

static struct proc *self;
static uint64_t born; /* the state in which this process's slot was reserved */
static pthread_t second;
static _Atomic uint32_t second_ends;

static void quit(void) { _exit(1); }

/* An orderly end is announced; the supervisor must know this process before it goes. */
static _Noreturn void leave_process(void) {
  self->ending = 1;
  while (!self->known && !arena->failed) sleep_us(200);
  _exit(0);
}

static void crashed(int signal) { fail("a worker got signal %d, %s", signal, strsignal(signal)); }

/* Sanitizers have handlers of their own. */
static void watch_crashes(void) {
  static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
  struct sigaction now;
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
    if (sigaction(signals[i], NULL, &now) == 0 && now.sa_handler == SIG_DFL)
      signal(signals[i], crashed);
}

static struct thread thread_make(uint64_t index) {
  uint64_t id = incarnation_of(born) << 8 | (uint64_t)(self - arena->procs) << 1 | index;
  struct thread t = {&self->records[index], id, 0};
  t.record->id = id;
  t.seed = arena->seed ^ t.id * 0x9e3779b97f4a7c15u ^ now_ns();
  t.record->since = now_ns();
  return t;
}

/* ---- To join and to leave ---- */

static void join(struct thread *t) {
  PSMHandle got = NULL;
  PSMOptions any = {0, NULL, 0, PSM_OPEN_JOIN};
  begin(t, OP_JOIN, 0, 0);
  if (below(&t->seed, 2) == 0)
    PSMinit(arena->name, arena->size, NULL, &got);
  else
    (void)PSMopen(arena->name, &any, &got);
  if (got == NULL) fail("joining failed: %s", PSMerrorString(PSMlastError()));
  if ((uintptr_t)got != arena->base) fail("the segment has another address now");
  handle = got;
  world = *(void **)PSMgetUser(handle);
  if (world == NULL) fail("the segment was begun anew while it was in use");
  end(t);
}

static void leave(struct thread *t) {
  begin(t, OP_LEAVE, 0, 0);
  PSMclearError();
  PSMdeinit(handle);
  if (PSMlastError() != 0) fail("PSMdeinit failed: %s", PSMerrorString(PSMlastError()));
  end(t);
}

/* ---- Threads ---- */

static void halt_here(struct thread *t, const _Atomic uint32_t *ends) {
  uint32_t halt;
  if (now_ns() > arena->lease + WITHOUT_SUPERVISOR) _exit(3);
  while ((halt = arena->halt) != 0 && halt != HALT_OVER && (ends == NULL || *ends == 0)) {
    t->record->parked = halt;
    halt_wait(halt);
    if (now_ns() > arena->lease + WITHOUT_SUPERVISOR) _exit(3);
  }
  t->record->since = now_ns();
  t->record->parked = 0;
}

/* Returns how long the last step took, in ns; notes when the next begins. */
static uint64_t clock_in(struct thread *t) {
  uint64_t now = now_ns();
  uint64_t took = now - t->record->since;
  if (took > t->record->longest) {
    t->record->longest = took;
    t->record->slowest = t->record->last;
  }
  t->record->since = now;
  return now;
}

static bool is_over(void) { return arena->halt == HALT_OVER || arena->failed != 0; }

static void spawn(struct thread *t);

/* The signal comes while this thread runs, at whatever instruction it is by then. */
static void doom(uint32_t ns) {
  struct sigevent event = {0};
  struct itimerspec when = {{0, 0}, {0, (long)ns}};
  timer_t timer;
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGKILL;
  if (timer_create(CLOCK_MONOTONIC, &event, &timer) == 0) timer_settime(timer, 0, &when, NULL);
}

static void work_on(struct thread *t, uint64_t *next_upkeep) {
  uint64_t now = clock_in(t);
  if (self->doom != 0) doom(atomic_exchange(&self->doom, 0));
  if (arena->reap != 0 && atomic_exchange(&arena->reap, 0) != 0) reap(t);
  if (now < *next_upkeep) {
    step(t);
    return;
  }
  *next_upkeep = now + below(&t->seed, UPKEEP_US) * 1000;
  if (below(&t->seed, 6) == 0 && (!FORK_ALONE || self->threads == 1))
    spawn(t);
  else
    upkeep(t);
}

static void *second_run(void *unused) {
  (void)unused;
  struct thread t = thread_make(1);
  uint64_t next_upkeep = 0;
  while (!second_ends && !is_over()) {
    halt_here(&t, &second_ends);
    t.record->since = now_ns();
    for (int i = 0; i < 16 && !second_ends && arena->halt == 0; i++) work_on(&t, &next_upkeep);
  }
  return NULL;
}

static void second_start(struct thread *t) {
  begin(t, OP_THREAD, 0, 0);
  self->records[1].parked = 0;
  self->records[1].since = now_ns();
  second_ends = 0;
  if (pthread_create(&second, NULL, second_run, NULL) != 0) fail("pthread_create failed");
  end(t);
}

static void second_stop(struct thread *t) {
  begin(t, OP_THREAD, 0, 0);
  second_ends = 1;
  if (pthread_join(second, NULL) != 0) fail("pthread_join failed");
  end(t);
}

/* What only the main thread can do, because the other one must not be inside a call. */
static void change(struct thread *t) {
  second_stop(t);
  if (FORK_ALONE) spawn(t);
  if (below(&t->seed, 2) == 0) {
    leave(t);
    if (below(&t->seed, 2) == 0) sleep_us(below(&t->seed, 300));
    join(t);
  }
  second_start(t);
}

/* ---- Lives ---- */

static void enroll(int index, uint64_t state) {
  self = &arena->procs[index];
  born = state;
  signal(SIGCHLD, SIG_IGN);
  fail_end = quit;
  watch_crashes();
}

/* Who comes too late finds the slot another's, and must not write into it. */
static struct thread appear(void) {
  if (!proc_turn(self, born, PROC_ARRIVED)) _exit(0);
  self->threads = role_of(born) == ROLE_WORKER ? THREADS : 1;
  self->pid = getpid();
  self->records[1].since = now_ns();
  struct thread t = thread_make(0);
  (void)proc_turn(self, self->state, PROC_RUNNING);
  if (is_over()) leave_process();
  return t;
}

static _Noreturn void work(struct thread *t) {
  uint64_t next_upkeep = 0;
  uint64_t next_change = now_ns() + below(&t->seed, CHANGE_US) * 1000;
  second_start(t);
  while (!is_over()) {
    halt_here(t, NULL);
    t->record->since = now_ns();
    for (int i = 0; i < 16 && arena->halt == 0; i++) work_on(t, &next_upkeep);
    if (arena->halt != 0 || now_ns() < next_change) continue;
    next_change = now_ns() + below(&t->seed, CHANGE_US) * 1000;
    change(t);
    (void)clock_in(t);
  }
  second_stop(t);
  leave(t);
  leave_process();
}

static _Noreturn void visit(struct thread *t) {
  uint64_t next_upkeep = now_ns();
  for (uint64_t left = below(&t->seed, STEPS_OF_VISITOR); left > 0 && !is_over(); left--) {
    if (arena->halt != 0) {
      halt_here(t, NULL);
      t->record->since = now_ns();
    }
    work_on(t, &next_upkeep);
  }
  if (below(&t->seed, 3) != 0) leave(t); /* else it goes as one who crashes */
  leave_process();
}

static _Noreturn void child_main(int index, uint64_t state, bool announced) {
  enroll(index, state);
  if (announced && PSMexecuteInherit(handle) != handle)
    fail("PSMexecuteInherit failed: %s", PSMerrorString(PSMlastError()));
  struct thread t = appear();
  if (role_of(state) == ROLE_WORKER) work(&t);
  visit(&t);
}

static bool visitors_few(void) {
  int running = 0;
  for (int i = 0; i < PROCS; i++) running += proc_state(&arena->procs[i]) == PROC_RUNNING;
  return running < WORKERS + VISITORS;
}

static bool is_wanted(void) {
  uint32_t wanted = arena->wanted;
  while (wanted > 0)
    if (atomic_compare_exchange_strong(&arena->wanted, &wanted, wanted - 1)) return true;
  return false;
}

/* Nobody forks once a halt was called: who reserves a slot after that withdraws. */
static void spawn(struct thread *t) {
  bool wanted = is_wanted();
  if (!wanted && !visitors_few()) return;
  uint64_t state;
  int index = proc_reserve(wanted ? ROLE_WORKER : ROLE_VISITOR, (int)(self - arena->procs), &state);
  if (index < 0) return;
  pid_t pid = -1;
  begin(t, OP_FORK, 0, (uint32_t)index);
  if (arena->halt == 0) {
    bool announced = below(&t->seed, 3) == 0;
    if (announced && PSMprepareInherit(handle) != handle)
      fail("PSMprepareInherit failed: %s", PSMerrorString(PSMlastError()));
    pid = fork();
    if (pid == 0) child_main(index, state, announced);
    if (pid < 0 && announced) PSMcancelInherit(handle);
  }
  if (pid < 0) (void)proc_turn(&arena->procs[index], state, PROC_EMPTY);
  end(t);
}

void worker_main(int index, bool joined) {
  enroll(index, arena->procs[index].state);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  prctl(PR_SET_TIMERSLACK, 1);
  struct thread t = appear();
  if (!joined) join(&t);
  steps_prepare();
  work(&t);
}
