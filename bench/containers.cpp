/* Containers in shared memory: the standard's on PSM beside those of
 * Boost.Interprocess in its managed_shared_memory, everything at its default.
 *
 * Prints Markdown: nanoseconds per element, the median of ROUNDS rounds (default
 * 9, and five times as many for few elements), and the median of the ratios within
 * each round. Both sides run in one
 * process, in turn, on the same keys with the same hash; a round that is not counted
 * comes first. Ends with 1 if a side gave another sum than the other.
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

template <class Container, class Key, class Side>
Figures measure_map(Side &side, int digits = 0) {
  Figures figures{};
  auto *keys = make_keys<Key>(side, digits);
  auto *map = side.template make<Container>();
  figures.insert = nanoseconds([&] {
    std::uint64_t value = 0;
    for (const Key &key : *keys) map->emplace(key, value++);
  });
  figures.lookup = nanoseconds([&] {
    for (const std::uint32_t i : order(elements)) figures.sum += map->find((*keys)[i])->second;
  });
  figures.iterate = nanoseconds([&] {
    for (const auto &entry : *map) figures.sum += 3 * entry.second;
  });
  side.destroy(map);
  side.destroy(keys);
  return figures;
}

template <class Side>
Figures measure_vector(Side &side) {
  Figures figures{};
  auto *vector = side.template make<typename Side::template Vector<std::uint64_t>>();
  figures.insert = nanoseconds([&] {
    for (int i = 0; i < elements; i++) vector->push_back(static_cast<std::uint64_t>(i));
  });
  figures.lookup = nanoseconds([&] {
    for (const std::uint32_t i : order(elements)) figures.sum += (*vector)[i] ^ i >> 3;
  });
  figures.iterate = nanoseconds([&] {
    for (const std::uint64_t number : *vector) figures.sum += 3 * number;
  });
  side.destroy(vector);
  return figures;
}

struct Case {
  const char *title;
  Figures (*psm)(Psm &);
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

const Case cases[] = {
    {"vector of numbers", measure_vector<Psm>, measure_vector<Boost>},
    {"map, numbers", with_numbers<Psm, Psm::Map>, with_numbers<Boost, Boost::Map>},
    {"map, short texts", with_short_texts<Psm, Psm::Map>, with_short_texts<Boost, Boost::Map>},
    {"map, long texts", with_long_texts<Psm, Psm::Map>, with_long_texts<Boost, Boost::Map>},
    {"unordered_map, numbers", with_numbers<Psm, Psm::HashMap>,
     with_numbers<Boost, Boost::HashMap>},
    {"unordered_map, short texts", with_short_texts<Psm, Psm::HashMap>,
     with_short_texts<Boost, Boost::HashMap>},
    {"unordered_map, long texts", with_long_texts<Psm, Psm::HashMap>,
     with_long_texts<Boost, Boost::HashMap>},
#if BOOST_VERSION >= 108100
    {"flat map on PSM, numbers", with_numbers<Psm, Psm::FlatMap>,
     with_numbers<Boost, Boost::FlatMap>},
    {"flat map on PSM, short texts", with_short_texts<Psm, Psm::FlatMap>,
     with_short_texts<Boost, Boost::FlatMap>},
    {"flat map on PSM, long texts", with_long_texts<Psm, Psm::FlatMap>,
     with_long_texts<Boost, Boost::FlatMap>},
#endif
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/* A ratio with its target, for the list below a table. */
struct Ratio {
  std::string what;
  double value, target;
};

/* One cell: PSM's time, Boost's, and how many times as fast PSM is. */
double print_cell(const std::vector<Figures> &ours, const std::vector<Figures> &theirs,
                  double Figures::*what) {
  std::vector<double> psm, boost, ratios;
  for (std::size_t i = 0; i < ours.size(); i++) {
    psm.push_back(ours[i].*what);
    boost.push_back(theirs[i].*what);
    ratios.push_back(boost.back() / psm.back());
  }
  std::printf(" %.1f | %.1f | **%.2f** |", median(psm), median(boost), median(ratios));
  return median(ratios);
}

void measure_case(const Case &test, Psm &psm, Boost &boost, int rounds,
                  std::vector<Ratio> &targets) {
  std::vector<Figures> ours, theirs;
  for (int round = -1; round < rounds; round++) {
    Figures left{}, right{};
    if (round % 2 != 0) left = test.psm(psm); /* each goes first in every other round */
    right = test.boost(boost);
    if (round % 2 == 0) left = test.psm(psm);
    if (left.sum != right.sum) throw std::runtime_error(std::string(test.title) + ": other sums");
    if (round < 0) continue;
    ours.push_back(left);
    theirs.push_back(right);
  }
  std::printf("| %s |", test.title);
  const std::string title = test.title;
  targets.push_back({title + ", insert", print_cell(ours, theirs, &Figures::insert), 5});
  targets.push_back({title + ", lookup", print_cell(ours, theirs, &Figures::lookup), 1.3});
  print_cell(ours, theirs, &Figures::iterate);
  std::printf("\n");
  std::fflush(stdout);
}

void measure_table(Psm &psm, Boost &boost, int count, int rounds) {
  elements = count;
  std::printf("%d elements, %d rounds:\n\n", count, rounds);
  std::printf(
      "| container | insert: PSM | Boost | ratio | lookup: PSM | Boost | ratio "
      "| iterate: PSM | Boost | ratio |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n");
  std::vector<Ratio> targets;
  for (const Case &test : cases) measure_case(test, psm, boost, rounds, targets);
  std::printf("\n");
  for (const Ratio &ratio : targets)
    std::printf("- %s: %s = %.2f (>= %.1f)\n", ratio.value >= ratio.target ? "met" : "MISSED",
                ratio.what.c_str(), ratio.value, ratio.target);
  std::printf("\n");
}

}  // namespace

int main() {
  const char *wanted = std::getenv("ROUNDS");
  const int rounds = wanted != nullptr ? std::max(1, std::atoi(wanted)) : 9;
  try {
    Psm psm;
    Boost boost;
    std::printf(
        "PSM %s beside Boost.Interprocess %d.%d: nanoseconds per element, medians, and how "
        "many times as fast PSM is.\n\n",
        PSMversion(), BOOST_VERSION / 100000, BOOST_VERSION / 100 % 1000);
    measure_table(psm, boost, 10000, 5 * rounds);
    measure_table(psm, boost, 200000, rounds);
    return 0;
  } catch (const std::exception &error) {
    std::fprintf(stderr, "bench_containers: %s\n", error.what());
    return 1;
  }
}
