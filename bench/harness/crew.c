/* A crew of processes or threads that start together. */
#include "harness/crew.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct Crew {
  pthread_barrier_t barrier;
  Timer timer[MEMBERS_MAX];
  Ring ring[MEMBERS_MAX];
} Crew;

typedef struct Member {
  const Options *options;
  MemberBody *body;
  uint32_t index;
} Member;

static Crew *crew;

static void *map(size_t bytes, int sharing) {
  void *memory = mmap(NULL, bytes ? bytes : 1, PROT_READ | PROT_WRITE,
                      sharing | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) die("no memory for %zu bytes: %s", bytes, strerror(errno));
  return memory;
}

void *pages(size_t bytes) { return map(bytes, MAP_PRIVATE); }

void *pages_shared(size_t bytes) { return map(bytes, MAP_SHARED); }

void crew_wait(void) { pthread_barrier_wait(&crew->barrier); }

Ring *crew_ring(uint32_t index) { return &crew->ring[index]; }

void segment_open(const Options *options, const Peer *peer) {
  if (peer->open(options->name, options->heap) != 0)
    cannot("cannot open a segment of %" PRIu64 " bytes", options->heap);
}

static void crew_create(const Options *options) {
  pthread_barrierattr_t attributes;
  crew = pages_shared(sizeof *crew);
  pthread_barrierattr_init(&attributes);
  pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_barrier_init(&crew->barrier, &attributes, (unsigned)options->members);
  pthread_barrierattr_destroy(&attributes);
}

static void *member_run(void *argument) {
  const Member *member = argument;
  member->body(member->options, member->index, &crew->timer[member->index]);
  crew_wait();
  return NULL;
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

/* The first that fails takes the rest along: they would wait for it for ever.
 * Returns its status for exit, or 0. */
static int reap_children(const pid_t *children, uint64_t count) {
  int failed = 0;
  for (uint64_t left = count; left > 0; left--) {
    int status = 0;
    pid_t child = waitpid(-1, &status, 0);
    if (child < 0 || status == 0 || failed) continue;
    failed = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
    if (WIFSIGNALED(status))
      (void)fprintf(stderr, "a member died of signal %d%s\n", WTERMSIG(status),
                    WTERMSIG(status) == SIGBUS ? " (shared memory is full)" : "");
    for (uint64_t i = 0; i < count; i++)
      if (children[i] != child) kill(children[i], SIGKILL);
  }
  return failed;
}

/* Where the allocator can do it, each process opens the segment by its name,
 * as strangers do, and the parent is no member of it. */
static void run_processes(const Options *options, const Peer *peer, Member *members) {
  pid_t children[MEMBERS_MAX];
  int inherits = peer->sharing == SHARES_BY_FORK;
  if (inherits) segment_open(options, peer);
  for (uint32_t i = 0; i < options->members; i++) {
    children[i] = fork();
    if (children[i] < 0) die("cannot fork: %s", strerror(errno));
    if (children[i] == 0) {
      if (!inherits) segment_open(options, peer);
      member_run(&members[i]);
      if (!inherits) peer->close();
      _exit(0);
    }
  }
  int failed = reap_children(children, options->members);
  if (inherits) peer->close();
  shm_unlink(options->name);
  if (failed) exit(failed);
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
