// A C++17 program that knows only the installed headers and library.
#include <cstdio>
#include <psm.hpp>
#include <vector>

namespace {

long sum(const psm::segment &segment) {
  using Numbers = std::vector<long, psm::allocator<long>>;
  Numbers &numbers = psm::roots(segment).get<Numbers>("numbers");
  for (long i = 1; i <= 1000; ++i) numbers.push_back(i);
  long total = 0;
  for (const long number : numbers) total += number;
  return PSMsegmentOf(numbers.data()) == segment.handle() ? total : -1;
}

}  // namespace

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  try {
    const psm::segment segment(argv[1], 1 << 20);
    const long total = sum(segment);
    std::printf("C++, sum %ld\n", total);
    return total == 500500 ? 0 : 1;
  } catch (const psm::error &error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
