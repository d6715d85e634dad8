/* Kill a process before every instruction of every operation, and see what the
 * others make of it.
 *
 *   kill [--full] [--libc] [--points N] [--seed N] [--jobs N] [OPERATION...]
 *
 * Of each operation at most N points are tried, every so manieth from a random
 * one on; --full tries all. --libc counts the C library's instructions as well
 * as our own. A round is new processes and a new segment each time. Each
 * operation is tried by a process of its own, several at a time. Exit status:
 * 0 if nothing was wrong.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "operations.h"
#include "stepper.h"

enum { STAGES = 4, WATCHDOG = 20 /* s */, KIB = 1024 };

/* What the operation at hand has shown so far; shared with the parent. */
struct tally {
  uint64_t points, kills;
  uint64_t missed; /* points that another run did not come to: killed at its end */
  uint32_t lost;   /* blocks at most, in one round */
  uint32_t killed; /* processes in that round */
  double seconds;
  bool hangs;
};

/* One process after the other: those before the last are killed in their own
 * operations first. */
struct round {
  int stages;
  const struct operation *operation[STAGES];
  struct point point[STAGES];
};

struct worker {
  pid_t pid;
  int gate[2];
};

static struct scene *scene;
static struct tally *tallies;
static struct tally *tally; /* of the operation at hand */
static size_t points_limit = 1500;
static uint64_t chance;

static uint64_t random_next(void) { /* splitmix64 */
  uint64_t z = (chance += UINT64_C(0x9e3779b97f4a7c15));
  z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
  return z ^ (z >> 31);
}

static double now(void) {
  struct timespec t;
  (void)clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void *shared(size_t size) {
  void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) scene_fail("no memory");
  return memory;
}

/* ---- Workers ---- */

static void gate_pass(const struct worker *worker) {
  char byte;
  while (read(worker->gate[0], &byte, 1) < 0 && errno == EINTR) continue;
}

__attribute__((noreturn)) static void work(const struct operation *operation,
                                           const struct worker *worker) {
  (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
  (void)alarm(2 * WATCHDOG);
  gate_pass(worker);
  if ((operation->flags & STRANGER) == 0) {
    PSMOptions options = {scene->size, NULL, 0, PSM_OPEN_JOIN};
    if (PSMopen(scene->name, &options, &scene->handle) != PSM_OK)
      scene_fail("a worker cannot join");
  }
  if (operation->prepare != NULL) operation->prepare(scene);
  stepper_offer();
  operation->run(scene);
  stepper_end();
  for (;;) pause();
}

static void worker_start(struct worker *worker, const struct operation *operation) {
  if (pipe(worker->gate) != 0) scene_fail("no pipe");
  worker->pid = fork();
  if (worker->pid < 0) scene_fail("no process");
  if (worker->pid == 0) work(operation, worker);
}

static void worker_ready(struct worker *worker, const struct operation *operation) {
  if (write(worker->gate[1], "x", 1) != 1) scene_fail("no pipe");
  stepper_await(worker->pid);
  (void)close(worker->gate[0]);
  (void)close(worker->gate[1]);
  if (operation->adjust != NULL) operation->adjust(scene);
}

/* Children that a killed worker has left behind end by themselves. */
static void orphans_await(void) {
  while (waitpid(-1, NULL, __WALL) > 0 || errno == EINTR) continue;
}

/* To its point, and killed; with `trace`, recorded to its end instead. */
static void worker_run(const struct worker *worker, const struct operation *operation,
                       struct point point, struct trace *trace) {
  pid_t target = worker->pid;
  bool follow = (operation->flags & CHILD) != 0;
  if (follow) target = stepper_follow(target);
  if (trace != NULL)
    stepper_record(target, trace);
  else if (!stepper_run(target, point))
    tally->missed++;
  stepper_kill(target);
  if (follow) stepper_kill(worker->pid);
  tally->kills++;
}

/* ---- Rounds ---- */

static void segment_begin(const struct round *round, int flags) {
  bool made_by_worker = (flags & STRANGER) != 0 && (flags & ALONE) != 0 && (flags & KEPT) == 0;
  memset(scene->lives, 0, scene->count * sizeof *scene->lives);
  scene->count = 0;
  scene->target = (struct live){NULL, 0};
  scene->where = NULL;
  scene->lock = NULL;
  scene->handle = NULL;
  if (made_by_worker) return;
  PSMOptions options = {scene->size, NULL, 0, (flags & KEPT) != 0 ? PSM_OPEN_KEEP : 0};
  if (PSMopen(scene->name, &options, &scene->handle) != PSM_OK)
    scene_fail("cannot create: %s", PSMerrorString(PSMlastError()));
  for (int i = 0; i < round->stages; i++)
    if (round->operation[i]->arrange != NULL) round->operation[i]->arrange(scene);
}

static void segment_join(int flags) {
  PSMinit(scene->name, scene->size, NULL, &scene->handle);
  if (scene->handle == NULL) scene_fail("cannot join: %s", PSMerrorString(PSMlastError()));
  if ((flags & KEPT) == 0) scene->count = 0;
}

static void round_tell(const struct round *round) {
  int at = 0;
  for (int i = 0; i < round->stages; i++)
    at += snprintf(scene->round + at, sizeof scene->round - (size_t)at, " %s (0x%llx, after %u);",
                   round->operation[i]->name, (unsigned long long)round->point[i].address,
                   (unsigned)round->point[i].before);
  scene_tell(scene);
}

/* One round; with `trace` the last stage is not killed before its end. */
static void round_play(const struct round *round, struct trace *trace) {
  struct worker workers[STAGES];
  int flags = round->operation[0]->flags;
  struct limits limits = {0, false, 0, (flags & KEPT) != 0, false};
  (void)alarm(WATCHDOG);
  round_tell(round);
  for (int i = 0; i < round->stages; i++) worker_start(&workers[i], round->operation[i]);
  segment_begin(round, flags);
  for (int i = 0; i < round->stages; i++) {
    const struct operation *operation = round->operation[i];
    worker_ready(&workers[i], operation);
    limits.lost += operation->lost; /* one for each that is killed */
    limits.moves |= operation->moves;
    limits.takes |= (operation->flags & TAKES) != 0;
    limits.deaths += (operation->flags & (STRANGER | LEAVES)) == 0;
  }
  if ((flags & ALONE) != 0) PSMdeinit(scene->handle);
  for (int i = 0; i < round->stages; i++)
    worker_run(&workers[i], round->operation[i], round->point[i],
               i == round->stages - 1 ? trace : NULL);
  orphans_await();
  if ((flags & ALONE) != 0) segment_join(flags);
  uint32_t lost = scene_judge(scene, limits);
  if (lost > tally->lost || tally->killed == 0) {
    tally->lost = lost;
    tally->killed = (uint32_t)round->stages;
  }
  (void)alarm(0);
}

/* Try the points of a round's last stage, all or every so manieth. A round of
 * several stages is tried once more with its last operation twice in a row. */
static void points_try(struct round *round) {
  struct trace trace;
  int last = round->stages - 1;
  round->point[last] = stepper_last();
  round_play(round, &trace);
  size_t step = points_limit > 0 ? (trace.count + points_limit - 1) / points_limit : 1;
  if (step == 0) step = 1;
  for (size_t at = random_next() % step; at < trace.count; at += step) {
    round->point[last] = trace.points[at];
    round_play(round, NULL);
    tally->points++;
    if (last == 0) continue;
    struct round twice = *round;
    twice.operation[twice.stages] = twice.operation[last];
    twice.point[twice.stages++] = trace.points[random_next() % trace.count];
    round_play(&twice, NULL);
  }
  free(trace.points);
}

static struct point random_point(const struct operation *operation) {
  struct trace trace;
  struct round round = {1, {operation}, {stepper_last()}};
  round_play(&round, &trace);
  struct point point = trace.points[random_next() % trace.count];
  free(trace.points);
  return point;
}

static void *nothing(void *unused) {
  (void)unused;
  pthread_exit(NULL);
}

static void hang(int signal) {
  (void)signal;
  tally->hangs = true;
  _exit(1);
}

static size_t segment_size(int flags) {
  if ((flags & TIGHT) != 0) return 256 * KIB;
  return (flags & ROOMY) != 0 ? 4096 * KIB : 1024 * KIB;
}

static void operation_try(const struct operation *operation) {
  enum { AFTER = sizeof operation->after / sizeof *operation->after };
  pthread_t thread;
  (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
  (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
  (void)signal(SIGALRM, hang);
  if (pthread_create(&thread, NULL, nothing, NULL) == 0) (void)pthread_join(thread, NULL);
  scene = shared(sizeof *scene);
  (void)snprintf(scene->name, sizeof scene->name, "shm:psm-kill-%d", getpid());
  scene->size = segment_size(operation->flags);
  scene_measure(scene);
  if (operation->after[0] == NULL) {
    struct round round = {1, {operation}, {{0, 0}}};
    points_try(&round);
    return;
  }
  for (int i = 0; i < AFTER && operation->after[i] != NULL; i++) {
    const struct operation *before = operation_find(operation->after[i]);
    struct round round = {0};
    for (int dead = (operation->flags & PAIRED) != 0 ? 2 : 1; dead > 0; dead--) {
      round.operation[round.stages] = before;
      round.point[round.stages++] = random_point(before);
    }
    round.operation[round.stages++] = operation;
    points_try(&round);
  }
}

/* ---- All of them ---- */

static bool wanted(const struct operation *operation, char **names) {
  if (*names == NULL) return true;
  for (; *names != NULL; names++)
    if (strcmp(*names, operation->name) == 0) return true;
  return false;
}

static void row_print(const struct operation *operation, const struct tally *t, bool failed) {
  printf("%-36s%10llu%8llu%7d%13d%6u of %u%9.1f\n", operation->name,
         (unsigned long long)(t->points - t->missed), (unsigned long long)t->kills, t->hangs,
         failed && !t->hangs, t->lost, t->killed, t->seconds);
  (void)fflush(stdout);
}

struct job {
  pid_t pid;
  size_t operation;
  double began;
};

/* Wait for one of the jobs; what is left of its segment goes. */
static bool job_end(struct job *jobs, int *count) {
  int status;
  pid_t pid = waitpid(-1, &status, 0);
  int i = 0;
  while (i < *count && jobs[i].pid != pid) i++;
  if (i == *count) return true;
  size_t which = jobs[i].operation;
  bool failed = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
  tallies[which].seconds = now() - jobs[i].began;
  row_print(operation_at(which), &tallies[which], failed);
  char path[64];
  (void)snprintf(path, sizeof path, "/dev/shm/psm-kill-%d", pid);
  (void)unlink(path);
  jobs[i] = jobs[--*count];
  return !failed;
}

static void job_start(struct job *job, size_t which) {
  (void)fflush(NULL);
  *job = (struct job){fork(), which, now()};
  if (job->pid < 0) scene_fail("no process");
  if (job->pid != 0) return;
  tally = &tallies[which];
  chance += which * 1000;
  operation_try(operation_at(which));
  exit(0);
}

static void sum_print(int tried, int failures) {
  uint64_t points = 0;
  uint64_t missed = 0;
  uint64_t kills = 0;
  for (size_t i = 0; i < operation_count(); i++) {
    points += tallies[i].points;
    missed += tallies[i].missed;
    kills += tallies[i].kills;
  }
  printf("%llu points, %llu kills; %llu points were not come to again\n",
         (unsigned long long)(points - missed), (unsigned long long)kills,
         (unsigned long long)missed);
  printf("%d passed, %d failed\n", tried - failures, failures);
}

static int all_try(char **names, int at_once) {
  struct job jobs[64];
  int running = 0;
  int tried = 0;
  int failures = 0;
  printf("%-36s%10s%8s%7s%13s%12s%9s\n", "operation", "points", "kills", "hangs", "corruptions",
         "lost of", "seconds");
  for (size_t i = 0; i < operation_count(); i++) {
    if (!wanted(operation_at(i), names)) continue;
    if (running == at_once) failures += !job_end(jobs, &running);
    job_start(&jobs[running++], i);
    tried++;
  }
  while (running > 0) failures += !job_end(jobs, &running);
  sum_print(tried, failures);
  return failures > 0 || tried == 0;
}

int main(int argc, char **argv) {
  static const struct option options[] = {
      {"full", no_argument, NULL, 'f'},         {"libc", no_argument, NULL, 'l'},
      {"points", required_argument, NULL, 'p'}, {"seed", required_argument, NULL, 's'},
      {"jobs", required_argument, NULL, 'j'},   {NULL, 0, NULL, 0}};
  bool libc = false;
  long jobs = sysconf(_SC_NPROCESSORS_ONLN);
  uint64_t seed = (uint64_t)time(NULL) % 1000000;
  for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    if (option == 'f') points_limit = 0;
    if (option == 'l') libc = true;
    if (option == 'p') points_limit = (size_t)strtoull(optarg, NULL, 0);
    if (option == 's') seed = strtoull(optarg, NULL, 0);
    if (option == 'j') jobs = strtol(optarg, NULL, 0);
    if (option == '?') return 2;
  }
  if (points_limit > 0) printf("at most %zu points of each operation, ", points_limit);
  printf("seed %llu\n", (unsigned long long)seed);
  chance = seed * UINT64_C(0x9e3779b97f4a7c15);
  stepper_choose((const void *)(uintptr_t)PSMversion, libc);
  tallies = shared(operation_count() * sizeof *tallies);
  return all_try(argv + optind, (int)(jobs < 1 ? 1 : jobs > 64 ? 64 : jobs));
}
