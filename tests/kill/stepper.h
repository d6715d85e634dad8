/* Stop another process before any one instruction that it is about to run.
 *
 * A run is recorded once, one single step after the other. Later runs of the
 * same operation are stopped by a hardware breakpoint, which is reached as
 * often as the recording says. The processes are forked from one that does
 * not change, so their addresses are equal. Only on x86-64.
 */
#ifndef STEPPER_H
#define STEPPER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Before the instruction at an address, when it has run so often. */
struct point {
  uintptr_t address;
  uint32_t before;
};

struct trace {
  struct point *points;
  size_t count;
};

/** Which instructions are points: those of the shared library that holds
 *  `inside`, or with `all` every one that the process runs in user space. */
void stepper_choose(const void *inside, bool all);

/** In the process to be stopped: let the parent trace it, and stop. */
void stepper_offer(void);

/** In it, too: the operation ends here. */
void stepper_end(void);

/** Wait until a process has stopped itself. */
void stepper_await(pid_t pid);

/** Go on until the process has forked, let it go, and have its child stopped
 *  before its first instruction.
 *
 *  Returns  the child.
 */
pid_t stepper_follow(pid_t pid);

/** Run to the end of the operation, or of the process, and note all points. */
void stepper_record(pid_t pid, struct trace *trace);

/** Run to a point.
 *
 *  Returns  false if the operation, or the process, has ended instead.
 */
bool stepper_run(pid_t pid, struct point point);

/** The last point of all: the operation's end. */
struct point stepper_last(void);

/** Kill a stopped process and wait until it is gone. */
void stepper_kill(pid_t pid);

#endif
