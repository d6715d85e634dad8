/* A segment as an object, and the errors of psm.h as exceptions. */
#ifndef PSM_SEGMENT_HPP
#define PSM_SEGMENT_HPP

#include <psm.h>

#include <cstdint>
#include <cstdio>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

#if !defined(__GNUC__)
#error "psm.hpp: GCC or Clang is needed, for their built-in atomic functions"
#endif
#if defined(_GLIBCXX_DEBUG) || defined(_LIBCPP_ENABLE_DEBUG_MODE)
#error "psm.hpp: containers in debug mode are linked to iterators on the stack of one process"
#endif

namespace psm {

/** A call of psm.h failed: what() is its sentence, code() its PSM_E_ code. */
class error : public std::runtime_error {
 public:
  error(int code, const std::string &sentence) : std::runtime_error(sentence), code_(code) {}
  explicit error(int code) : error(code, PSMerrorString(code)) {}
  int code() const noexcept { return code_; }

 private:
  int code_;
};

/** psm::mutex: the last owner died, and what the mutex guards is not repaired. */
class owner_died : public error {
 public:
  owner_died()
      : error(PSM_OWNER_DIED,
              "the last owner of the mutex died; take it with lock(repair) and repair what it "
              "guards") {}
};

/** psm::roots: another member made this root with another layout or type. */
class layout_error : public error {
 public:
  explicit layout_error(const std::string &sentence) : error(PSM_E_PLATFORM, sentence) {}
};

/** The segment gave no memory; what() and code() as in psm::error. */
class bad_alloc : public std::bad_alloc {
 public:
  explicit bad_alloc(int code) noexcept : code_(code) {
    std::snprintf(sentence_, sizeof sentence_, "%s", PSMerrorString(code));
  }
  const char *what() const noexcept override { return sentence_; }
  int code() const noexcept { return code_; }

 private:
  int code_;
  char sentence_[196];
};

/** One use of a segment by this process: opened here, given back at the end.
 *
 *  It moves and does not copy: each object is one PSMopen and one PSMdeinit.
 *  To have two, open twice. It converts to PSMHandle, so all of psm.h takes it.
 *  Containers in private variables must end before it does.
 */
class segment {
 public:
  segment() noexcept = default;

  /** Join or create; `flags` are PSM_OPEN_ bits, `size` 0 joins any size.
   *
   *  Errors   psm::error, with the codes of PSMopen.
   */
  explicit segment(const std::string &name, std::uint64_t size = 0, std::uint32_t flags = 0)
      : segment(name, PSMOptions{size, nullptr, 0, flags}) {}
  segment(const std::string &name, const PSMOptions &options) {
    const int result = PSMopen(name.c_str(), &options, &handle_);
    if (result != PSM_OK) throw error(result);
  }

  segment(segment &&other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  segment &operator=(segment &&other) noexcept {
    segment old(std::move(*this));
    handle_ = std::exchange(other.handle_, nullptr);
    return *this;
  }
  ~segment() { PSMdeinit(handle_); }

  PSMHandle handle() const noexcept { return handle_; }
  operator PSMHandle() const noexcept { return handle_; }
  explicit operator bool() const noexcept { return handle_ != nullptr; }

 private:
  PSMHandle handle_ = nullptr;
};

namespace detail {

/* The segment that `address` lies in. */
inline PSMHandle segment_of(const void *address) {
  const PSMHandle handle = PSMsegmentOf(address);
  if (handle == nullptr)
    throw error(PSM_E_POINTER, "the object lies in no segment that this process has open");
  return handle;
}

/* Stores that a process killed in between has done in this order. */
template <class T>
void put(T *&place, std::common_type_t<T *> value) noexcept {
  __atomic_store_n(&place, value, __ATOMIC_RELEASE);
}
template <class T>
T *get(T *const &place) noexcept {
  return __atomic_load_n(&place, __ATOMIC_ACQUIRE);
}

}  // namespace detail

}  // namespace psm

#endif /* PSM_SEGMENT_HPP */
