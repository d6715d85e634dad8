/* The C library's malloc. */
#include "peers/private.h"

#include <gnu/libc-version.h>
#include <stdlib.h>

static inline void *peer_alloc(size_t size) { return malloc(size); }

static inline void peer_free(void *block) { free(block); }

static const char *peer_version(void) { return gnu_get_libc_version(); }

static const Peer peer = {"glibc", peer_version, SHARES_NOTHING, private_open, private_close, NULL,
                          0};

#include "workloads/main.h"
