/* ptrace, single steps and debug registers. */
#define _GNU_SOURCE
#include "stepper.h"

#include <errno.h>
#include <link.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>

static uintptr_t own_from, own_to;
static bool own_all;

static void die(const char *what) {
  fprintf(stderr, "stepper: %s: %s\n", what, strerror(errno));
  _Exit(2);
}

static int text_find(struct dl_phdr_info *info, size_t size, void *inside) {
  (void)size;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *header = &info->dlpi_phdr[i];
    uintptr_t from = info->dlpi_addr + header->p_vaddr;
    if (header->p_type != PT_LOAD || (header->p_flags & PF_X) == 0) continue;
    if ((uintptr_t)inside - from >= header->p_memsz) continue;
    own_from = from;
    own_to = from + header->p_memsz;
    return 1;
  }
  return 0;
}

void stepper_choose(const void *inside, bool all) {
  own_all = all;
  if (dl_iterate_phdr(text_find, (void *)(uintptr_t)inside) == 0) die("no library is there");
}

__attribute__((noinline)) void stepper_end(void) { __asm__ volatile("" ::: "memory"); }

struct point stepper_last(void) {
  return (struct point){(uintptr_t)stepper_end, 0};
}

void stepper_offer(void) {
  if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) die("PTRACE_TRACEME");
  (void)raise(SIGSTOP);
}

/* The signal that has stopped it, events of ptrace included; 0 if it has ended. */
static int stop_of(pid_t pid) {
  int status;
  while (waitpid(pid, &status, __WALL) < 0)
    if (errno != EINTR) die("waitpid");
  return WIFSTOPPED(status) ? status >> 8 : 0;
}

/* One move to its end; that a child has ended is none of it. */
static int move(pid_t pid, enum __ptrace_request request) {
  int stop;
  do {
    if (ptrace(request, pid, NULL, NULL) != 0) die("ptrace");
    stop = stop_of(pid);
  } while (stop == SIGCHLD);
  if (stop != 0 && stop != SIGTRAP) die("an unexpected signal");
  return stop;
}

void stepper_await(pid_t pid) {
  if (stop_of(pid) != SIGSTOP) die("a process ended before its operation began");
}

pid_t stepper_follow(pid_t pid) {
  unsigned long child;
  if (ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACEFORK) != 0) die("PTRACE_SETOPTIONS");
  if (ptrace(PTRACE_CONT, pid, NULL, NULL) != 0) die("PTRACE_CONT");
  if (stop_of(pid) != (SIGTRAP | PTRACE_EVENT_FORK << 8)) die("it did not fork");
  if (ptrace(PTRACE_GETEVENTMSG, pid, NULL, &child) != 0) die("PTRACE_GETEVENTMSG");
  stepper_await((pid_t)child);
  if (ptrace(PTRACE_DETACH, pid, NULL, NULL) != 0) die("PTRACE_DETACH");
  return (pid_t)child;
}

/* ---- Recording ---- */

/* How often each address has run: open addressing, doubled when half full. */
struct tally {
  struct point *slots;
  size_t size, used;
};

static struct point *tally_slot(const struct tally *tally, uintptr_t address) {
  size_t at = (address * UINT64_C(0x9e3779b97f4a7c15)) >> 20;
  while (true) {
    struct point *slot = &tally->slots[at++ & (tally->size - 1)];
    if (slot->address == address || slot->address == 0) return slot;
  }
}

static void tally_grow(struct tally *tally) {
  struct tally larger = {NULL, tally->size > 0 ? tally->size * 2 : 4096, tally->used};
  larger.slots = calloc(larger.size, sizeof *larger.slots);
  if (larger.slots == NULL) die("no memory");
  for (size_t i = 0; i < tally->size; i++)
    if (tally->slots[i].address != 0)
      *tally_slot(&larger, tally->slots[i].address) = tally->slots[i];
  free(tally->slots);
  *tally = larger;
}

static uint32_t tally_count(struct tally *tally, uintptr_t address) {
  if (tally->used * 2 >= tally->size) tally_grow(tally);
  struct point *slot = tally_slot(tally, address);
  if (slot->address == 0) tally->used++;
  slot->address = address;
  return slot->before++;
}

static void trace_add(struct trace *trace, struct point point) {
  if ((trace->count & (trace->count - 1)) == 0) {
    size_t room = trace->count > 0 ? trace->count * 2 : 1;
    trace->points = realloc(trace->points, room * sizeof *trace->points);
    if (trace->points == NULL) die("no memory");
  }
  trace->points[trace->count++] = point;
}

static uintptr_t address_of(pid_t pid) {
  errno = 0;
  long rip = ptrace(PTRACE_PEEKUSER, pid, (void *)offsetof(struct user, regs.rip), NULL);
  if (errno != 0) die("PTRACE_PEEKUSER");
  return (uintptr_t)rip;
}

void stepper_record(pid_t pid, struct trace *trace) {
  struct tally tally = {NULL, 0, 0};
  *trace = (struct trace){NULL, 0};
  while (true) {
    uintptr_t address = address_of(pid);
    if (address == (uintptr_t)stepper_end) break;
    if (own_all || address - own_from < own_to - own_from)
      trace_add(trace, (struct point){address, tally_count(&tally, address)});
    if (move(pid, PTRACE_SINGLESTEP) == 0) break;
  }
  free(tally.slots);
}

/* ---- Running to a point ---- */

static void debug_set(pid_t pid, int which, uintptr_t value) {
  size_t at = offsetof(struct user, u_debugreg) + (size_t)which * sizeof(long);
  if (ptrace(PTRACE_POKEUSER, pid, (void *)at, (void *)value) != 0) die("PTRACE_POKEUSER");
}

/* Two breakpoints: the point, and the operation's end, where the point was
 * missed. */
bool stepper_run(pid_t pid, struct point point) {
  enum { HERE = 0, END = 1, CONTROL = 7, BOTH_ON_EXECUTION = 1 | 4 };
  debug_set(pid, CONTROL, 0);
  debug_set(pid, HERE, point.address);
  debug_set(pid, END, (uintptr_t)stepper_end);
  debug_set(pid, CONTROL, BOTH_ON_EXECUTION);
  /* A breakpoint where it stands would be passed over by the first step. */
  if (address_of(pid) == point.address && point.before-- == 0) return true;
  while (move(pid, PTRACE_CONT) != 0) {
    if (address_of(pid) == point.address && point.before-- == 0) return true;
    if (address_of(pid) == (uintptr_t)stepper_end) return false;
  }
  return false;
}

void stepper_kill(pid_t pid) {
  int status;
  (void)kill(pid, SIGKILL);
  while (waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status)) continue;
}
