/* What may lie in a segment, as far as its type tells. */
#ifndef PSM_SHAREABLE_HPP
#define PSM_SHAREABLE_HPP

#include <any>
#include <cstddef>
#include <functional>
#include <memory>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

namespace psm {

template <class T>
class allocator;
template <class T>
struct shareable;

namespace detail {

template <class T, template <class...> class Template>
struct is_a : std::false_type {};
template <template <class...> class Template, class... Types>
struct is_a<Template<Types...>, Template> : std::true_type {};

template <class T, class = void>
struct has_native_handle : std::false_type {};
template <class T>
struct has_native_handle<T, std::void_t<typename T::native_handle_type>> : std::true_type {};

template <class T, class = void>
struct own_allocator : std::true_type {};
template <class T>
struct own_allocator<T, std::void_t<typename T::allocator_type>>
    : std::is_convertible<typename T::allocator_type, allocator<char>> {};

template <class T, class = void>
struct own_deleter : std::true_type {};
template <class T>
struct own_deleter<T, std::void_t<typename T::deleter_type>>
    : std::negation<is_a<typename T::deleter_type, std::default_delete>> {};

template <class T, class = void>
struct needs_no_lock : std::true_type {};
template <class T>
struct needs_no_lock<T, std::void_t<decltype(T::is_always_lock_free)>>
    : std::bool_constant<T::is_always_lock_free> {};

/* absl's hashers begin with the address of a variable of the process. Their
 * namespace has the release in its name, so only the spelling can be asked. */
template <class T>
constexpr bool is_absl_hash() {
  constexpr std::string_view name = __PRETTY_FUNCTION__;
  constexpr std::size_t at = name.find("T = absl::");
  return at != name.npos && (name.find("hash_internal::Hash", at) != name.npos ||
                             name.find("StringHash", at) != name.npos);
}
template <class T, class = void>
struct own_hash : std::true_type {};
template <class T>
struct own_hash<T, std::void_t<typename T::hasher>>
    : std::bool_constant<!is_absl_hash<typename T::hasher>()> {};

/* The parts of T that its type tells of. */
template <class T, class = void>
struct value_shareable : std::true_type {};
template <class T>
struct value_shareable<T, std::void_t<typename T::value_type,
                                      std::enable_if_t<!std::is_same_v<typename T::value_type, T>>>>
    : shareable<std::remove_cv_t<typename T::value_type>> {};
template <class T>
struct parts_shareable : value_shareable<T> {};
template <class T, std::size_t N>
struct parts_shareable<T[N]> : shareable<T> {};
template <class First, class Second>
struct parts_shareable<std::pair<First, Second>>
    : std::conjunction<shareable<std::remove_cv_t<First>>, shareable<std::remove_cv_t<Second>>> {};
template <class... Types>
struct parts_shareable<std::tuple<Types...>> : std::conjunction<shareable<Types>...> {};
template <class... Types>
struct parts_shareable<std::variant<Types...>> : std::conjunction<shareable<Types>...> {};

template <class T>
struct checked {
  static_assert(!std::is_reference_v<T>, "PSM: store a pointer into the segment, no reference");
  static_assert(!std::is_polymorphic_v<T>,
                "PSM: a class with virtual functions points to a table of one process");
  static_assert(!std::is_function_v<std::remove_pointer_t<T>>,
                "PSM: functions have other addresses in other processes");
  static_assert(!std::is_member_function_pointer_v<T>,
                "PSM: functions have other addresses in other processes");
  static_assert(!is_a<T, std::function>::value && !std::is_same_v<T, std::any>,
                "PSM: std::function and std::any point to functions of one process");
  static_assert(!is_a<T, std::shared_ptr>::value && !is_a<T, std::weak_ptr>::value,
                "PSM: std::shared_ptr points to a table of virtual functions of one process");
  static_assert(own_deleter<T>::value, "PSM: std::unique_ptr needs psm::deleter");
  static_assert(!has_native_handle<T>::value,
                "PSM: threads, mutexes and conditions of std serve one process; see psm::mutex");
  static_assert(own_allocator<T>::value,
                "PSM: this type allocates outside the segment; give it psm::allocator");
  static_assert(needs_no_lock<T>::value, "PSM: this atomic uses a lock of one process");
  static_assert(own_hash<T>::value,
                "PSM: absl's hash differs from process to process; use psm::hash");
  static constexpr bool value = parts_shareable<T>::value;
};

}  // namespace detail

/** May T lie in a segment? Asked of all that psm::allocator constructs.
 *
 *  It follows pairs, tuples, variants and `value_type`. What it knows to be
 *  wrong does not compile. To overrule it:
 *  `template <> struct psm::shareable<Mine> : std::true_type {};`
 */
template <class T>
struct shareable : std::bool_constant<detail::checked<T>::value> {};

}  // namespace psm

#endif /* PSM_SHAREABLE_HPP */
