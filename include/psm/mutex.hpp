/* A mutex that survives its owner. */
#ifndef PSM_MUTEX_HPP
#define PSM_MUTEX_HPP

#include <psm/segment.hpp>

#include <cstdint>
#include <utility>

namespace psm {

/** PSMlock as an object in a segment: 8 bytes, all zero when free.
 *
 *  It is a Lockable: std::lock_guard, std::unique_lock and std::scoped_lock
 *  take it. A death of its owner is never passed over: lock() and try_lock()
 *  throw until somebody has taken it by lock(repair). Not recursive. It
 *  excludes threads of one process as well.
 */
class mutex {
 public:
  mutex() noexcept = default;
  mutex(const mutex &) = delete;
  mutex &operator=(const mutex &) = delete;

  /** Errors   psm::owner_died, and then it is not held; psm::error. */
  void lock() {
    if (acquired(PSMlock) == damaged) refuse();
  }

  /** Returns  whether it is now held; false: it was held.
   *  Errors   as lock().
   */
  bool try_lock() {
    const state found = acquired(PSMtrylock);
    if (found == damaged) refuse();
    return found != held;
  }

  /** Lock; if an owner died, call `repair()` first, while holding it.
   *
   *  Returns  whether it was repaired.
   *  Errors   psm::error; what `repair` throws, and then the mutex is not held
   *           and as it was.
   */
  template <class Repair>
  bool lock(Repair &&repair) {
    if (acquired(PSMlock) == whole) return false;
    try {
      std::forward<Repair>(repair)();
    } catch (...) {
      unlock();
      throw;
    }
    __atomic_store_n(&damaged_, whole, __ATOMIC_RELEASE);
    return true;
  }

  /** Errors   psm::error (this process does not hold it). */
  void unlock() {
    const int result = PSMunlock(detail::segment_of(this), &word_);
    if (result != PSM_OK) throw error(result);
  }

 private:
  enum state : std::uint32_t { whole, damaged, held };

  /* A death before the mark leaves the word to a dead owner once more. */
  state acquired(int (*by)(PSMHandle, std::uint32_t *)) {
    const int result = by(detail::segment_of(this), &word_);
    if (result == PSM_E_STATE) return held;
    if (result < 0) throw error(result);
    if (result == PSM_OWNER_DIED) damaged_ = damaged;
    return damaged_ == whole ? whole : damaged;
  }
  [[noreturn]] void refuse() {
    unlock();
    throw owner_died();
  }

  std::uint32_t word_ = 0;
  std::uint32_t damaged_ = whole;
};

}  // namespace psm

#endif /* PSM_MUTEX_HPP */
