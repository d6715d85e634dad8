/* Boost.Interprocess, managed_shared_memory with everything at its default.
 * It is mapped somewhere else in each process: blocks are given as handles. */
#include <boost/interprocess/managed_shared_memory.hpp>
#include <boost/version.hpp>

#include "harness.h"

using boost::interprocess::managed_shared_memory;

static managed_shared_memory *segment;

static inline void *peer_alloc(size_t size) { return segment->allocate(size, std::nothrow); }

static inline void peer_free(void *block) { segment->deallocate(block); }

static inline uint64_t peer_give(void *block) {
  return static_cast<uint64_t>(segment->get_handle_from_address(block));
}

static inline void *peer_take(uint64_t given) {
  return segment->get_address_from_handle(static_cast<managed_shared_memory::handle_t>(given));
}

static int peer_open(const char *name, size_t bytes) {
  try {
    segment = new managed_shared_memory(boost::interprocess::open_or_create, name, bytes);
    return 0;
  } catch (const boost::interprocess::interprocess_exception &) {
    return -1;
  }
}

static void peer_close() {
  delete segment;
  segment = nullptr;
}

static const char *peer_version() { return BOOST_LIB_VERSION; }

static const Peer peer = {"boost", peer_version, 1, peer_open, peer_close};

#include "workloads.h"
