/* tcmalloc of gperftools, called by its own names. */
#include "peers/private.h"

#include <gperftools/tcmalloc.h>

static inline void *peer_alloc(size_t size) { return tc_malloc(size); }

static inline void peer_free(void *block) { tc_free(block); }

static const char *peer_version(void) { return tc_version(NULL, NULL, NULL); }

static const Peer peer = {
    "tcmalloc", peer_version, SHARES_NOTHING, private_open, private_close, NULL, 0};

#include "workloads/main.h"
