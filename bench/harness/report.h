/* The result: one line of JSON, an object of names and numbers. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "harness/crew.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Begin with who did what. */
void report_begin(const Options *options, const Peer *peer);

void report_number(const char *name, double value);

void report_end(void);

/** What every timed workload tells: ns (an operation's time as one member sees it), cpu_ns,
 *  faults (page faults per operation), ops. */
void report_timer(const Timer *total);

/** The whole report of a workload that a crew ran. */
void report_crew(const Options *options, const Peer *peer);

#ifdef __cplusplus
}
#endif

#endif
