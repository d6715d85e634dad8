/* libpmemobj, its pool a file in shared memory. A pool is open in one process at a time, so its
 * members are threads.
 *
 * PMEM_IS_PMEM_FORCE lets it treat that memory as persistent: it then flushes cache lines and makes
 * no system call for each operation. The library reads the variable before `main`.
 */
#include <libpmemobj.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "harness/crew.h"

static PMEMobjpool *pool;

static void forced(int argc, char **argv) __attribute__((constructor));

static void forced(int argc, char **argv) {
  (void)argc;
  if (getenv("PMEM_IS_PMEM_FORCE")) return;
  setenv("PMEM_IS_PMEM_FORCE", "1", 1);
  execv("/proc/self/exe", argv);
}

static inline void *peer_alloc(size_t size) {
  PMEMoid block;
  return pmemobj_alloc(pool, &block, size, 0, NULL, NULL) == 0 ? pmemobj_direct(block) : NULL;
}

static inline void peer_free(void *block) {
  PMEMoid freed = pmemobj_oid(block);
  pmemobj_free(&freed);
}

static inline uint64_t peer_give(void *block) { return pmemobj_oid(block).off; }

static inline void *peer_take(uint64_t given) { return (char *)pool + given; }

static int peer_open(const char *name, size_t bytes) {
  char path[NAME_BYTES + 16];
  (void)snprintf(path, sizeof path, "/dev/shm/%s", name);
  pool = access(path, F_OK) == 0 ? pmemobj_open(path, "bench")
                                 : pmemobj_create(path, "bench", bytes, 0600);
  if (pool) return 0;
  (void)fprintf(stderr, "%s\n", pmemobj_errormsg());
  return -1;
}

static void peer_close(void) { pmemobj_close(pool); }

static const char *peer_version(void) {
  static char text[32];
  (void)snprintf(text, sizeof text, "API %d.%d", PMEMOBJ_MAJOR_VERSION, PMEMOBJ_MINOR_VERSION);
  return text;
}

static const Peer peer = {"pmemobj", peer_version, SHARES_WITH_NOBODY, peer_open, peer_close, NULL,
                          0};

#include "workloads/main.h"
