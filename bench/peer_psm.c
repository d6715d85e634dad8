/* PSM, linked with the shared library as its users link it. */
#include <psm.h>

#include "harness.h"

#include <stdio.h>

static PSMHandle segment;

static inline void *peer_alloc(size_t size) { return PSMalloc(segment, size); }

static inline void peer_free(void *block) { PSMfree(segment, block); }

/* One address in every process: a pointer is handed over as it is. */
static inline uint64_t peer_give(void *block) { return (uint64_t)(uintptr_t)block; }

static inline void *peer_take(uint64_t given) { return (void *)(uintptr_t)given; }

static int peer_open(const char *name, size_t bytes) {
  char path[NAME_MAX_BYTES + 8];
  (void)snprintf(path, sizeof path, "shm:%s", name);
  PSMinit(path, bytes, NULL, &segment);
  if (segment) return 0;
  (void)fprintf(stderr, "psm: %s\n", PSMerrorString(PSMlastError()));
  return -1;
}

static void peer_close(void) { PSMdeinit(segment); }

static const char *peer_version(void) { return PSMversion(); }

static const Peer peer = {"psm", peer_version, 1, peer_open, peer_close};

#include "workloads.h"
