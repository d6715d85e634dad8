/* Open-addressing tables, as Debian ships them, between processes whose
 * programs lie at different addresses.
 *
 * A table that has no memory points to a group of control bytes in the process
 * that made it: psm::settle.
 */
#include <map>
#include <psm.hpp>
#include <string>
#include <vector>

#include "harness.h"

#ifdef PSM_TEST_BOOST
#include <boost/unordered/unordered_flat_map.hpp>
#include <boost/unordered/unordered_flat_set.hpp>
#endif
#ifdef PSM_TEST_ABSL
#include <absl/container/btree_map.h>
#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>
#include <absl/container/node_hash_map.h>
#endif

#ifdef __SANITIZE_ADDRESS__
/* absl marks unused slots for AddressSanitizer, in one process only: another one
 * that fills such a slot would be reported there. */
extern "C" const char *__asan_default_options();
extern "C" const char *__asan_default_options() { return "allow_user_poisoning=0"; }
#endif

namespace {

[[maybe_unused]] constexpr int count = 20000;

using String = std::basic_string<char, std::char_traits<char>, psm::allocator<char>>;
template <class T>
using Scoped = psm::scoped_allocator<T>;

std::string word(int i) { return "a word that is not short, number " + std::to_string(i); }

/* Where this program lies in this process; another one must see another address. */
std::uintptr_t here() { return reinterpret_cast<std::uintptr_t>(&word); }

void check_elsewhere(const psm::segment &segment) {
  const std::uintptr_t there = *psm::roots(segment).find<std::uintptr_t>("program");
  if (there == here()) SKIP("programs lie at the same address: the system does not randomize it");
}

template <class Numbers, class Words>
struct Tables {
  using allocator_type = psm::allocator<std::byte>;
  explicit Tables(const allocator_type &memory)
      : numbers(memory), words(memory), empty(memory), emptied(memory) {
    psm::settle(numbers);
    psm::settle(words);
  }
  Numbers numbers;
  Words words;
  Numbers empty, emptied; /* these point into the process, until they are settled */
};

template <class Both>
void fill(const psm::segment &segment) {
  psm::roots(segment).get<std::uintptr_t>("program", here());
  Both &both = psm::roots(segment).get<Both>("tables");
  for (int i = 0; i < count; i++) {
    both.numbers[i * 7919] = i;
    both.words[String(word(i).c_str(), segment)].assign(3, i);
  }
  for (int i = 0; i < 1000; i++) both.emptied[i] = i;
  both.emptied.clear();
}

/* In another process: find all, not find what is not there, and change all. */
template <class Both>
void change(const psm::segment &segment) {
  check_elsewhere(segment);
  Both &both = *psm::roots(segment).find<Both>("tables");
  CHECK_EQ(both.numbers.size(), count);
  int seen = 0;
  for (const auto &[key, value] : both.numbers) {
    CHECK_EQ(key, value * 7919);
    seen++;
  }
  CHECK_EQ(seen, count);
  for (int i = 0; i < count; i++) {
    CHECK_EQ(both.numbers.at(i * 7919), i);
    CHECK(both.numbers.find(i * 7919 + 1) == both.numbers.end());
    const auto found = both.words.find(std::string_view(word(i)));
    CHECK(found != both.words.end() && found->second.size() == 3 && found->second[2] == i);
    if (i % 2) CHECK_EQ(both.numbers.erase(i * 7919), 1);
  }
  for (int i = count; i < 3 * count; i++) both.numbers[i * 7919] = i; /* it is made anew */
  both.words[String("into a free slot", segment)].assign(3, 42);
  for (auto *table : {&both.empty, &both.emptied}) {
    CHECK(table->empty());
    psm::settle(*table);
    CHECK(table->find(7) == table->end() && table->begin() == table->end());
    (*table)[7] = 49;
  }
}

template <class Both>
void look(const psm::segment &segment) {
  Both &both = *psm::roots(segment).find<Both>("tables");
  CHECK_EQ(both.numbers.size(), count / 2 + 2 * count);
  for (int i = 0; i < 3 * count; i++)
    CHECK_EQ(both.numbers.count(i * 7919), i >= count || i % 2 == 0 ? 1u : 0u);
  CHECK(both.empty.at(7) == 49 && both.emptied.at(7) == 49 && both.empty.size() == 1);
  both.numbers.clear();
  psm::settle(both.numbers);
}

/* This process writes, another one changes, a third one looks and clears. */
template <class Both>
void story(const char *role) {
  const char *name = h_shm_name("tables");
  const psm::segment segment(name, 64 * MIB);
  fill<Both>(segment);
  CHECK_EQ(h_wait(h_spawn(role, name, "change", nullptr)), 0);
  CHECK_EQ(h_wait(h_spawn(role, name, "look", nullptr)), 0);
  Both &both = psm::roots(segment).get<Both>("tables");
  CHECK_EQ(both.words.at(String("into a free slot", segment))[2], 42);
  both.numbers[1] = 2;
  CHECK(psm::roots(segment).remove<Both>("tables"));
  CHECK(psm::roots(segment).remove<std::uintptr_t>("program"));
  CHECK_EQ(h_stat(segment).blocks, 1);
  h_sound(segment);
}

template <class Both>
int act(char **argv) {
  const psm::segment segment(argv[0]);
  if (strcmp(argv[1], "change") == 0)
    change<Both>(segment);
  else
    look<Both>(segment);
  return 0;
}

}  // namespace

#ifdef PSM_TEST_BOOST
namespace {
using BoostTables =
    Tables<boost::unordered_flat_map<long, int, psm::hash, std::equal_to<>,
                                     psm::allocator<std::pair<const long, int>>>,
           boost::unordered_flat_map<
               String, std::vector<int, psm::allocator<int>>, psm::hash, std::equal_to<>,
               Scoped<std::pair<const String, std::vector<int, psm::allocator<int>>>>>>;
/* boost::hash, its default, depends on nothing of the process. */
using BoostDefault =
    boost::unordered_flat_set<int, boost::hash<int>, std::equal_to<int>, psm::allocator<int>>;
}  // namespace

EXEC_CHILD(boost_flat) { return act<BoostTables>(argv); }

CASE(boost_flat_maps) { story<BoostTables>("boost_flat"); }

EXEC_CHILD(boost_default) {
  const psm::segment segment(argv[0]);
  BoostDefault &set = *psm::roots(segment).find<BoostDefault>("set");
  for (int i = 0; i < 1000; i++) CHECK_EQ(set.count(i), i % 2 == 0 ? 1u : 0u);
  set.insert(1);
  return 0;
}

CASE(boost_flat_set_with_its_own_hash) {
  const char *name = h_shm_name("set");
  const psm::segment segment(name, 4 * MIB);
  BoostDefault &set = psm::roots(segment).get<BoostDefault>("set");
  CHECK(set.bucket_count() > 0); /* a root has been settled */
  for (int i = 0; i < 1000; i += 2) set.insert(i);
  CHECK_EQ(h_wait(h_spawn("boost_default", name, nullptr)), 0);
  CHECK_EQ(set.count(1), 1);
}
#endif

#ifdef PSM_TEST_ABSL
namespace {
template <template <class...> class Map>
using AbslTables =
    Tables<Map<long, int, psm::hash, std::equal_to<>, psm::allocator<std::pair<const long, int>>>,
           Map<String, std::vector<int, psm::allocator<int>>, psm::hash, std::equal_to<>,
               Scoped<std::pair<const String, std::vector<int, psm::allocator<int>>>>>>;
}  // namespace

EXEC_CHILD(absl_flat) { return act<AbslTables<absl::flat_hash_map>>(argv); }
EXEC_CHILD(absl_node) { return act<AbslTables<absl::node_hash_map>>(argv); }

CASE(absl_flat_hash_map) { story<AbslTables<absl::flat_hash_map>>("absl_flat"); }
CASE(absl_node_hash_map) { story<AbslTables<absl::node_hash_map>>("absl_node"); }

namespace {
using Tree =
    absl::btree_map<String, int, std::less<>, psm::allocator<std::pair<const String, int>>>;
}

EXEC_CHILD(absl_btree) {
  const psm::segment segment(argv[0]);
  check_elsewhere(segment);
  Tree &tree = *psm::roots(segment).find<Tree>("tree");
  CHECK_EQ(tree.size(), count);
  for (int i = 0; i < count; i++) {
    const auto found = tree.find(std::string_view(word(i)));
    CHECK(found != tree.end() && found->second == i);
    if (i % 2) tree.erase(found);
  }
  for (const char *name : {"empty", "emptied"}) {
    Tree &empty = *psm::roots(segment).find<Tree>(name);
    CHECK(empty.empty()); /* the one question that does not follow its pointer */
    empty.emplace(String(name, segment), 7);
    CHECK_EQ(empty.find(std::string_view(name))->second, 7);
  }
  return 0;
}

CASE(absl_btree_map) {
  const char *name = h_shm_name("btree");
  const psm::segment segment(name, 16 * MIB);
  psm::roots roots(segment);
  roots.get<std::uintptr_t>("program", here());
  Tree &tree = roots.get<Tree>("tree");
  for (int i = 0; i < count; i++) tree.emplace(String(word(i).c_str(), segment), i);
  roots.get<Tree>("empty");
  Tree &emptied = roots.get<Tree>("emptied");
  emptied.emplace(String("gone", segment), 1);
  emptied.erase(emptied.begin());
  CHECK_EQ(h_wait(h_spawn("absl_btree", name, nullptr)), 0);
  CHECK_EQ(tree.size(), count / 2);
  int seen = 0;
  for (const auto &[key, value] : tree) {
    CHECK(key == word(value).c_str() && value % 2 == 0);
    seen++;
  }
  CHECK_EQ(seen, count / 2);
  CHECK(emptied.begin()->second == 7);
  for (const char *root : {"tree", "empty", "emptied"}) CHECK(roots.remove<Tree>(root));
  CHECK(roots.remove<std::uintptr_t>("program"));
  CHECK_EQ(h_stat(segment).blocks, 1);
  h_sound(segment);
}

EXEC_CHILD(absl_hash) {
  const psm::segment segment(argv[0]);
  check_elsewhere(segment);
  /* This is why absl's own hash is refused: it is another one here. */
  const std::size_t there = *psm::roots(segment).find<std::size_t>("hash");
  CHECK(there != absl::Hash<int>()(42));
  return 0;
}

CASE(absl_hashes_differ_from_process_to_process) {
  const char *name = h_shm_name("hash");
  const psm::segment segment(name, 4 * MIB);
  psm::roots(segment).get<std::uintptr_t>("program", here());
  psm::roots(segment).get<std::size_t>("hash", absl::Hash<int>()(42));
  CHECK_EQ(h_wait(h_spawn("absl_hash", name, nullptr)), 0);
}
#endif

CASE(the_tables_of_debian_are_here) {
#if !defined(PSM_TEST_BOOST) || !defined(PSM_TEST_ABSL)
  SKIP("Boost >= 1.81 (libboost1.81-dev) or Abseil (libabsl-dev) is missing");
#endif
}
