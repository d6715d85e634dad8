// A C++17 program that knows only the installed header and library.
#include <psm.h>

#include <cstdio>
#include <new>
#include <vector>

namespace {

template <typename T>
struct Allocator {
  using value_type = T;
  PSMHandle segment;

  explicit Allocator(PSMHandle handle) : segment(handle) {}
  template <typename U>
  Allocator(const Allocator<U> &other) : segment(other.segment) {}

  T *allocate(std::size_t count) {
    void *block = PSMalloc(segment, count * sizeof(T));
    if (block == nullptr) throw std::bad_alloc();
    return static_cast<T *>(block);
  }
  void deallocate(T *block, std::size_t) { PSMfree(segment, block); }
  bool operator==(const Allocator &other) const { return segment == other.segment; }
  bool operator!=(const Allocator &other) const { return segment != other.segment; }
};

long sum(PSMHandle segment) {
  std::vector<long, Allocator<long>> numbers{Allocator<long>(segment)};
  for (long i = 1; i <= 1000; ++i) numbers.push_back(i);
  long total = 0;
  for (long number : numbers) total += number;
  return PSMsegmentOf(numbers.data()) == segment ? total : -1;
}

}  // namespace

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  PSMHandle segment = nullptr;
  PSMinit(argv[1], 1 << 20, nullptr, &segment);
  if (segment == nullptr) {
    std::fprintf(stderr, "PSMinit: %s\n", PSMerrorString(PSMlastError()));
    return 1;
  }
  const long total = sum(segment);
  PSMdeinit(segment);
  std::printf("C++, sum %ld\n", total);
  return total == 500500 ? 0 : 1;
}
