/* What must not compile: REFUSE is the number of a line of refused.cmake. With 0
 * it compiles.
 */
#include <atomic>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <memory_resource>
#include <mutex>
#include <psm.hpp>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#ifdef PSM_TEST_ABSL
#include <absl/container/flat_hash_map.h>
#endif

struct Virtual {
  virtual ~Virtual() = default;
};
struct Large {
  char bytes[100];
};

template <class T>
using shared = std::vector<T, psm::allocator<T>>;

int main() {
  const psm::segment segment;
#if REFUSE == 0
  shared<int>(segment).emplace_back(1);
  psm::make<std::atomic<long>>(segment);
  psm::make<std::pair<const int, psm::unique_ptr<int>>>(segment);
#elif REFUSE == 1
  psm::make<Virtual>(segment);
#elif REFUSE == 2
  shared<std::string>(segment).emplace_back("text");
#elif REFUSE == 3
  std::list<std::vector<int>, psm::allocator<std::vector<int>>>(segment).emplace_back();
#elif REFUSE == 4
  std::map<int, std::string, std::less<>, psm::allocator<std::pair<const int, std::string>>>(
      segment)
      .emplace(1, "text");
#elif REFUSE == 5
  shared<std::function<void()>>(segment).emplace_back();
#elif REFUSE == 6
  shared<void (*)()>(segment).push_back(nullptr);
#elif REFUSE == 7
  shared<std::shared_ptr<int>>(segment).emplace_back();
#elif REFUSE == 8
  psm::roots(segment).get<std::mutex>("mutex");
#elif REFUSE == 9
  psm::make<std::pmr::string>(segment);
#elif REFUSE == 10
  psm::make<std::unique_ptr<int>>(segment);
#elif REFUSE == 11
  psm::make<std::atomic<Large>>(segment);
#elif REFUSE == 12
  psm::roots(segment).get<std::tuple<int, std::variant<char, std::any>>>("any");
#elif REFUSE == 13
  psm::slot<std::pair<int, void (Virtual::*)()>> slot;
  slot.emplace();
#elif REFUSE == 14
  psm::make<std::array<std::thread, 2>>(segment);
#elif REFUSE == 15
  psm::make<std::unordered_map<int, std::string>>(segment);
#elif REFUSE == 16
  psm::segment copy(segment);
#elif REFUSE == 17
  psm::make<absl::flat_hash_map<int, int, absl::Hash<int>, std::equal_to<int>,
                                psm::allocator<std::pair<const int, int>>>>(segment);
#endif
  return 0;
}
