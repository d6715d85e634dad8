// One process writes a record and a text, another in any language reads and
// frees them: see hello.c. The record is the same there.
//
//   hello write NAME   make both, say so, and stay until the input ends
//   hello read NAME    check every field, follow the pointer, free both
//   hello churn NAME   allocate and free until the input ends
#include <poll.h>
#include <unistd.h>

#include <cstdint>
#include <deque>
#include <iostream>
#include <limits>
#include <psm.hpp>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>

namespace {

constexpr std::uint64_t magic = 0x50534d2d48454c4f;  // PSM-HELO
constexpr std::uint64_t segment_bytes = 4 << 20;

struct Hello {
  std::uint64_t magic;
  alignas(8) char *text;
  std::uint64_t length;
  alignas(8) Hello *self;
  std::int64_t number;
  double real;
  std::uint64_t zero[2];
};
static_assert(sizeof(Hello) == 64, "the record is the same in every language");

std::uintptr_t address(const void *pointer) { return reinterpret_cast<std::uintptr_t>(pointer); }

Hello *&user(const psm::segment &segment) { return *static_cast<Hello **>(PSMgetUser(segment)); }

void write(const std::string &name) {
  const psm::segment segment(name, segment_bytes);
  const std::string_view text = "hello from cpp";
  char *copy = psm::allocator<char>(segment).allocate(text.size());
  text.copy(copy, text.size());
  Hello *hello = psm::make<Hello>(segment, Hello{magic, copy, text.size(), nullptr, -42, 2.5, {}});
  hello->self = hello;
  __atomic_store_n(&user(segment), hello, __ATOMIC_RELEASE);  // last: now others find it
  std::cout << "wrote " << address(hello) << std::endl;
  std::cin.ignore(std::numeric_limits<std::streamsize>::max());
}

void check(const char *what, bool holds) {
  if (!holds) throw std::runtime_error(std::string("wrong: ") + what);
}

void check_fields(const psm::segment &segment, const Hello *hello) {
  const auto same = [&](const void *p) { return PSMaddress(segment, PSMoffset(segment, p)) == p; };
  check("no record", hello != nullptr && PSMusableSize(segment, hello) >= sizeof *hello);
  check("magic", hello->magic == magic);
  check("self", hello->self == hello);
  check("number", hello->number == -42);
  check("real", hello->real == 2.5);
  check("zero", hello->zero[0] == 0 && hello->zero[1] == 0);
  check("text", PSMusableSize(segment, hello->text) >= hello->length);
  check("offsets", same(hello) && same(hello->text));
}

void read(const std::string &name) {
  const psm::segment segment(name);
  Hello *hello = __atomic_load_n(&user(segment), __ATOMIC_ACQUIRE);
  check_fields(segment, hello);
  const std::string text(hello->text, hello->length);

  psm::destroy(hello->text);
  psm::destroy(hello);
  user(segment) = nullptr;
  PSMStat stat;
  check("PSMcheck", PSMcheck(segment) == PSM_OK);
  check("PSMstat", PSMstat(segment, &stat) == PSM_OK);
  check("a block is left", stat.blocks == 0);
  std::cout << "read " << address(hello) << " " << text << std::endl;
}

bool input_ended() {
  char byte;
  pollfd input = {STDIN_FILENO, POLLIN, 0};
  return poll(&input, 1, 0) > 0 && ::read(STDIN_FILENO, &byte, 1) == 0;
}

// What each block holds is its own address.
struct Block {
  void *self;
  std::size_t size;
};

void give_back(psm::allocator<char> &memory, const Block &block) {
  check("a block", *static_cast<void **>(block.self) == block.self);
  memory.deallocate(static_cast<char *>(block.self), block.size);
}

void churn(const std::string &name) {
  const psm::segment segment(name, segment_bytes);
  psm::allocator<char> memory(segment);
  std::minstd_rand random(std::random_device{}());
  std::deque<Block> kept;
  for (std::uint64_t turn = 1; turn % 1000 != 1 || !input_ended(); turn++) {
    const std::size_t size = std::uniform_int_distribution<std::size_t>(16, 512)(random);
    void *block = memory.allocate(size);
    *static_cast<void **>(block) = block;
    kept.push_back({block, size});
    if (kept.size() > 32) {
      give_back(memory, kept.front());
      kept.pop_front();
    }
    if (turn % 1000 == 0) std::cout << "turn " << turn << std::endl;
  }
  for (const Block &block : kept) give_back(memory, block);
}

}  // namespace

int main(int argc, char **argv) {
  const std::string_view role = argc == 3 ? argv[1] : "";
  try {
    if (role == "write")
      write(argv[2]);
    else if (role == "read")
      read(argv[2]);
    else if (role == "churn")
      churn(argv[2]);
    else
      throw std::invalid_argument("usage: hello write|read|churn NAME");
    return 0;
  } catch (const std::exception &error) {
    std::cerr << "hello: " << error.what() << std::endl;
    return 1;
  }
}
