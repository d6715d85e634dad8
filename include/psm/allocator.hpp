/* Memory of a segment for containers and for single objects. */
#ifndef PSM_ALLOCATOR_HPP
#define PSM_ALLOCATOR_HPP

#include <psm/segment.hpp>
#include <psm/shareable.hpp>

#include <cstddef>
#include <limits>
#include <memory>
#include <new>
#include <scoped_allocator>
#include <type_traits>
#include <utility>

namespace psm {

/** An allocator of the standard's kind, one pointer wide.
 *
 *  Two are equal if they serve one segment, in whichever process. A container
 *  keeps the allocator that it was made with (as with std::pmr): what is moved
 *  or assigned from another segment is copied element by element, and swapping
 *  across segments is an error of the caller. T may have any alignment.
 *  deallocate() of what is no block is refused and sets the thread's last error.
 */
template <class T>
class allocator {
 public:
  using value_type = T;
  using is_always_equal = std::false_type;
  using propagate_on_container_copy_assignment = std::false_type;
  using propagate_on_container_move_assignment = std::false_type;
  using propagate_on_container_swap = std::false_type;

  allocator(const segment &segment) noexcept : handle_(segment.handle()) {}
  explicit allocator(PSMHandle handle) noexcept : handle_(handle) {}
  template <class U>
  allocator(const allocator<U> &other) noexcept : handle_(other.handle()) {}

  /** Errors   psm::bad_alloc; std::bad_array_new_length. */
  [[nodiscard]] T *allocate(std::size_t count) {
    if (count > std::numeric_limits<std::size_t>::max() / sizeof(T))
      throw std::bad_array_new_length();
    void *block = nullptr;
    if constexpr (alignof(T) > 16)
      block = PSMalignedAlloc(handle_, alignof(T), count * sizeof(T));
    else
      block = PSMalloc(handle_, count * sizeof(T));
    if (block == nullptr) throw bad_alloc(handle_ == nullptr ? PSM_E_HANDLE : PSMlastError());
    return static_cast<T *>(block);
  }
  void deallocate(T *block, std::size_t) noexcept { PSMfree(handle_, block); }

  template <class U, class... Arguments>
  void construct(U *place, Arguments &&...arguments) {
    static_assert(shareable<U>::value);
    ::new (static_cast<void *>(place)) U(std::forward<Arguments>(arguments)...);
  }

  PSMHandle handle() const noexcept { return handle_; }

  template <class U>
  bool operator==(const allocator<U> &other) const noexcept {
    return handle_ == other.handle();
  }
  template <class U>
  bool operator!=(const allocator<U> &other) const noexcept {
    return handle_ != other.handle();
  }

 private:
  PSMHandle handle_;
};

/** psm::allocator that a container hands on to the containers inside it. */
template <class T>
using scoped_allocator = std::scoped_allocator_adaptor<allocator<T>>;

/** Give a table memory of its own if it has none.
 *
 *  boost::unordered_flat_map, absl::flat_hash_map and their kin point to a
 *  variable of the process while they have no memory. Call this before any
 *  other use of a table that may be so: a new one, and after clear(), a move,
 *  a swap, an assignment or rehash(0). psm::make, slot and roots do it for new
 *  ones.
 */
template <class Table>
void settle(Table &table) {
  if (table.bucket_count() == 0) table.reserve(1);
}

namespace detail {

template <class T, class = void>
struct is_table : std::false_type {};
template <class T>
struct is_table<T, std::void_t<decltype(std::declval<T &>().reserve(1)),
                               decltype(std::declval<T &>().bucket_count())>> : std::true_type {};

/* Construct, with the allocator if T takes one. */
template <class T, class... Arguments>
T *construct(PSMHandle handle, void *place, Arguments &&...arguments) {
  using Allocator = allocator<std::byte>;
  static_assert(shareable<T>::value);
  T *object = nullptr;
  if constexpr (!std::uses_allocator_v<T, Allocator>)
    object = ::new (place) T(std::forward<Arguments>(arguments)...);
  else if constexpr (std::is_constructible_v<T, std::allocator_arg_t, Allocator, Arguments...>)
    object = ::new (place)
        T(std::allocator_arg, Allocator(handle), std::forward<Arguments>(arguments)...);
  else if constexpr (std::is_constructible_v<T, Arguments..., Allocator>)
    object = ::new (place) T(std::forward<Arguments>(arguments)..., Allocator(handle));
  else
    object = ::new (place) T(std::forward<Arguments>(arguments)...);
  if constexpr (is_table<T>::value) {
    try {
      settle(*object);
    } catch (...) {
      object->~T();
      throw;
    }
  }
  return object;
}

}  // namespace detail

/** Allocate and construct one T; its allocator, if it takes one, is passed on.
 *
 *  Returns  its address. A process that is killed before it stores the address
 *           in the segment loses the block; psm::slot loses none.
 *  Errors   psm::bad_alloc; what the constructor throws, and then the block is
 *           free again.
 *  Owns     the segment; any member may pass it to psm::destroy.
 */
template <class T, class... Arguments>
T *make(PSMHandle handle, Arguments &&...arguments) {
  allocator<T> memory(handle);
  T *place = memory.allocate(1);
  try {
    return detail::construct<T>(handle, place, std::forward<Arguments>(arguments)...);
  } catch (...) {
    memory.deallocate(place, 1);
    throw;
  }
}

/** Destroy and free what psm::make gave, in whichever member. NULL: nothing. */
template <class T>
void destroy(T *object) {
  if (object == nullptr) return;
  const PSMHandle handle = detail::segment_of(object);
  object->~T();
  PSMfree(handle, object);
}

/** psm::destroy for std::unique_ptr, which may then lie in a segment. */
struct deleter {
  template <class T>
  void operator()(T *object) const {
    destroy(object);
  }
};
template <class T>
using unique_ptr = std::unique_ptr<T, deleter>;

}  // namespace psm

/* Marks that a container leaves for AddressSanitizer are of one process. */
#if defined(_LIBCPP_HAS_ASAN_CONTAINER_ANNOTATIONS_FOR_ALL_ALLOCATORS)
_LIBCPP_BEGIN_NAMESPACE_STD
template <class T>
struct __asan_annotate_container_with_allocator<psm::allocator<T>> : false_type {};
template <class T>
struct __asan_annotate_container_with_allocator<psm::scoped_allocator<T>> : false_type {};
_LIBCPP_END_NAMESPACE_STD
#endif

#endif /* PSM_ALLOCATOR_HPP */
