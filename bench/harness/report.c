/* The result: one line of JSON. */
#include "harness/report.h"

#include <inttypes.h>
#include <stdio.h>

void report_begin(const Options *options, const Peer *peer) {
  printf("{\"peer\": \"%s\", \"version\": \"%s\", \"workload\": \"%s\", ", peer->name,
         peer->version(), options->workload);
  printf("\"members\": %" PRIu64 ", \"mode\": \"%s\"", options->members,
         options->threads ? "threads" : "processes");
}

void report_number(const char *name, double value) { printf(", \"%s\": %.9g", name, value); }

void report_end(void) {
  (void)puts("}");
  (void)fflush(stdout);
}

void report_timer(const Timer *total) {
  double ops = total->ops ? (double)total->ops : 1;
  report_number("ns", (double)total->end / ops);
  report_number("cpu_ns", (double)total->cpu / ops);
  report_number("faults", (double)total->faults / ops);
  report_number("ops", (double)total->ops);
}

void report_crew(const Options *options, const Peer *peer) {
  Timer total = crew_total(options);
  report_begin(options, peer);
  report_timer(&total);
  report_end();
}
