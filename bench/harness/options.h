/* What to measure: WORKLOAD and then key=value, from the command line. */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include <stdint.h>

enum { MEMBERS_MAX = 64, NAME_BYTES = 64 };

typedef struct Options {
  const char *workload;
  uint64_t members;  /* processes, or threads of one process */
  uint64_t threads;  /* 1: the members are threads */
  uint64_t ms;       /* how long the timed part lasts */
  uint64_t warm_ms;  /* the longest warm-up where it takes more than a moment; 0: 8 times `ms` */
  uint64_t ops;      /* if not 0: a fixed number of operations instead */
  uint64_t setup_ms; /* an allocator that needs longer to get ready is left out */
  uint64_t live;     /* blocks that are alive all the time */
  uint64_t size;     /* bytes of a block, where a workload has one size */
  uint64_t min;      /* bytes of the smallest and the largest block, */
  uint64_t max;      /* where a workload has many */
  uint64_t log;      /* 1: sizes are log-uniform, 0: uniform */
  uint64_t refill;   /* bytes of a block of the second filling */
  uint64_t idle;     /* members that do nothing */
  uint64_t heap;     /* bytes of the shared segment */
  const char *file;  /* a trace */
  char name[NAME_BYTES]; /* of the shared segment: no directory, no slash */
} Options;

#ifdef __cplusplus
extern "C" {
#endif

/** Read the command line; `options` holds the defaults. Exits on nonsense. */
void options_read(Options *options, int argc, char **argv);

#ifdef __cplusplus
}
#endif

#endif
