/* Apache's relocatable memory, apr_rmm: one list of free blocks under one lock between processes.
 * Children inherit the anonymous memory, which is at the same address in all of them. */
#include <apr_general.h>
#include <apr_proc_mutex.h>
#include <apr_rmm.h>
#include <apr_shm.h>
#include <apu_version.h>

#include "harness/crew.h"

static apr_rmm_t *memory;
static apr_shm_t *shared;

static inline void *peer_alloc(size_t size) {
  apr_rmm_off_t offset = apr_rmm_malloc(memory, size);
  return offset ? apr_rmm_addr_get(memory, offset) : NULL;
}

static inline void peer_free(void *block) {
  (void)apr_rmm_free(memory, apr_rmm_offset_get(memory, block));
}

static inline uint64_t peer_give(void *block) {
  return (uint64_t)apr_rmm_offset_get(memory, block);
}

static inline void *peer_take(uint64_t given) {
  return apr_rmm_addr_get(memory, (apr_rmm_off_t)given);
}

static int peer_open(const char *name, size_t bytes) {
  static apr_anylock_t lock;
  apr_pool_t *pool;
  (void)name;
  if (apr_initialize() != APR_SUCCESS || apr_pool_create(&pool, NULL) != APR_SUCCESS) return -1;
  lock.type = apr_anylock_procmutex;
  if (apr_proc_mutex_create(&lock.lock.pm, NULL, APR_LOCK_PROC_PTHREAD, pool) != APR_SUCCESS)
    return -1;
  if (apr_shm_create(&shared, bytes, NULL, pool) != APR_SUCCESS) return -1;
  return apr_rmm_init(&memory, &lock, apr_shm_baseaddr_get(shared), bytes, pool) == APR_SUCCESS
             ? 0
             : -1;
}

static void peer_close(void) { (void)apr_shm_destroy(shared); }

static const char *peer_version(void) { return apu_version_string(); }

static const Peer peer = {"apr", peer_version, SHARES_BY_FORK, peer_open, peer_close, NULL, 0};

#include "workloads/main.h"
