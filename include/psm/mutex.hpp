/* A mutex that survives its owner. */
#ifndef PSM_MUTEX_HPP
#define PSM_MUTEX_HPP

#include <psm/segment.hpp>

#include <cstdint>
#include <utility>

namespace psm {

/** PSMlock as an object in a segment: 8 bytes, all zero when free.
 *
 *  It is a BasicLockable, so std::lock_guard and std::unique_lock take it. It
 *  has no try_lock, because PSMlock has none. A death of its owner is never
 *  passed over: lock() throws until somebody has taken it by lock(repair).
 *  Not recursive. Waits of threads of one process exclude each other as well.
 */
class mutex {
 public:
  mutex() noexcept = default;
  mutex(const mutex &) = delete;
  mutex &operator=(const mutex &) = delete;

  /** Errors   psm::owner_died, and then it is not held; psm::error. */
  void lock() {
    if (acquire() == whole) return;
    unlock();
    throw owner_died();
  }

  /** Lock; if an owner died, call `repair()` first, while holding it.
   *
   *  Returns  whether it was repaired.
   *  Errors   psm::error; what `repair` throws, and then the mutex is not held
   *           and as it was.
   */
  template <class Repair>
  bool lock(Repair &&repair) {
    if (acquire() == whole) return false;
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
  enum : std::uint32_t { whole, damaged };

  /* A death before the mark leaves the word to a dead owner once more. */
  std::uint32_t acquire() {
    const int result = PSMlock(detail::segment_of(this), &word_);
    if (result < 0) throw error(result);
    if (result == PSM_OWNER_DIED) damaged_ = damaged;
    return damaged_;
  }

  std::uint32_t word_ = 0;
  std::uint32_t damaged_ = whole;
};

}  // namespace psm

#endif /* PSM_MUTEX_HPP */
