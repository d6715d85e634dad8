/* Every container of the standard in one segment: one process writes, one with
 * other addresses reads, changes and frees. Compiled by each compiler, standard
 * and library that the test knows, so that any of them may be either process.
 */
#ifndef PSM_TEST_STORY_HPP
#define PSM_TEST_STORY_HPP

#include <deque>
#include <forward_list>
#include <list>
#include <map>
#include <optional>
#include <psm.hpp>
#include <set>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <variant>
#include <vector>

namespace story {

constexpr int count = 2000;

template <class T>
using scoped = psm::scoped_allocator<T>;
using string = std::basic_string<char, std::char_traits<char>, psm::allocator<char>>;
template <class T>
using vector = std::vector<T, scoped<T>>;
template <class Key, class T>
using map = std::map<Key, T, std::less<>, scoped<std::pair<const Key, T>>>;
template <class Key, class T>
using unordered_map =
    std::unordered_map<Key, T, psm::hash, std::equal_to<>, scoped<std::pair<const Key, T>>>;

struct alignas(64) Wide {
  double lanes[8];
};

/* A class of one's own: it says which allocator it takes and hands it on. */
struct Everything {
  using allocator_type = psm::allocator<std::byte>;

  explicit Everything(const allocator_type &memory)
      : numbers(memory),
        words(memory),
        nested(memory),
        table(memory),
        plain_table(memory),
        tree(memory),
        list(memory),
        forward(memory),
        deque(memory),
        set(memory),
        bits(memory),
        wide(memory),
        either(memory),
        short_text(memory),
        long_text(memory) {}

  vector<int> numbers;
  vector<string> words;
  map<string, vector<map<int, string>>> nested;
  unordered_map<string, vector<int>> table;
  std::unordered_map<int, int, std::hash<int>, std::equal_to<int>,
                     psm::allocator<std::pair<const int, int>>>
      plain_table;
  map<int, int> tree;
  std::list<string, scoped<string>> list;
  std::forward_list<int, scoped<int>> forward;
  std::deque<string, scoped<string>> deque;
  std::multiset<int, std::less<>, scoped<int>> set;
  std::vector<bool, psm::allocator<bool>> bits;
  vector<Wide> wide;
  std::vector<std::variant<int, std::optional<double>>,
              psm::allocator<std::variant<int, std::optional<double>>>>
      either;
  string short_text, long_text;
  psm::unique_ptr<std::pair<int, double>> owned;
};

inline std::string word(int i) {
  return (i % 2 ? "w" : "a word that is too long for its object ") + std::to_string(i);
}

inline void must(bool condition, const char *what) {
  if (!condition) throw std::runtime_error(what);
}
#define MUST(condition) story::must(condition, #condition)

/* Entries `from` to `to` of every container that grows. */
inline void add(const psm::segment &segment, int from, int to) {
  Everything &all = psm::roots(segment).get<Everything>("everything");
  for (int i = from; i < to; i++) {
    all.numbers.push_back(i);
    all.words.emplace_back(word(i).c_str());
    all.tree[i * 7919 % 100003] = i;
    all.plain_table[i * 7919 % 100003] = i;
    all.list.emplace_back(word(i).c_str());
    all.forward.push_front(i);
    all.deque.emplace_back(word(i).c_str());
    all.set.insert(i / 2);
    all.bits.push_back(i % 3 == 0);
    all.table[string(word(i).c_str(), segment)].assign(static_cast<std::size_t>(i % 10), i);
    if (i % 2)
      all.either.emplace_back(i);
    else
      all.either.emplace_back(std::optional<double>(i / 4.0));
  }
}

inline void write(const psm::segment &segment) {
  add(segment, 0, count);
  Everything &all = psm::roots(segment).get<Everything>("everything");
  for (int i = 0; i < 50; i++) {
    all.wide.push_back({{i + 0.5}});
    auto &inner = all.nested[string(word(i).c_str(), segment)];
    inner.resize(3);
    for (int k = 0; k < 3; k++) inner[static_cast<std::size_t>(k)].emplace(k, word(i + k).c_str());
  }
  all.short_text = "short";
  all.long_text.assign(5000, 'x');
  all.owned.reset(psm::make<std::pair<int, double>>(segment, 3, 2.5));
}

inline void check_sequences(Everything &all, int more) {
  const std::size_t size = static_cast<std::size_t>(count + more);
  MUST(all.numbers.size() == size && all.words.size() == size && all.bits.size() == size);
  MUST(all.list.size() == size && all.deque.size() == size && all.either.size() == size);
  MUST(all.set.size() == size);
  auto listed = all.list.begin();
  for (int i = 0; i < count + more; i++) {
    const auto at = static_cast<std::size_t>(i);
    MUST(all.numbers[at] == i && all.words[at] == word(i).c_str());
    MUST(*listed++ == word(i).c_str() && all.deque[at] == word(i).c_str());
    MUST(all.bits[at] == (i % 3 == 0) && all.set.count(i) == (i < (count + more) / 2 ? 2u : 0u));
    if (i % 2)
      MUST(std::get<int>(all.either[at]) == i);
    else
      MUST(*std::get<std::optional<double>>(all.either[at]) == i / 4.0);
  }
  int last = count + more;
  for (const int number : all.forward) MUST(number == --last);
  MUST(last == 0);
}

inline void check_tables(const psm::segment &segment, Everything &all, int more) {
  for (int i = 0; i < count + more; i++) {
    MUST(all.tree.at(i * 7919 % 100003) == i && all.plain_table.at(i * 7919 % 100003) == i);
    const auto found = all.table.find(string(word(i).c_str(), segment));
    MUST(found != all.table.end());
    MUST(found->second.size() == static_cast<std::size_t>(i % 10));
    for (const int number : found->second) MUST(number == i);
  }
  MUST(all.tree.size() == static_cast<std::size_t>(count + more));
  MUST(all.table.size() == all.tree.size() && all.plain_table.size() == all.tree.size());
  for (int i = 0; i < 50; i++) {
    const auto &inner = all.nested.find(std::string_view(word(i)))->second;
    for (int k = 0; k < 3; k++)
      MUST(inner.at(static_cast<std::size_t>(k)).at(k) == word(i + k).c_str());
    const Wide &wide = all.wide.at(static_cast<std::size_t>(i));
    MUST(wide.lanes[0] == i + 0.5 && reinterpret_cast<std::uintptr_t>(&wide) % 64 == 0);
  }
}

/* What write() made, and `more` of what grows. */
inline void check(const psm::segment &segment, int more) {
  Everything *all = psm::roots(segment).find<Everything>("everything");
  must(all != nullptr, "there is no root \"everything\"");
  check_sequences(*all, more);
  check_tables(segment, *all, more);
  MUST(all->short_text == "short" && all->long_text == string(5000, 'x', segment));
  MUST(all->owned != nullptr && *all->owned == std::make_pair(3, 2.5));
  MUST(all->nested.get_allocator().outer_allocator() == psm::allocator<int>(segment));
}

}  // namespace story

#endif
