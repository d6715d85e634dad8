/* Segments, allocators, single objects and roots in one process: what they own,
 * and that nothing is left when something throws.
 */
#include <array>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <psm.hpp>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "harness.h"

namespace {

using String = std::basic_string<char, std::char_traits<char>, psm::allocator<char>>;

/* Runs `statement` and gives what it threw; fails if it threw nothing. */
template <class Error, class Statement>
Error thrown(Statement statement) {
  std::optional<Error> caught;
  try {
    statement();
  } catch (const Error &error) {
    caught.emplace(error);
  }
  if (!caught) FAIL("nothing was thrown");
  return *caught;
}

std::uint64_t blocks_by_walk(PSMHandle segment) {
  PSMBlock block{};
  std::uint64_t count = 0;
  while (PSMwalk(segment, &block) == 1) count++;
  return count;
}

void check_blocks(PSMHandle segment, std::uint64_t count) {
  CHECK_EQ(h_stat(segment).blocks, count);
  CHECK_EQ(blocks_by_walk(segment), count);
  h_sound(segment);
}

/* Throws when the `fuse`-th one is constructed. */
struct Fragile {
  static inline int fuse = 0, alive = 0;
  int value;
  explicit Fragile(int number) : value(number) { burn(); }
  Fragile(const Fragile &other) : value(other.value) { burn(); }
  ~Fragile() { alive--; }
  bool operator<(const Fragile &other) const { return value < other.value; }

 private:
  static void burn() {
    if (--fuse == 0) throw std::runtime_error("burnt");
    alive++;
  }
};

}  // namespace

CASE(a_segment_is_left_with_its_object) {
  const char *name = h_shm_name("raii");
  {
    psm::segment first(name, 1 * MIB);
    CHECK(first && h_exists(h_shm_path("raii")));
    psm::segment second(std::move(first));
    CHECK(!first && second && PSMsegmentOf(PSMgetUser(second)) == second.handle());
    psm::segment third(name);
    CHECK(third.handle() == second.handle());
    second = std::move(third);
    CHECK(second && !third && PSMgetUser(second) != nullptr);
    static_assert(!std::is_copy_constructible_v<psm::segment>);
    static_assert(std::is_nothrow_move_assignable_v<psm::segment>);
  }
  CHECK(!h_exists(h_shm_path("raii")));
}

CASE(a_forked_child_leaves_for_itself) {
  const char *name = h_shm_name("fork");
  psm::segment segment(name, 1 * MIB);
  std::vector<int, psm::allocator<int>> &numbers =
      *psm::make<std::vector<int, psm::allocator<int>>>(segment);
  const pid_t child = h_fork();
  if (child == 0) {
    numbers.assign(1000, 7);
    segment = psm::segment();
    h_quit(PSMsegmentOf(&numbers) == nullptr ? 0 : 1);
  }
  CHECK_EQ(h_wait(child), 0);
  CHECK(numbers.size() == 1000 && numbers[999] == 7);
  psm::destroy(&numbers);
  check_blocks(segment, 0);
}

namespace {
struct Counted {
  psm::mutex mutex;
  long count = 0;
};
void *count_up(void *argument) {
  Counted &counted = *static_cast<Counted *>(argument);
  for (int i = 0; i < 20000; i++) {
    const std::lock_guard<psm::mutex> held(counted.mutex);
    counted.count++;
  }
  return nullptr;
}
}  // namespace

CASE(a_mutex_excludes_threads_and_processes) {
  const psm::segment segment(h_shm_name("mutex"), 1 * MIB);
  Counted &counted = *psm::make<Counted>(segment);
  const pid_t child = h_fork();
  pthread_t threads[3];
  for (pthread_t &thread : threads) thread = h_thread(count_up, &counted);
  for (const pthread_t thread : threads) h_join(thread);
  if (child == 0) h_quit(0);
  CHECK_EQ(h_wait(child), 0);
  CHECK_EQ(counted.count, 6 * 20000);
}

CASE(errors_carry_code_and_sentence) {
  const char *name = h_shm_name("none");
  const auto missing = thrown<psm::error>([&] { psm::segment segment(name); });
  CHECK_EQ(missing.code(), PSM_E_NOT_FOUND);
  CHECK(strstr(missing.what(), h_prefix) != nullptr);
  const psm::segment segment(name, 1 * MIB);
  const auto exists =
      thrown<psm::error>([&] { psm::segment again(name, 1 * MIB, PSM_OPEN_EXCLUSIVE); });
  CHECK_EQ(exists.code(), PSM_E_EXISTS);

  std::vector<char, psm::allocator<char>> bytes(segment);
  const auto full = thrown<psm::bad_alloc>([&] { bytes.resize(2 * MIB); });
  CHECK_EQ(full.code(), PSM_E_NOMEM);
  CHECK(strlen(full.what()) > 10 && bytes.empty());
  thrown<std::bad_alloc>([&] { bytes.resize(2 * MIB); });
  thrown<std::bad_array_new_length>(
      [&] { (void)psm::allocator<long>(segment).allocate(SIZE_MAX / 2); });
  const psm::segment closed;
  const auto none = thrown<psm::bad_alloc>([&] { (void)psm::allocator<int>(closed).allocate(1); });
  CHECK_EQ(none.code(), PSM_E_HANDLE);
  check_blocks(segment, 0);
}

CASE(the_allocator_is_what_the_standard_asks) {
  using A = psm::allocator<int>;
  using Traits = std::allocator_traits<A>;
  static_assert(sizeof(A) == sizeof(void *));
  static_assert(std::is_same_v<Traits::pointer, int *> && !Traits::is_always_equal::value);
  static_assert(!Traits::propagate_on_container_move_assignment::value);
  static_assert(!Traits::propagate_on_container_copy_assignment::value);
  static_assert(!Traits::propagate_on_container_swap::value);
  static_assert(std::is_nothrow_copy_constructible_v<A>);
  const psm::segment one(h_shm_name("one"), 1 * MIB), two(h_shm_name("two"), 1 * MIB);
  const A first(one), second(two);
  CHECK(first == A(one) && first != second && first == psm::allocator<char>(first));

  std::vector<int, A> from({1, 2, 3}, first), to(second);
  const int *old = from.data();
  to = std::move(from);
  CHECK(to.size() == 3 && PSMsegmentOf(to.data()) == two.handle());
  CHECK(to.get_allocator() == second);
  std::vector<int, A> same({4}, first), target(first);
  old = same.data();
  target = std::move(same);
  CHECK(target.data() == old);
  const std::vector<int, A> copy(target);
  CHECK(copy.get_allocator() == first && copy == target);
}

struct alignas(256) Aligned {
  char bytes[256];
};

CASE(objects_may_need_any_alignment) {
  const psm::segment segment(h_shm_name("aligned"), 4 * MIB);
  const auto aligned = [](const void *p) { return reinterpret_cast<std::uintptr_t>(p) % 256 == 0; };
  {
    std::list<Aligned, psm::allocator<Aligned>> list(segment);
    for (int i = 0; i < 100; i++) list.emplace_back();
    for (const Aligned &item : list) CHECK(aligned(&item));
    for (int i = 0; i < 50; i++)
      CHECK(aligned(&psm::roots(segment).get<Aligned>("root " + std::to_string(i))));
    psm::slot<Aligned> &slot = *psm::make<psm::slot<Aligned>>(segment);
    slot.emplace();
    CHECK(aligned(slot.get()));
    psm::destroy(&slot);
  }
  for (int i = 0; i < 50; i++)
    CHECK(psm::roots(segment).remove<Aligned>("root " + std::to_string(i)));
  check_blocks(segment, 1);
}

CASE(what_throws_leaves_nothing) {
  const psm::segment segment(h_shm_name("throw"), 4 * MIB);
  const int rounds = h_rounds(200);
  for (int fuse = 1; fuse < rounds; fuse++) {
    Fragile::fuse = fuse;
    Fragile::alive = 0;
    try {
      std::vector<Fragile, psm::allocator<Fragile>> vector(segment);
      std::list<Fragile, psm::allocator<Fragile>> list(segment);
      std::map<Fragile, int, std::less<>, psm::allocator<std::pair<const Fragile, int>>> map(
          segment);
      for (int i = 0; i < 20; i++) {
        vector.emplace_back(i);
        list.emplace_back(i);
        map.emplace(i, i);
      }
    } catch (const std::runtime_error &) {
    }
    CHECK_EQ(Fragile::alive, 0);
    check_blocks(segment, 0);
  }
  Fragile::fuse = 1;
  thrown<std::runtime_error>([&] { psm::make<Fragile>(segment, 7); });
  check_blocks(segment, 0);
  Fragile::fuse = 1;
  thrown<std::runtime_error>([&] { psm::roots(segment).get<Fragile>("fragile", 7); });
  check_blocks(segment, 1); /* the registry */
  Fragile::fuse = 0;
  CHECK_EQ(psm::roots(segment).get<Fragile>("fragile", 8).value, 8);
  psm::slot<Fragile> &slot = psm::roots(segment).get<psm::slot<Fragile>>("slot");
  slot.emplace(1);
  Fragile::fuse = 1;
  thrown<std::runtime_error>([&] { slot.emplace(2); });
  CHECK_EQ(slot->value, 1);
  CHECK(psm::roots(segment).remove<psm::slot<Fragile>>("slot"));
  CHECK(psm::roots(segment).remove<Fragile>("fragile"));
  check_blocks(segment, 1);
}

CASE(a_full_segment_throws_and_stays_sound) {
  const psm::segment segment(h_shm_name("full"), 256 * KIB);
  using Map =
      std::map<int, String, std::less<>, psm::scoped_allocator<std::pair<const int, String>>>;
  {
    Map &map = psm::roots(segment).get<Map>("map");
    int count = 0;
    thrown<psm::bad_alloc>([&] {
      for (;; count++) map.emplace(count, String(100, 'x', segment));
    });
    CHECK(count > 100 && map.size() == static_cast<std::size_t>(count));
    for (int i = 0; i < count; i++) CHECK(map.at(i).size() == 100);
    thrown<psm::bad_alloc>([&] { psm::roots(segment).get<std::array<char, 100000>>("more"); });
    CHECK(psm::roots(segment).remove<Map>("map"));
  }
  check_blocks(segment, 1);
}

CASE(roots_are_found_and_told_apart) {
  const psm::segment segment(h_shm_name("roots"), 1 * MIB);
  psm::roots roots(segment);
  CHECK(roots.find<int>("a") == nullptr && !roots.remove<int>("a"));
  CHECK_EQ(h_stat(segment).blocks, 0);
  int &a = roots.get<int>("a", 5);
  CHECK(&roots.get<int>("a", 6) == &a && a == 5 && roots.find<int>("a") == &a);
  CHECK(&roots.get<int>("b", 6) != &a && roots.find<int>("") == nullptr);
  const auto other = thrown<psm::layout_error>([&] { roots.get<unsigned>("a"); });
  CHECK_EQ(other.code(), PSM_E_PLATFORM);
  CHECK(strstr(other.what(), "\"a\"") != nullptr && strstr(other.what(), "libstdc++") != nullptr);
  thrown<psm::layout_error>([&] { roots.find<double>("a"); });
  thrown<psm::layout_error>([&] { roots.remove<double>("a"); });
  CHECK(roots.remove<int>("a") && roots.find<int>("a") == nullptr && *roots.find<int>("b") == 6);
  CHECK_EQ(roots.get<double>("a", 2.5), 2.5);
  CHECK(roots.remove<double>("a") && roots.remove<int>("b"));
  check_blocks(segment, 1);
}

namespace {
struct Selfish {
  explicit Selfish(PSMHandle segment) { psm::roots(segment).get<int>("inner"); }
};
}  // namespace

CASE(misuse_of_roots_is_told) {
  const psm::segment segment(h_shm_name("misuse"), 1 * MIB);
  const auto inside =
      thrown<psm::error>([&] { psm::roots(segment).get<Selfish>("outer", segment.handle()); });
  CHECK_EQ(inside.code(), PSM_E_STATE);
  CHECK_EQ(psm::roots(segment).get<int>("inner", 3), 3);

  const psm::segment used(h_shm_name("used"), 1 * MIB);
  for (void *user : {PSMcalloc(used, 1, 64), PSMcalloc(used, 1, 1), reinterpret_cast<void *>(8)}) {
    *static_cast<void **>(PSMgetUser(used)) = user;
    CHECK_EQ(thrown<psm::error>([&] { psm::roots(used).get<int>("a"); }).code(), PSM_E_STATE);
    CHECK_EQ(thrown<psm::error>([&] { psm::roots(used).find<int>("a"); }).code(), PSM_E_STATE);
  }
  psm::mutex outside;
  CHECK_EQ(thrown<psm::error>([&] { outside.lock(); }).code(), PSM_E_POINTER);
  psm::mutex &mutex = *psm::make<psm::mutex>(segment);
  CHECK_EQ(thrown<psm::error>([&] { mutex.unlock(); }).code(), PSM_E_STATE);
}

EXEC_CHILD(read_only) {
  const psm::segment segment(argv[0], 0, PSM_OPEN_READONLY);
  CHECK_EQ(*psm::roots(segment).find<int>("number"), 42);
  CHECK(psm::roots(segment).find<int>("none") == nullptr);
  CHECK_EQ(thrown<psm::bad_alloc>([&] { psm::make<int>(segment); }).code(), PSM_E_READONLY);
  return 0;
}

CASE(roots_serve_who_only_reads) {
  const char *name = h_shm_name("readonly");
  const psm::segment segment(name, 1 * MIB);
  psm::roots(segment).get<int>("number", 42);
  CHECK_EQ(h_wait(h_spawn("read_only", name, nullptr)), 0);
}

EXEC_CHILD(join_roots) {
  const psm::segment segment(argv[0]);
  h_gate_pass(h_gate_from(argv[1]));
  for (int i = 0; i < 200; i++)
    __atomic_fetch_add(&psm::roots(segment).get<int>("root " + std::to_string(i), 0), 1,
                       __ATOMIC_RELAXED);
  return 0;
}

CASE(of_many_processes_one_makes_each_root) {
  const char *name = h_shm_name("race");
  for (int round = 0; round < h_rounds(8); round++) {
    const psm::segment segment(name, 1 * MIB);
    const h_gate gate = h_gate_new();
    pid_t children[6];
    for (pid_t &child : children) child = h_spawn("join_roots", name, h_gate_text(gate), nullptr);
    for (int i = 0; i < 6; i++) h_gate_open(gate);
    for (const pid_t child : children) CHECK_EQ(h_wait(child), 0);
    for (int i = 0; i < 200; i++) {
      CHECK_EQ(psm::roots(segment).get<int>("root " + std::to_string(i)), 6);
      CHECK(psm::roots(segment).remove<int>("root " + std::to_string(i)));
    }
    check_blocks(segment, 1);
  }
}

CASE(the_hash_tells_apart_and_knows_no_process) {
  const psm::hash hash;
  const psm::segment segment(h_shm_name("hash"), 1 * MIB);
  for (const char *text : {"", "a", "12345678", "123456789", "a longer text of many bytes"}) {
    const String shared(text, segment);
    CHECK(hash(shared) == hash(std::string(text)) && hash(shared) == hash(text));
    CHECK(hash(shared) != hash(std::string(text) + '\0') && hash(shared) != hash(shared + "a"));
  }
  std::set<std::size_t> hashes; /* a text of every length, and each with one bit changed */
  std::size_t texts = 0;
  for (std::string text; text.size() < 40; text += static_cast<char>('a' + text.size() % 26)) {
    texts += hashes.insert(hash(text)).second;
    for (std::size_t bit = 0; bit < 8 * text.size(); bit++) {
      std::string other = text;
      other[bit / 8] = static_cast<char>(other[bit / 8] ^ 1 << bit % 8);
      texts += hashes.insert(hash(other)).second;
    }
  }
  CHECK_EQ(texts, 40 + 8 * (39 * 40 / 2));
  CHECK(hash(0.0) == hash(-0.0) && hash(1) == hash(1L) && hash(1) != hash(2));
  CHECK_EQ(hash(1), 0x5692161d100b05e5); /* as any member computes them */
  CHECK_EQ(hash("a text of 19 bytes."), 0xdf1965cac0b9fcc8);
  std::vector<int> low(128), high(128);
  for (std::size_t i = 0; i < 128 * 64; i++) {
    low[hash(i) % 128]++;
    high[hash(i) >> 57]++;
  }
  for (std::size_t i = 0; i < 128; i++) /* 64 of each, more or less */
    CHECK(low[i] > 20 && low[i] < 130 && high[i] > 20 && high[i] < 130);
}
