/* A place for one object, whole or absent. */
#ifndef PSM_SLOT_HPP
#define PSM_SLOT_HPP

#include <psm/allocator.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>

namespace psm {

namespace detail {

/* Three blocks: the object that all see, one that is being made, and one that
 * is being destroyed. `object` decides: a death leaves it as it was or new. */
struct slot_shm {
  void *object = nullptr, *building = nullptr, *retiring = nullptr;

  /* What was half made or half destroyed goes back as a block; what it had
   * allocated in turn cannot be found and stays allocated. */
  void repair(PSMHandle handle) noexcept {
    if (building == object) put(building, nullptr);
    PSMfreeFrom(handle, &building);
    if (retiring == object) put(retiring, nullptr);
    PSMfreeFrom(handle, &retiring);
  }

  /* Blocks are aligned to 16; an object that needs more lies further in. */
  template <class T>
  static T *inside(void *block) noexcept {
    const auto address = reinterpret_cast<std::uintptr_t>(block);
    return reinterpret_cast<T *>((address + alignof(T) - 1) & ~(alignof(T) - 1));
  }

  template <class T, class... Arguments>
  T &emplace(PSMHandle handle, Arguments &&...arguments) {
    constexpr std::size_t room = sizeof(T) + (alignof(T) > 16 ? alignof(T) - 16 : 0);
    repair(handle);
    const int result = PSMallocTo(handle, room, &building);
    if (result != PSM_OK) throw bad_alloc(result);
    T *made = nullptr;
    try {
      made = construct<T>(handle, inside<T>(building), std::forward<Arguments>(arguments)...);
    } catch (...) {
      PSMfreeFrom(handle, &building);
      throw;
    }
    put(retiring, object);
    put(object, building);
    put(building, nullptr);
    retire<T>(handle);
    return *made;
  }

  template <class T>
  void reset(PSMHandle handle) {
    repair(handle);
    put(retiring, object);
    put(object, nullptr);
    retire<T>(handle);
  }

  bool unused() const noexcept {
    return object == nullptr && building == nullptr && retiring == nullptr;
  }

 private:
  template <class T>
  void retire(PSMHandle handle) {
    if (retiring == nullptr) return;
    inside<T>(retiring)->~T();
    PSMfreeFrom(handle, &retiring);
  }
};

}  // namespace detail

/** A place in a segment for one T that is there as a whole or not at all.
 *
 *  To change a container so that a death cannot leave it half changed, make the
 *  changed one in its place: `slot.emplace(changed(*slot))`. One writer at a
 *  time; readers exclude it, as with any object. After the death of a writer the
 *  next emplace() or reset() repairs: nothing is lost but what the half-made
 *  object had allocated itself. Who follows a dead writer without a psm::mutex
 *  calls PSMreap first, as PSMallocTo asks.
 */
template <class T>
class slot {
 public:
  slot() noexcept = default;
  slot(const slot &) = delete;
  slot &operator=(const slot &) = delete;
  ~slot() { reset(); }

  T *get() const noexcept { return detail::slot_shm::inside<T>(detail::get(shared_.object)); }
  T &operator*() const noexcept { return *get(); }
  T *operator->() const noexcept { return get(); }
  explicit operator bool() const noexcept { return get() != nullptr; }

  /** Make a T as psm::make does, put it here, and destroy the one before.
   *
   *  Errors   psm::bad_alloc; what the constructor throws, and then the one
   *           before is still here.
   */
  template <class... Arguments>
  T &emplace(Arguments &&...arguments) {
    return shared_.emplace<T>(detail::segment_of(this), std::forward<Arguments>(arguments)...);
  }
  void reset() {
    if (!shared_.unused()) shared_.reset<T>(detail::segment_of(this));
  }

 private:
  detail::slot_shm shared_;
};

}  // namespace psm

#endif /* PSM_SLOT_HPP */
