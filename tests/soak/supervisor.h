/* The supervisor's three parts: the processes, the killing, the run as a whole. */
#ifndef PSM_SOAK_SUPERVISOR_H
#define PSM_SOAK_SUPERVISOR_H

#include "soak.h"

#define MS UINT64_C(1000000) /* in ns */

struct supervisor {
  uint64_t seed;       /* of all that is random here */
  uint64_t asked;      /* kills */
  uint64_t kills_sent; /* one who leaves at the same time may escape */
  bool member;         /* of the segment, during the storm */
  int arena_file;
};
extern struct supervisor run;

/* ---- soak.c ---- */

/** Say why the run failed, and leave nothing behind. */
_Noreturn void give_up(void);

/** Fails if the user has had enough. */
void check_interrupt(void);
void join_segment(void);

/* ---- staff.c ---- */

void staff_prepare(void);
bool state_alive(uint32_t state);
uint32_t count_state(uint32_t state);

/** Start a worker by fork or as a program of its own; its slot, or -1. */
int start(void);

/** Keep the number of workers at eight. */
void staff(void);

/** See who has come and who has gone, and whether anybody hangs or has failed. */
void notice(void);

/** Is it known, and not killed yet? */
bool is_target(int i);
void send(int i, int signal);

/** SIGKILL, now, or by a timer of its own while it runs. */
void strike(int i);
void strike_by_timer(int i);

/** Wait until a process that was killed is dead, for some milliseconds. */
void wait_dead(int i);

/** SIGSTOP and SIGCONT; who is stopped is not waited for. */
void stop(int i);
void go_on(int i);

/** Kill all of them; false if some will not die. */
bool all_gone(void);

/* ---- storm.c ---- */

/** Kill until the total is `until`, and examine where all blocks are. */
void storm(uint64_t until);

/** Have all of them leave, and examine once more. */
void everybody_leaves(void);

#endif
