/* A hash that is the same in every process. */
#ifndef PSM_HASH_HPP
#define PSM_HASH_HPP

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string_view>
#include <type_traits>

namespace psm {

/** Hash of numbers, enumerations, pointers and all that is a std::string_view.
 *
 *  Other types go through std::hash, which must not depend on the process. With
 *  std::equal_to<> a table of shared strings is searched by std::string_view.
 */
struct hash {
  using is_transparent = void;
  using is_avalanching = void;

  /* Not noexcept for texts: libstdc++ then keeps the hash in the node, instead
   * of computing it again for each node that it passes. */
  template <class T>
  std::size_t operator()(const T &value) const
      noexcept(!std::is_convertible_v<const T &, std::string_view>) {
    if constexpr (std::is_convertible_v<const T &, std::string_view>)
      return text(value);
    else if constexpr (std::is_integral_v<T> || std::is_enum_v<T>)
      return mix(static_cast<std::uint64_t>(value));
    else if constexpr (std::is_pointer_v<T>)
      return mix(reinterpret_cast<std::uintptr_t>(value));
    else
      return mix(std::hash<T>{}(value));
  }

 private:
  static std::size_t mix(std::uint64_t word) noexcept {
    word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9u;
    word = (word ^ (word >> 27)) * 0x94d049bb133111ebu;
    return static_cast<std::size_t>(word ^ (word >> 31));
  }
  static std::size_t text(std::string_view bytes) noexcept {
    std::uint64_t sum = bytes.size() * 0x9e3779b97f4a7c15u, word = 0;
    for (; bytes.size() >= sizeof word; bytes.remove_prefix(sizeof word)) {
      std::memcpy(&word, bytes.data(), sizeof word);
      sum = (sum ^ word) * 0xbf58476d1ce4e5b9u;
      sum ^= sum >> 32;
    }
    word = 0;
    if (!bytes.empty()) std::memcpy(&word, bytes.data(), bytes.size());
    return mix(sum ^ word);
  }
};

}  // namespace psm

#endif /* PSM_HASH_HPP */
