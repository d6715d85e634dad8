/* Whom the killer hits, and when everybody stops for a look. */
#include "supervisor.h"

#include <signal.h>
#include <stdio.h>

enum { ROOM_KEPT = 2 * (WORKERS + 8) }; /* slots that stay empty between two looks */

static uint64_t halts;

/* ---- To kill ---- */

static int target_any(void) {
  int first = (int)below(&run.seed, PROCS);
  for (int i = 0; i < PROCS; i++)
    if (is_target((first + i) % PROCS)) return (first + i) % PROCS;
  return -1;
}

/* Somebody who is in a certain call just now, if one can be found for some microseconds. */
static int target_in_call(uint32_t op) {
  for (uint64_t begun = now_ns(); now_ns() - begun < 300000;)
    for (int i = 0; i < PROCS; i++)
      for (uint32_t t = 0; is_target(i) && t < arena->procs[i].threads; t++)
        if (arena->procs[i].records[t].op == op) return i;
  return target_any();
}

static int target(void) {
  if (below(&run.seed, 2) == 0) return target_any();
  return target_in_call(1 + (uint32_t)below(&run.seed, OP_COUNT - 1));
}

/* Once a member is dead somebody is asked to reap it, and shares its fate. */
static void strike_reaper(int i) {
  strike(i);
  wait_dead(i);
  arena->reap = 1;
  i = target_in_call(OP_REAP);
  for (uint64_t until = now_ns() + below(&run.seed, 20000); now_ns() < until;) continue;
  if (i >= 0) strike(i);
  arena->reap = 0;
}

static void strike_newborn(void) {
  int i = count_state(PROC_EMPTY) > ROOM_KEPT ? start() : -1;
  if (i < 0) return;
  sleep_us(below(&run.seed, 2500));
  strike(i);
}

static void stop_for_a_while(int i) {
  stop(i);
  sleep_us(below(&run.seed, 4000));
  if (below(&run.seed, 3) == 0) strike(i);
  go_on(i);
}

static void strike_somehow(void) {
  uint64_t how = below(&run.seed, 200);
  int i = target();
  if (i < 0) return;
  if (how < 10) {
    strike_newborn();
  } else if (how < 18) {
    stop_for_a_while(i);
  } else if (how < 34) {
    strike_reaper(i);
  } else if (how == 34) {
    for (i = 0; i < PROCS; i++)
      if (is_target(i)) strike(i);
  } else if (how >= 100) {
    strike_by_timer(i);
  } else {
    strike(i);
    i = how < 46 ? target_any() : -1;
    if (i >= 0) strike(i);
  }
}

/* ---- To look ---- */

static bool is_quiet(int i, uint32_t halt) {
  struct proc *p = &arena->procs[i];
  uint32_t state = proc_state(p);
  if (!state_alive(state)) return true;
  if (state != PROC_RUNNING || p->killed) return false;
  for (uint32_t t = 0; t < p->threads; t++)
    if (p->records[t].parked != halt) return false;
  return true;
}

/* The main thread comes first: when it is parked, its second thread neither begins nor ends. */
static void wait_quiet(uint32_t halt) {
  for (bool quiet = false; !quiet;) {
    notice();
    quiet = true;
    for (int i = 0; i < PROCS && quiet; i++) quiet = is_quiet(i, halt);
    if (!quiet) sleep_us(200);
  }
}

static uint32_t count_threads(void) {
  uint32_t count = 0;
  for (int i = 0; i < PROCS; i++)
    if (proc_state(&arena->procs[i]) == PROC_RUNNING) count += arena->procs[i].threads;
  return count;
}

static void look(void) {
  arena->wanted = 0;
  halt_set((uint32_t)++halts);
  wait_quiet((uint32_t)halts);
  if (!run.member) join_segment();
  examine(count_state(PROC_RUNNING), count_threads());
  if (!run.member) PSMdeinit(handle);
  halt_set(0);
}

static void progress(void) {
  static uint64_t said;
  if (now_ns() - said < 4000 * MS) return;
  said = now_ns();
  printf("  %llu of %llu kills\n", (unsigned long long)totals.kills, (unsigned long long)run.asked);
  fflush(NULL);
}

/* Some periods are hasty, and members hardly get beyond their joining; others leave them time. */
void storm(uint64_t until) {
  while (totals.kills < until) {
    uint64_t calm = UINT64_C(400) << below(&run.seed, 8);
    uint64_t enough = run.kills_sent + (until - totals.kills);
    for (uint64_t n = 1 + below(&run.seed, below(&run.seed, 3) == 0 ? 40 : 4);
         n > 0 && run.kills_sent < enough; n--) {
      staff();
      sleep_us(below(&run.seed, 4) == 0 ? 0 : below(&run.seed, calm));
      notice();
      if (count_state(PROC_EMPTY) < ROOM_KEPT) break;
      strike_somehow();
      progress();
    }
    look();
  }
}

void everybody_leaves(void) {
  arena->wanted = 0;
  halt_set(HALT_OVER);
  while (count_state(PROC_EMPTY) + count_state(PROC_DEAD) < PROCS) {
    notice();
    sleep_us(500);
  }
  if (!run.member) join_segment();
  examine(0, 0);
}
