/* How a benchmark program ends when there is nothing to report. */
#ifndef BENCH_FAILURE_H
#define BENCH_FAILURE_H

enum { EXIT_CANNOT = 77 };

#ifdef __cplusplus
extern "C" {
#endif

/** Something is broken: say it and end with status 1. */
void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/** This allocator cannot do this workload: say why and end with EXIT_CANNOT. */
void cannot(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/** Both also remove this shared memory, if the calling process is the one that said so. */
void failure_cleans(const char *name);

#ifdef __cplusplus
}
#endif

#endif
