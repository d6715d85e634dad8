/* The workloads, as a template: peers/NAME.c defines its allocator and then includes this file,
 * which ends with `main`.
 *
 * It is a template and no table of function pointers, because a call through a pointer costs a
 * tenth of what is measured: here every allocator is called as a program calls it. The peer
 * defines before:
 *
 *   static void *peer_alloc(size_t size);          NULL: none
 *   static void peer_free(void *block);
 *   static uint64_t peer_give(void *block);        for another member
 *   static void *peer_take(uint64_t given);
 *   static const Peer peer;                        see harness/crew.h
 *
 * Sizes and order are computed before the clock starts, from one seed for all peers, but for those
 * of Larson's exchange. The first 8 bytes of each block are written. C11 and C++17.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/crew.h"
#include "harness/report.h"

#include "workloads/blocks.h"
#include "workloads/pair.h"
#include "workloads/batch.h"
#include "workloads/replace.h"
#include "workloads/larson.h"
#include "workloads/produce.h"
#include "workloads/latency.h"
#include "workloads/fill.h"
#include "workloads/crowd.h"
#include "workloads/growth.h"
#include "workloads/replay.h"

static const struct {
  const char *name;
  void (*run)(Options *options);
} workloads[] = {
    {"pair", pair_run},
    {"batch", batch_run},
    {"replace", replace_run},
    {"larson", larson_run},
    {"produce", produce_run},
    {"latency_pair", latency_pair_run},
    {"latency_replace", latency_replace_run},
    {"fill", fill_run},
    {"growth", growth_run},
    {"replay", replay_run},
};

int main(int argc, char **argv) {
  Options options;
  memset(&options, 0, sizeof options);
  options.members = 1;
  options.ms = 100;
  options.setup_ms = 8000;
  options.live = 50000;
  options.size = 64;
  options.min = 16;
  options.max = 1024;
  options.heap = (uint64_t)2 << 30;
  options.threads = peer.sharing == SHARES_NOTHING || peer.sharing == SHARES_WITH_NOBODY;
  options_read(&options, argc, argv);
  if (peer.sharing == SHARES_WITH_NOBODY && !options.threads) cannot("one process at a time");
  for (size_t i = 0; i < sizeof workloads / sizeof *workloads; i++) {
    if (strcmp(options.workload, workloads[i].name) != 0) continue;
    workloads[i].run(&options);
    return 0;
  }
  die("no such workload: %s", options.workload);
}
