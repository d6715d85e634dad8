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
  template <class Word>
  static std::uint64_t load(const char *from) noexcept {
    Word word;
    std::memcpy(&word, from, sizeof word);
    return word;
  }
  /* The last bytes, 0 to 8 of them, without a loop: what overlaps is read twice. */
  static std::uint64_t last(const char *from, std::size_t count) noexcept {
    if (count >= 4) return load<std::uint32_t>(from) | load<std::uint32_t>(from + count - 4) << 32;
    if (count == 0) return 0;
    return load<std::uint8_t>(from) | load<std::uint8_t>(from + count / 2) << 8 |
           load<std::uint8_t>(from + count - 1) << 16;
  }
  static std::size_t text(std::string_view bytes) noexcept {
    const char *at = bytes.data();
    std::size_t left = bytes.size();
    std::uint64_t sum = left * 0x9e3779b97f4a7c15u;
    for (; left > 8; at += 8, left -= 8) {
      /* Twice, or a change of the highest bits could be undone by one of the next word. */
      sum = (sum ^ load<std::uint64_t>(at)) * 0xbf58476d1ce4e5b9u;
      sum = (sum ^ sum >> 32) * 0x94d049bb133111ebu;
    }
    return mix(sum ^ last(at, left));
  }
};

}  // namespace psm

#endif /* PSM_HASH_HPP */
