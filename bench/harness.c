/* The benchmark harness; harness.h says what each part is for. */
#include "harness.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct Crew {
  pthread_barrier_t barrier;
  Timer timer[MEMBERS_MAX];
  Ring ring;
} Crew;

typedef struct Member {
  const Options *options;
  MemberBody *body;
  uint32_t index;
} Member;

static Crew *crew;

void die(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  (void)fputs("bench: ", stderr);
  (void)vfprintf(stderr, format, arguments);
  (void)fputc('\n', stderr);
  va_end(arguments);
  exit(1);
}

static void *map(size_t bytes, int sharing) {
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, sharing | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) die("no memory for %zu bytes: %s", bytes, strerror(errno));
  return memory;
}

void *pages(size_t bytes) { return map(bytes, MAP_PRIVATE); }

uint64_t faults_so_far(void) {
  struct rusage usage;
  getrusage(RUSAGE_THREAD, &usage);
  return (uint64_t)usage.ru_minflt + (uint64_t)usage.ru_majflt;
}

void random_shuffle(Random *random, uint32_t *items, uint32_t count) {
  for (uint32_t i = count; i > 1; i--) {
    uint32_t j = random_between(random, 0, i - 1);
    uint32_t item = items[i - 1];
    items[i - 1] = items[j];
    items[j] = item;
  }
}

void ring_pause(unsigned *turns) {
  if (++*turns > 200) sched_yield();
}

/* ---- Options ------------------------------------------------------------- */

static uint64_t *option_find(Options *options, const char *key, size_t length) {
  const struct {
    const char *key;
    uint64_t *value;
  } all[] = {
      {"members", &options->members}, {"threads", &options->threads}, {"ms", &options->ms},
      {"ops", &options->ops},         {"live", &options->live},       {"size", &options->size},
      {"heap", &options->heap},
  };
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    if (strlen(all[i].key) == length && memcmp(all[i].key, key, length) == 0) return all[i].value;
  return NULL;
}

void options_read(Options *options, int argc, char **argv) {
  if (argc < 2) die("usage: %s WORKLOAD [members= threads= ms= ops= live= size= heap=]", argv[0]);
  options->workload = argv[1];
  for (int i = 2; i < argc; i++) {
    const char *equals = strchr(argv[i], '=');
    uint64_t *value = equals ? option_find(options, argv[i], (size_t)(equals - argv[i])) : NULL;
    char *end = NULL;
    if (!value) die("unknown option: %s", argv[i]);
    *value = strtoull(equals + 1, &end, 10);
    if (end == equals + 1 || *end) die("not a number: %s", argv[i]);
  }
  if (options->members < 1 || options->members > MEMBERS_MAX)
    die("members must be 1 to %d", MEMBERS_MAX);
  (void)snprintf(options->name, sizeof options->name, "psm-bench-%ld", (long)getpid());
}

/* ---- The crew ------------------------------------------------------------ */

void crew_create(const Options *options) {
  pthread_barrierattr_t attributes;
  crew = map(sizeof *crew, MAP_SHARED);
  pthread_barrierattr_init(&attributes);
  pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_barrier_init(&crew->barrier, &attributes, (unsigned)options->members);
  pthread_barrierattr_destroy(&attributes);
}

void crew_wait(void) { pthread_barrier_wait(&crew->barrier); }

Ring *crew_ring(void) { return &crew->ring; }

static void *member_run(void *argument) {
  const Member *member = argument;
  member->body(member->options, member->index, &crew->timer[member->index]);
  crew_wait();
  return NULL;
}

static void segment_open(const Options *options, const Peer *peer) {
  if (peer->open(options->name, options->heap) != 0)
    die("%s: cannot open a segment of %" PRIu64 " bytes", peer->name, options->heap);
}

static void run_threads(const Options *options, const Peer *peer, Member *members) {
  pthread_t threads[MEMBERS_MAX];
  segment_open(options, peer);
  for (uint32_t i = 1; i < options->members; i++)
    if (pthread_create(&threads[i], NULL, member_run, &members[i]) != 0)
      die("cannot create a thread");
  member_run(&members[0]);
  for (uint32_t i = 1; i < options->members; i++) pthread_join(threads[i], NULL);
  peer->close();
}

/* The first that fails takes the rest along: they would wait for it for ever. */
static int reap_children(const pid_t *children, uint64_t count) {
  int failed = 0;
  for (uint64_t left = count; left > 0; left--) {
    int status = 0;
    pid_t child = waitpid(-1, &status, 0);
    if (child < 0 || status == 0 || failed) continue;
    failed = 1;
    if (WIFSIGNALED(status))
      (void)fprintf(stderr, "bench: a member died of signal %d%s\n", WTERMSIG(status),
                    WTERMSIG(status) == SIGBUS ? " (shared memory is full)" : "");
    for (uint64_t i = 0; i < count; i++)
      if (children[i] != child) kill(children[i], SIGKILL);
  }
  return failed;
}

/* Each process opens the segment by its name, as strangers do: the parent is
 * no member of it. */
static void run_processes(const Options *options, const Peer *peer, Member *members) {
  pid_t children[MEMBERS_MAX];
  for (uint32_t i = 0; i < options->members; i++) {
    children[i] = fork();
    if (children[i] < 0) die("cannot fork: %s", strerror(errno));
    if (children[i] == 0) {
      segment_open(options, peer);
      member_run(&members[i]);
      peer->close();
      _exit(0);
    }
  }
  if (reap_children(children, options->members)) {
    shm_unlink(options->name);
    exit(1);
  }
}

void crew_run(const Options *options, const Peer *peer, MemberBody *body) {
  Member members[MEMBERS_MAX];
  for (uint32_t i = 0; i < options->members; i++) members[i] = (Member){options, body, i};
  crew_create(options);
  if (options->threads || options->members == 1)
    run_threads(options, peer, members);
  else
    run_processes(options, peer, members);
  shm_unlink(options->name);
}

Timer crew_total(const Options *options) {
  Timer total = {0};
  for (uint32_t i = 0; i < options->members; i++) {
    const Timer *timer = &crew->timer[i];
    total.ops += timer->ops;
    total.faults += timer->faults;
    total.cpu += timer->cpu;
    total.end += timer->end - timer->start;
  }
  return total;
}

void report(const Options *options, const Peer *peer, double ns, const Timer *total) {
  printf("{\"peer\": \"%s\", \"version\": \"%s\", \"workload\": \"%s\", ", peer->name,
         peer->version(), options->workload);
  printf("\"members\": %" PRIu64 ", \"mode\": \"%s\", \"live\": %" PRIu64 ", ", options->members,
         options->threads ? "threads" : "processes", options->live);
  printf("\"ns\": %.3f, \"cpu_ns\": %.3f, \"faults\": %.6f, \"ops\": %" PRIu64 "}\n", ns,
         (double)total->cpu / (double)total->ops, (double)total->faults / (double)total->ops,
         total->ops);
}
