/* Containers in shared memory: the standard's on PSM beside those of
 * Boost.Interprocess in its managed_shared_memory, everything at its default; and
 * the same as on PSM in private memory, which shows what any allocator leaves.
 *
 * Prints Markdown: how many times as fast as Boost's the others are, the median of
 * the ratios within each of ROUNDS rounds (default 9, and five times as many for few
 * elements), and the medians of the nanoseconds per element. All sides run in one process, in turn, on the same keys with the same
 * hash; a round that is not counted comes first. Ends with 1 if a side gave another
 * sum than the others.
 *
 *   bench_containers [CONTAINER psm|private|boost ELEMENTS]
 *
 * With arguments it runs one side of one row twice, for bench/containers.
 */
#include <unistd.h>

#include <algorithm>
#include <boost/interprocess/allocators/allocator.hpp>
#include <boost/interprocess/containers/map.hpp>
#include <boost/interprocess/containers/string.hpp>
#include <boost/interprocess/containers/vector.hpp>
#include <boost/interprocess/managed_shared_memory.hpp>
#include <boost/unordered_map.hpp>
#include <boost/version.hpp>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <psm.hpp>
#include <random>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#include "harness/timer.h"

#ifdef PSM_BENCH_ABSL
#include <absl/container/btree_map.h>
#endif

#if BOOST_VERSION >= 108100
#include <boost/unordered/unordered_flat_map.hpp>
#endif

namespace {

namespace bip = boost::interprocess;

constexpr std::uint64_t segment_bytes = 512u << 20;
int elements = 0; /* of each container, in the table that is being measured */

std::string unique_name() { return "psm-bench-containers-" + std::to_string(getpid()); }

/* One hash for both, over whatever string has data() and size(). */
struct Hash {
  std::size_t operator()(std::uint64_t number) const noexcept { return psm::hash()(number); }
  template <class String>
  std::size_t operator()(const String &text) const {
    return psm::hash()(std::string_view(text.data(), text.size()));
  }
};

/* ---- The two sides ------------------------------------------------------------ */

struct Psm {
  template <class T>
  using Allocator = psm::allocator<T>;
  template <class T>
  using Vector = std::vector<T, Allocator<T>>;
  using String = std::basic_string<char, std::char_traits<char>, Allocator<char>>;
  template <class Key>
  using Map =
      std::map<Key, std::uint64_t, std::less<Key>, Allocator<std::pair<const Key, std::uint64_t>>>;
  template <class Key>
  using HashMap = std::unordered_map<Key, std::uint64_t, Hash, std::equal_to<Key>,
                                     Allocator<std::pair<const Key, std::uint64_t>>>;
#if BOOST_VERSION >= 108100
  template <class Key>
  using FlatMap = boost::unordered_flat_map<Key, std::uint64_t, psm::hash, std::equal_to<Key>,
                                            Allocator<std::pair<const Key, std::uint64_t>>>;
#endif
#ifdef PSM_BENCH_ABSL
  template <class Key>
  using BTree = absl::btree_map<Key, std::uint64_t, std::less<Key>,
                                Allocator<std::pair<const Key, std::uint64_t>>>;
#endif

  psm::segment segment{"shm:" + unique_name() + "-psm", segment_bytes};

  Allocator<char> memory() { return segment; }
  template <class Container>
  Container *make() {
    return psm::make<Container>(segment);
  }
  template <class Container>
  void destroy(Container *container) {
    psm::destroy(container);
  }
};

struct Private {
  template <class T>
  using Allocator = std::allocator<T>;
  template <class T>
  using Vector = std::vector<T>;
  using String = std::string;
  template <class Key>
  using Map = std::map<Key, std::uint64_t>;
  template <class Key>
  using HashMap = std::unordered_map<Key, std::uint64_t, Hash>;
#if BOOST_VERSION >= 108100
  template <class Key>
  using FlatMap = boost::unordered_flat_map<Key, std::uint64_t, psm::hash, std::equal_to<Key>>;
#endif
#ifdef PSM_BENCH_ABSL
  template <class Key>
  using BTree = absl::btree_map<Key, std::uint64_t>;
#endif

  Allocator<char> memory() { return {}; }
  template <class Container>
  Container *make() {
    return new Container;
  }
  template <class Container>
  void destroy(Container *container) {
    delete container;
  }
};

struct Boost {
  using Manager = bip::managed_shared_memory::segment_manager;
  template <class T>
  using Allocator = bip::allocator<T, Manager>;
  template <class T>
  using Vector = bip::vector<T, Allocator<T>>;
  using String = bip::basic_string<char, std::char_traits<char>, Allocator<char>>;
  template <class Key>
  using Map =
      bip::map<Key, std::uint64_t, std::less<Key>, Allocator<std::pair<const Key, std::uint64_t>>>;
  template <class Key>
  using HashMap = boost::unordered_map<Key, std::uint64_t, Hash, std::equal_to<Key>,
                                       Allocator<std::pair<const Key, std::uint64_t>>>;
  template <class Key>
  using FlatMap = HashMap<Key>; /* the flat map of 1.81 keeps plain pointers */
  template <class Key>
  using BTree = Map<Key>;

  std::string name = unique_name() + "-boost";
  bip::managed_shared_memory segment{bip::create_only, name.c_str(), segment_bytes};

  Boost() = default;
  Boost(const Boost &) = delete;
  ~Boost() { bip::shared_memory_object::remove(name.c_str()); }

  Allocator<char> memory() { return segment.get_segment_manager(); }
  template <class Container>
  Container *make() {
    if constexpr (std::is_constructible_v<Container, Allocator<char>>)
      return segment.construct<Container>(bip::anonymous_instance)(memory());
    else
      return segment.construct<Container>(bip::anonymous_instance)(
          0u, Hash(), typename Container::key_equal(), memory());
  }
  template <class Container>
  void destroy(Container *container) {
    segment.destroy_ptr(container);
  }
};

/* ---- Measuring ----------------------------------------------------------------- */

struct Figures {
  double insert, lookup, iterate; /* ns per element */
  std::uint64_t sum;
};

/* Time of the processor: what other programs take meanwhile is not in it. */
template <class Work>
double nanoseconds(const Work &work) {
  const std::uint64_t begin = clock_of(CLOCK_THREAD_CPUTIME_ID);
  work();
  return static_cast<double>(clock_of(CLOCK_THREAD_CPUTIME_ID) - begin) / elements;
}

const std::vector<std::uint64_t> &numbers() {
  static const std::vector<std::uint64_t> made = [] {
    std::mt19937_64 random(42);
    std::vector<std::uint64_t> list(200000);
    for (std::uint64_t &number : list) number = random();
    return list;
  }();
  return made;
}

const std::vector<std::uint32_t> &order(int count) {
  static std::map<int, std::vector<std::uint32_t>> made;
  std::vector<std::uint32_t> &list = made[count];
  if (list.empty()) {
    for (int i = 0; i < count; i++) list.push_back(static_cast<std::uint32_t>(i));
    std::shuffle(list.begin(), list.end(), std::mt19937(7));
  }
  return list;
}

/* Keys lie in the segment, so that neither side converts them. */
template <class Key, class Side>
typename Side::template Vector<Key> *make_keys(Side &side, int digits) {
  auto *keys = side.template make<typename Side::template Vector<Key>>();
  const std::size_t count = static_cast<std::size_t>(elements);
  keys->reserve(count);
  for (std::size_t i = 0; i < count; i++) {
    const std::uint64_t number = numbers()[i];
    if constexpr (std::is_same_v<Key, std::uint64_t>) {
      keys->push_back(number);
    } else {
      char text[40];
      std::snprintf(text, sizeof text, "%0*" PRIx64, digits, number >> 16);
      keys->push_back(Key(text, side.memory()));
    }
  }
  return keys;
}

/* Functions of their own, whose instructions can be counted one by one. */
template <class Map, class Keys>
[[gnu::noinline]] void insert_all(Map &map, const Keys &keys) {
  std::uint64_t value = 0;
  for (const auto &key : keys) map.emplace(key, value++);
}
template <class Map, class Keys>
[[gnu::noinline]] std::uint64_t look_up_all(const Map &map, const Keys &keys,
                                            const std::vector<std::uint32_t> &order) {
  std::uint64_t sum = 0;
  for (const std::uint32_t i : order) sum += map.find(keys[i])->second;
  return sum;
}
template <class Map>
[[gnu::noinline]] std::uint64_t iterate_all(const Map &map) {
  std::uint64_t sum = 0;
  for (const auto &entry : map) sum += 3 * entry.second;
  return sum;
}

template <class Container, class Key, class Side>
Figures measure_map(Side &side, int digits = 0) {
  Figures figures{};
  const auto &shuffled = order(elements);
  auto *keys = make_keys<Key>(side, digits);
  auto *map = side.template make<Container>();
  figures.insert = nanoseconds([&] { insert_all(*map, *keys); });
  figures.lookup = nanoseconds([&] { figures.sum += look_up_all(*map, *keys, shuffled); });
  figures.iterate = nanoseconds([&] { figures.sum += iterate_all(*map); });
  side.destroy(map);
  side.destroy(keys);
  return figures;
}

template <class Vector>
[[gnu::noinline]] void insert_all(Vector &vector, int count) {
  for (int i = 0; i < count; i++) vector.push_back(static_cast<std::uint64_t>(i));
}
template <class Vector>
[[gnu::noinline]] std::uint64_t look_up_all(const Vector &vector,
                                            const std::vector<std::uint32_t> &order) {
  std::uint64_t sum = 0;
  for (const std::uint32_t i : order) sum += vector[i] ^ i >> 3;
  return sum;
}
template <class Vector>
[[gnu::noinline]] std::uint64_t iterate_all_numbers(const Vector &vector) {
  std::uint64_t sum = 0;
  for (const std::uint64_t number : vector) sum += 3 * number;
  return sum;
}

template <class Side>
Figures measure_vector(Side &side) {
  Figures figures{};
  const auto &shuffled = order(elements);
  auto *vector = side.template make<typename Side::template Vector<std::uint64_t>>();
  figures.insert = nanoseconds([&] { insert_all(*vector, elements); });
  figures.lookup = nanoseconds([&] { figures.sum += look_up_all(*vector, shuffled); });
  figures.iterate = nanoseconds([&] { figures.sum += iterate_all_numbers(*vector); });
  side.destroy(vector);
  return figures;
}

struct Case {
  const char *title;
  Figures (*psm)(Psm &);
  Figures (*own)(Private &);
  Figures (*boost)(Boost &);
};

template <class Side, template <class> class Kind>
Figures with_numbers(Side &side) {
  return measure_map<Kind<std::uint64_t>, std::uint64_t>(side);
}
/* Short enough for the string object of either side, and too long for both. */
template <class Side, template <class> class Kind>
Figures with_short_texts(Side &side) {
  return measure_map<Kind<typename Side::String>, typename Side::String>(side, 12);
}
template <class Side, template <class> class Kind>
Figures with_long_texts(Side &side) {
  return measure_map<Kind<typename Side::String>, typename Side::String>(side, 32);
}

#define ROW(title, measure, kind) \
  { title, measure<Psm, Psm::kind>, measure<Private, Private::kind>, measure<Boost, Boost::kind> }
#define ROWS(title, kind)                                                                         \
  ROW(title ", numbers", with_numbers, kind), ROW(title ", short texts", with_short_texts, kind), \
      ROW(title ", long texts", with_long_texts, kind)

const Case cases[] = {
    {"vector of numbers", measure_vector<Psm>, measure_vector<Private>, measure_vector<Boost>},
    ROWS("map", Map),
    ROWS("unordered_map", HashMap),
#if BOOST_VERSION >= 108100
    ROWS("flat map on PSM", FlatMap),
#endif
#ifdef PSM_BENCH_ABSL
    ROWS("btree map on PSM", BTree),
#endif
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

struct Sides {
  Psm psm;
  Private own;
  Boost boost;
};

/* A ratio with its target, for the list below a table. */
struct Ratio {
  std::string what;
  double value, own, target;
};

using Rounds = std::vector<Figures>;

double median_of(const Rounds &rounds, double Figures::*what) {
  std::vector<double> times;
  for (const Figures &round : rounds) times.push_back(round.*what);
  return median(times);
}

/* How many times as fast as `theirs` are `ours`, round by round. */
double ratio_of(const Rounds &theirs, const Rounds &ours, double Figures::*what) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < ours.size(); i++) ratios.push_back(theirs[i].*what / ours[i].*what);
  return median(ratios);
}

/* Two cells: how many times as fast as Boost PSM is, and private memory; with the times. */
Ratio print_cells(const std::string &title, const Rounds rounds[3], double Figures::*what,
                  double target) {
  const Ratio ratio{title, ratio_of(rounds[2], rounds[0], what),
                    ratio_of(rounds[2], rounds[1], what), target};
  const auto print = [&](double times, int side) {
    const double ns = median_of(rounds[side], what);
    std::printf(" %.*f (%.*f) |", times < 9.95 ? 1 + (times < 1.995) : 0, times, ns < 9.95, ns);
  };
  print(ratio.value, 0);
  print(ratio.own, 1);
  return ratio;
}

void measure_case(const Case &test, Sides &sides, int count, std::vector<Ratio> &targets) {
  Rounds rounds[3];
  for (int round = -1; round < count; round++) {
    Figures now[3];
    for (int turn = 0; turn < 3; turn++) { /* each goes first in every third round */
      const int side = (turn + round + 3) % 3;
      now[side] = side == 0   ? test.psm(sides.psm)
                  : side == 1 ? test.own(sides.own)
                              : test.boost(sides.boost);
    }
    if (now[0].sum != now[1].sum || now[0].sum != now[2].sum)
      throw std::runtime_error(std::string(test.title) + ": other sums");
    for (int side = 0; side < 3 && round >= 0; side++) rounds[side].push_back(now[side]);
  }
  const std::string title = test.title;
  std::printf("| %s |", test.title);
  targets.push_back(print_cells(title + ", insert", rounds, &Figures::insert, 5));
  targets.push_back(print_cells(title + ", lookup", rounds, &Figures::lookup, 1.3));
  print_cells(title, rounds, &Figures::iterate, 0);
  std::printf("\n");
  std::fflush(stdout);
}

void measure_table(Sides &sides, int count, int rounds) {
  elements = count;
  std::printf("| %d elements |", count);
  for (const char *what : {"insert", "lookup", "iterate"}) std::printf(" %s | private |", what);
  std::printf("\n|---|---:|---:|---:|---:|---:|---:|\n");
  std::vector<Ratio> targets;
  for (const Case &test : cases) measure_case(test, sides, rounds, targets);
  std::printf("\n");
  for (const Ratio &ratio : targets)
    std::printf("- %s: %s = %.2f (>= %.1f); in private memory %.2f\n",
                ratio.value >= ratio.target ? "met" : "MISSED", ratio.what.c_str(), ratio.value,
                ratio.target, ratio.own);
  std::printf("\n");
}

void measure_all(Sides &sides) {
  const char *wanted = std::getenv("ROUNDS");
  const int rounds = wanted != nullptr ? std::max(1, std::atoi(wanted)) : 9;
  std::printf(
      "How many times as fast as Boost.Interprocess %d.%d PSM %s is (nanoseconds per element), ",
      BOOST_VERSION / 100000, BOOST_VERSION / 100 % 1000, PSMversion());
  std::printf("and private memory; %d and %d rounds.\n\n", 5 * rounds, rounds);
  measure_table(sides, 10000, 5 * rounds);
  measure_table(sides, 200000, rounds);
}

/* The first time has what only a first time has; who counts takes both. */
void run_twice(Sides &sides, const std::string &title, const std::string &side) {
  for (const Case &test : cases) {
    if (title != test.title) continue;
    for (int round = 0; round < 2; round++) {
      if (side == "psm") test.psm(sides.psm);
      if (side == "private") test.own(sides.own);
      if (side == "boost") test.boost(sides.boost);
    }
    return;
  }
  throw std::runtime_error("there is no row \"" + title + "\"");
}

}  // namespace

int main(int argc, char **argv) {
  try {
    Sides sides;
    elements = argc == 4 ? std::clamp(std::atoi(argv[3]), 1, 200000) : 0;
    if (argc == 4)
      run_twice(sides, argv[1], argv[2]);
    else
      measure_all(sides);
    return 0;
  } catch (const std::exception &error) {
    std::fprintf(stderr, "bench_containers: %s\n", error.what());
    return 1;
  }
}
