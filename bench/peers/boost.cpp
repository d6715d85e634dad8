/* Boost.Interprocess. Compiled four times: BENCH_FIXED chooses between managed_shared_memory, which
 * each process maps somewhere else, and fixed_managed_shared_memory, one address for all;
 * BENCH_FIT is the fit algorithm, rbtree_best_fit (the default of both) or simple_seq_fit. */
#include <boost/interprocess/managed_shared_memory.hpp>
#include <boost/interprocess/mem_algo/simple_seq_fit.hpp>
#include <boost/version.hpp>

#include "harness/crew.h"

namespace ipc = boost::interprocess;

#if BENCH_FIXED
using Pointer = void *;
#else
using Pointer = ipc::offset_ptr<void>;
#endif
using Segment = ipc::basic_managed_shared_memory<char, ipc::BENCH_FIT<ipc::mutex_family, Pointer>,
                                                 ipc::iset_index>;

static Segment *segment;

static inline void *peer_alloc(size_t size) { return segment->allocate(size, std::nothrow); }

static inline void peer_free(void *block) { segment->deallocate(block); }

static inline uint64_t peer_give(void *block) {
#if BENCH_FIXED
  return reinterpret_cast<uint64_t>(block);
#else
  return static_cast<uint64_t>(segment->get_handle_from_address(block));
#endif
}

static inline void *peer_take(uint64_t given) {
#if BENCH_FIXED
  return reinterpret_cast<void *>(given);
#else
  return segment->get_address_from_handle(static_cast<Segment::handle_t>(given));
#endif
}

/* No other segment of this program, and nothing else of it, lies there. */
static const void *fixed_address() {
  return BENCH_FIXED ? reinterpret_cast<const void *>(uint64_t{0x300000000000}) : nullptr;
}

static int peer_open(const char *name, size_t bytes) {
  try {
    segment = new Segment(ipc::open_or_create, name, bytes, fixed_address());
    return 0;
  } catch (const ipc::interprocess_exception &problem) {
    (void)fprintf(stderr, "%s\n", problem.what());
    return -1;
  }
}

static void peer_close() {
  delete segment;
  segment = nullptr;
}

static const char *peer_version() { return BOOST_LIB_VERSION; }

static const Peer peer = {BENCH_NAME, peer_version, SHARES_BY_NAME, peer_open, peer_close, nullptr,
                          0};

#include "workloads/main.h"
