/* Objects with names, each with the layout that it was made with. */
#ifndef PSM_ROOTS_HPP
#define PSM_ROOTS_HPP

#include <psm/mutex.hpp>
#include <psm/slot.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <typeinfo>
#include <utility>

namespace psm {

namespace detail {

#define PSM_HPP_TEXT_OF(value) #value
#define PSM_HPP_TEXT(value)    PSM_HPP_TEXT_OF(value)
#if defined(_LIBCPP_ABI_VERSION)
inline constexpr const char *library = "libc++, ABI " PSM_HPP_TEXT(_LIBCPP_ABI_VERSION);
#elif defined(_GLIBCXX_USE_CXX11_ABI)
inline constexpr const char *library = "libstdc++, C++11 ABI " PSM_HPP_TEXT(_GLIBCXX_USE_CXX11_ABI);
#else
#error "psm.hpp: this standard library is not known"
#endif
#undef PSM_HPP_TEXT
#undef PSM_HPP_TEXT_OF

/* What members must agree on about a type. Names of types are the mangled
 * ones, which GCC and Clang spell alike; without RTTI they are not compared. */
struct layout {
  std::uint64_t size, alignment, model;
  std::string_view library, type;
};

template <class T>
layout layout_of() {
  const std::uint64_t model =
      sizeof(void *) | sizeof(long) << 8 | sizeof(wchar_t) << 16 | sizeof(long double) << 24;
#if defined(__cpp_rtti)
  return {sizeof(T), alignof(T), model, library, typeid(T).name()};
#else
  return {sizeof(T), alignof(T), model, library, {}};
#endif
}

/* One root. The texts (name, library, type) follow it in its block. */
struct root_shm {
  root_shm *next;
  slot_shm slot;
  std::uint64_t size, alignment, model;
  std::uint32_t name_bytes, library_bytes, type_bytes, unused;

  std::string_view name() const noexcept {
    return {reinterpret_cast<const char *>(this + 1), name_bytes};
  }
  layout made_as() const noexcept {
    const char *texts = reinterpret_cast<const char *>(this + 1) + name_bytes;
    return {size, alignment, model, {texts, library_bytes}, {texts + library_bytes, type_bytes}};
  }
};

struct registry_shm {
  std::uint64_t magic;
  mutex lock;
  root_shm *first, *fresh; /* `fresh`: being made, or taken out to be freed */
};

/* Grows when a type above with _shm, or psm::hash, changes. */
inline constexpr std::uint64_t registry_magic = 0x50534d526f6f7402u;

inline std::string describe(const layout &made) {
  return std::to_string(made.size) + " bytes aligned to " + std::to_string(made.alignment) +
         ", by " + std::string(made.library) + ", type " +
         (made.type.empty() ? "not known" : std::string(made.type));
}

inline void compare(std::string_view name, const layout &made, const layout &here) {
  if (made.size == here.size && made.alignment == here.alignment && made.model == here.model &&
      made.library == here.library &&
      (made.type == here.type || made.type.empty() || here.type.empty()))
    return;
  throw layout_error("the root \"" + std::string(name) + "\" was made as " + describe(made) +
                     "; here it is " + describe(here) +
                     ": build all members with one library and one definition of the type");
}

}  // namespace detail

/** The named objects of a segment, each with the layout that it was made with.
 *
 *  They hang on the user word of the segment (PSMgetUser), which must be theirs
 *  alone. All calls exclude each other across all members; get() constructs
 *  while it excludes them, so a constructor must not use the roots itself. A
 *  death in a call is repaired by the next. With -fno-rtti types are compared by
 *  size and library only.
 */
class roots {
 public:
  explicit roots(PSMHandle segment) noexcept : segment_(segment) {}

  /** The root `name`; if there is none, make it with these arguments.
   *
   *  Errors   psm::layout_error; psm::bad_alloc; psm::error (PSM_E_STATE: the
   *           user word is used otherwise); what the constructor throws.
   */
  template <class T, class... Arguments>
  T &get(std::string_view name, Arguments &&...arguments) {
    detail::registry_shm &registry = join();
    const guard held(segment_, &registry);
    detail::root_shm *root = search(registry, name);
    if (T *object = object_of<T>(root, name)) return *object;
    if (root != nullptr) erase(registry, root); /* its maker died */
    root = append(registry, name, detail::layout_of<T>());
    try {
      return root->slot.template emplace<T>(segment_, std::forward<Arguments>(arguments)...);
    } catch (...) {
      erase(registry, root);
      throw;
    }
  }

  /** The root `name`, or nullptr. It also serves segments opened read-only.
   *
   *  Errors   psm::layout_error; psm::error, as get().
   */
  template <class T>
  T *find(std::string_view name) {
    detail::registry_shm *registry = existing();
    if (registry == nullptr) return nullptr;
    const guard held(segment_, registry);
    return object_of<T>(search(*registry, name), name);
  }

  /** Destroy the root `name`.
   *
   *  Returns  whether there was one.
   *  Errors   as find().
   */
  template <class T>
  bool remove(std::string_view name) {
    detail::registry_shm *registry = existing();
    if (registry == nullptr) return false;
    const guard held(segment_, registry);
    detail::root_shm *root = search(*registry, name);
    if (object_of<T>(root, name) == nullptr) return false;
    root->slot.template reset<T>(segment_);
    erase(*registry, root);
    return true;
  }

 private:
  using registry_shm = detail::registry_shm;
  using root_shm = detail::root_shm;

  /* Holds the registry. Who may only read it does without. */
  class guard {
   public:
    guard(PSMHandle segment, registry_shm *registry) {
      if (inside() == registry)
        throw error(PSM_E_STATE, "the constructor or destructor of a root uses the roots");
      try {
        registry->lock.lock([&] { repair(segment, *registry); });
        held_ = registry;
        outer_ = std::exchange(inside(), registry);
      } catch (const error &failure) {
        if (failure.code() != PSM_E_READONLY) throw;
      }
    }
    guard(const guard &) = delete;
    ~guard() {
      if (held_ == nullptr) return;
      inside() = outer_;
      held_->lock.unlock();
    }

   private:
    static const registry_shm *&inside() {
      static thread_local const registry_shm *registry = nullptr;
      return registry;
    }
    registry_shm *held_ = nullptr;
    const registry_shm *outer_ = nullptr;
  };

  static void repair(PSMHandle segment, registry_shm &registry) {
    for (root_shm *root = registry.first; root != nullptr; root = root->next) {
      if (root == registry.fresh) detail::put(registry.fresh, nullptr);
      root->slot.repair(segment);
    }
    PSMfreeFrom(segment, reinterpret_cast<void **>(&registry.fresh));
  }

  static root_shm *search(const registry_shm &registry, std::string_view name) noexcept {
    root_shm *root = detail::get(registry.first);
    while (root != nullptr && root->name() != name) root = detail::get(root->next);
    return root;
  }

  template <class T>
  static T *object_of(const root_shm *root, std::string_view name) {
    if (root == nullptr || detail::get(root->slot.object) == nullptr) return nullptr;
    detail::compare(name, root->made_as(), detail::layout_of<T>());
    return detail::slot_shm::inside<T>(root->slot.object);
  }

  root_shm *append(registry_shm &registry, std::string_view name, const detail::layout &here) {
    const std::size_t bytes =
        sizeof(root_shm) + name.size() + here.library.size() + here.type.size();
    const int result = PSMallocTo(segment_, bytes, reinterpret_cast<void **>(&registry.fresh));
    if (result != PSM_OK) throw bad_alloc(result);
    root_shm *root = ::new (static_cast<void *>(registry.fresh))
        root_shm{registry.first,
                 {},
                 here.size,
                 here.alignment,
                 here.model,
                 static_cast<std::uint32_t>(name.size()),
                 static_cast<std::uint32_t>(here.library.size()),
                 static_cast<std::uint32_t>(here.type.size()),
                 0};
    char *texts = reinterpret_cast<char *>(root + 1);
    for (const std::string_view text : {name, here.library, here.type})
      texts += text.copy(texts, text.size());
    detail::put(registry.first, root);
    detail::put(registry.fresh, nullptr);
    return root;
  }

  void erase(registry_shm &registry, root_shm *root) {
    root_shm **link = &registry.first;
    while (*link != root) link = &(*link)->next;
    detail::put(registry.fresh, root);
    detail::put(*link, root->next);
    PSMfreeFrom(segment_, reinterpret_cast<void **>(&registry.fresh));
  }

  registry_shm **word() const {
    void *user = PSMgetUser(segment_);
    if (user == nullptr) throw error(PSM_E_HANDLE);
    return static_cast<registry_shm **>(user);
  }

  registry_shm *existing() const {
    registry_shm *registry = detail::get(*word());
    if (registry != nullptr && (PSMusableSize(segment_, registry) < sizeof *registry ||
                                registry->magic != detail::registry_magic))
      throw error(PSM_E_STATE,
                  "the segment's user word is in use, but not by the C++ roots of this version");
    return registry;
  }

  /* Of several that make the registry at once, one puts it in place. */
  registry_shm &join() {
    if (registry_shm *registry = existing()) return *registry;
    void *block = PSMcalloc(segment_, 1, sizeof(registry_shm));
    if (block == nullptr) throw bad_alloc(PSMlastError());
    registry_shm *fresh = ::new (block) registry_shm{detail::registry_magic, {}, nullptr, nullptr};
    registry_shm *none = nullptr;
    if (!__atomic_compare_exchange_n(word(), &none, fresh, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE))
      PSMfree(segment_, block);
    return *existing();
  }

  PSMHandle segment_;
};

}  // namespace psm

#endif /* PSM_ROOTS_HPP */
