/* The processes of a storm: they are started, watched, and replaced.
 *
 * The supervisor knows every process by a pidfd, so that it never hits another one; orphans come
 * to it, the subreaper. A slot is turned to dead when the process is known to be, and stays as it
 * was until it has been examined.
 */
#include "supervisor.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static int watched[PROCS];
static struct { uint64_t incarnation, since; /* ns: when it was seen first */ } first_seen[PROCS];
static uint64_t doomed[PROCS]; /* ns: since when a timer is to kill it */
static bool stopped[PROCS];
static uint64_t wanted_since;

void send(int i, int signal) {
  if (watched[i] >= 0) (void)syscall(SYS_pidfd_send_signal, watched[i], signal, NULL, 0);
}

static void watch(int i, pid_t pid) {
  watched[i] = (int)syscall(SYS_pidfd_open, pid, 0);
  if (watched[i] < 0) fail("process %d of slot %d cannot be watched", (int)pid, i);
  arena->procs[i].known = 1;
}

/* Those that nobody knows yet see that it is over as soon as they appear. */
bool all_gone(void) {
  arena->halt = HALT_OVER;
  for (uint64_t begun = now_ns(); now_ns() - begun < 5000 * MS; sleep_us(1000)) {
    for (int i = 0; i < PROCS; i++) {
      struct proc *p = &arena->procs[i];
      if (proc_state(p) == PROC_RUNNING && watched[i] < 0 && p->pid != 0)
        watched[i] = (int)syscall(SYS_pidfd_open, p->pid, 0);
      send(i, SIGKILL);
    }
    while (waitpid(-1, NULL, WNOHANG) > 0) continue;
    if (waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD) return true;
  }
  return false;
}

/* ---- To start processes ---- */

static void child_begin(void) {
  signal(SIGINT, SIG_DFL);
  signal(SIGTERM, SIG_DFL);
  for (int i = 0; i < PROCS; i++)
    if (watched[i] >= 0) close(watched[i]);
}

static pid_t start_by_fork(int index) {
  pid_t pid = fork();
  if (pid != 0) return pid;
  child_begin();
  worker_main(index, run.member);
}

/* A program of its own, by vfork or fork: a fork of a member that calls exec makes one member
 * that is dead at once. */
static pid_t start_by_exec(int index) {
  char text[2][24];
  char *argv[] = {(char *)(uintptr_t) "soak", (char *)(uintptr_t) "--worker", text[0], text[1],
                  NULL};
  pid_t pid;
  snprintf(text[0], sizeof text[0], "%d", run.arena_file);
  snprintf(text[1], sizeof text[1], "%d", index);
  if (below(&run.seed, 2) == 0)
    return posix_spawn(&pid, "/proc/self/exe", NULL, NULL, argv, environ) == 0 ? pid : -1;
  pid = fork();
  if (pid != 0) return pid;
  execv("/proc/self/exe", argv);
  _exit(126);
}

int start(void) {
  uint64_t state;
  int index = proc_reserve(ROLE_WORKER, NO_PARENT, &state);
  if (index < 0) return -1;
  pid_t pid = below(&run.seed, 5) < 2 ? start_by_fork(index) : start_by_exec(index);
  if (pid < 0) fail("no process can be started: %s", strerror(errno));
  watch(index, pid);
  return index;
}

/* ---- To notice what has happened ---- */

bool state_alive(uint32_t state) { return state != PROC_EMPTY && state != PROC_DEAD; }

static void bury(int i) {
  struct proc *p = &arena->procs[i];
  close(watched[i]);
  watched[i] = -1;
  stopped[i] = false;
  doomed[i] = 0;
  if (!p->killed && !p->ending) {
    arena->halt = HALT_OVER;
    sleep_us(100000); /* let a sanitizer or a worker say why */
    fail("process %d ended by itself: %s, %s", p->pid, op_texts[p->records[0].op],
         op_texts[p->records[1].op]);
  }
  (void)proc_turn(p, p->state, PROC_DEAD);
}

static void bury_all(void) {
  struct pollfd polls[PROCS];
  for (int i = 0; i < PROCS; i++) polls[i] = (struct pollfd){watched[i], POLLIN, 0};
  if (poll(polls, PROCS, 0) <= 0) return;
  for (int i = 0; i < PROCS; i++)
    if (watched[i] >= 0 && polls[i].revents != 0) bury(i);
  while (waitpid(-1, NULL, WNOHANG) > 0) continue;
}

/* A member's child that has not appeared: if the parent died before it forked there is none. If
 * there is one after all, it is not admitted, and exits. Parents are older than children. */
static void reservation_check(int i, uint64_t state) {
  if (parent_of(state) == NO_PARENT || now_ns() - first_seen[i].since < 100 * MS) return;
  uint64_t parent = arena->procs[parent_of(state)].state;
  if (state_alive(state_of(parent)) && incarnation_of(parent) < incarnation_of(state)) return;
  (void)proc_turn(&arena->procs[i], state, PROC_EMPTY);
}

static void hang(int i, int t) {
  struct proc *p = &arena->procs[i];
  char text[128], command[200];
  snprintf(text, sizeof text, "%s", op_texts[p->records[t].op]);
  snprintf(command, sizeof command,
           "for t in /proc/%d/task/*; do echo $t; cat $t/wchan $t/syscall $t/stack; done 2>&1",
           p->pid);
  fflush(NULL);
  if (system(command) != 0) printf("no more is known\n");
  fail("process %d, thread %d hangs: %s", p->pid, t, text);
}

static void patience_check(int i) {
  struct proc *p = &arena->procs[i];
  uint64_t now = now_ns();
  uint32_t state = proc_state(p);
  for (uint32_t t = 0; t < THREADS && t < p->threads; t++) {
    struct record *r = &p->records[t];
    uint64_t since = state == PROC_RUNNING && r->since != 0 ? r->since : first_seen[i].since;
    if (r->parked != 0 || now < since || stopped[i]) continue;
    if (now - since > totals.longest) {
      totals.longest = now - since;
      totals.slowest = r->op;
    }
    if (now - since > WATCHDOG * 1000 * MS) hang(i, (int)t);
  }
}

void notice(void) {
  static uint64_t looked;
  arena->lease = now_ns();
  check_interrupt();
  if (arena->failed != 0) give_up();
  for (int i = 0; i < PROCS; i++) {
    struct proc *p = &arena->procs[i];
    uint64_t state = p->state;
    if (first_seen[i].incarnation != incarnation_of(state)) {
      first_seen[i].incarnation = incarnation_of(state);
      first_seen[i].since = now_ns();
    }
    if (state_of(state) == PROC_RUNNING && watched[i] < 0) watch(i, p->pid);
    if (state_of(state) == PROC_RESERVED) reservation_check(i, state);
    if (state_alive(state_of(state)) && now_ns() - looked > 50 * MS) patience_check(i);
    if (doomed[i] != 0 && now_ns() - doomed[i] > 10 * MS) send(i, SIGKILL);
  }
  if (now_ns() - looked > 50 * MS) {
    looked = now_ns();
    (void)alarm(3 * WATCHDOG); /* for the supervisor's own calls */
  }
  bury_all();
}

/* ---- To keep the staff at eight ---- */

bool is_target(int i) { return watched[i] >= 0 && !arena->procs[i].killed; }

static uint32_t count_workers(void) {
  uint32_t count = 0;
  for (int i = 0; i < PROCS; i++) {
    struct proc *p = &arena->procs[i];
    count +=
        state_alive(proc_state(p)) && role_of(p->state) == ROLE_WORKER && !p->killed && !p->ending;
  }
  return count;
}

/* A third of the new ones are forked by members, if these come to it in time. */
void staff(void) {
  if (arena->wanted != 0 && now_ns() - wanted_since > 20 * MS) arena->wanted = 0;
  for (uint32_t have = count_workers() + arena->wanted; have < WORKERS; have++) {
    if (have >= 2 && below(&run.seed, 3) == 0) {
      if (arena->wanted++ == 0) wanted_since = now_ns();
    } else if (start() < 0) {
      return;
    }
  }
}

uint32_t count_state(uint32_t state) {
  uint32_t count = 0;
  for (int i = 0; i < PROCS; i++) count += proc_state(&arena->procs[i]) == state;
  return count;
}

/* ---- To kill ---- */

void strike(int i) {
  arena->procs[i].killed = 1;
  send(i, SIGKILL);
  run.kills_sent++;
}

/* A timer hits a thread that runs, another process mostly those that wait. */
void strike_by_timer(int i) {
  struct proc *p = &arena->procs[i];
  p->killed = 1;
  p->doom = 500 + (uint32_t)below(&run.seed, UINT64_C(2000) << below(&run.seed, 6));
  doomed[i] = now_ns();
  run.kills_sent++;
}

void wait_dead(int i) {
  struct pollfd dead = {watched[i], POLLIN, 0};
  (void)poll(&dead, 1, 20);
}

void stop(int i) {
  send(i, SIGSTOP);
  stopped[i] = true;
}

void go_on(int i) {
  send(i, SIGCONT);
  stopped[i] = false;
}

void staff_prepare(void) {
  for (int i = 0; i < PROCS; i++) {
    watched[i] = -1;
    proc_clear(&arena->procs[i]);
  }
}
