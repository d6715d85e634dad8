/* PSM, linked with the shared library as its users link it. BENCH_FLAGS are those of PSMopen. */
#define _FILE_OFFSET_BITS 64
#include <psm.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness/crew.h"

static PSMHandle segment;

static inline void *peer_alloc(size_t size) { return PSMalloc(segment, size); }

static inline void peer_free(void *block) { PSMfree(segment, block); }

/* One address in every process: a pointer is handed over as it is. */
static inline uint64_t peer_give(void *block) { return (uint64_t)(uintptr_t)block; }

static inline void *peer_take(uint64_t given) { return (void *)(uintptr_t)given; }

static int peer_open(const char *name, size_t bytes) {
  char path[NAME_BYTES + 8];
  (void)snprintf(path, sizeof path, "shm:%s", name);
  PSMOptions options = {bytes, NULL, 0, BENCH_FLAGS};
  if (PSMopen(path, &options, &segment) == PSM_OK) return 0;
  (void)fprintf(stderr, "%s\n", PSMerrorString(PSMlastError()));
  return -1;
}

static void peer_close(void) { PSMdeinit(segment); }

static const char *peer_version(void) { return PSMversion(); }

/* The metadata lies in front of all blocks. A page of it that nobody has
 * touched takes no memory: mincore tells of the file's pages, not only of
 * those that this process has mapped. */
static uint64_t peer_metadata(void) {
  PSMStat stat;
  size_t page = (size_t)sysconf(_SC_PAGESIZE), resident = 0;
  if (PSMstat(segment, &stat) != PSM_OK) die("PSMstat: %s", PSMerrorString(PSMlastError()));
  size_t count = (size_t)stat.metadata / page;
  unsigned char *in_memory = (unsigned char *)pages(count);
  if (mincore((void *)segment, count * page, in_memory) != 0) die("mincore failed");
  for (size_t i = 0; i < count; i++) resident += in_memory[i] & 1;
  munmap(in_memory, count);
  return resident * page;
}

static const Peer peer = {
    BENCH_NAME, peer_version, SHARES_BY_NAME, peer_open, peer_close, peer_metadata, 0};

#include "workloads/main.h"
