/* The examples hello and queue: C and C++ in every pair of writer and reader. */
#include <array>
#include <string>
#include <utility>

#include "harness.h"

namespace {

struct Language {
  std::string name, directory;
};
const Language languages[] = {{"c", PSM_TEST_EXAMPLES_C}, {"cpp", PSM_TEST_EXAMPLES_CPP}};

/* A running program, with pipes to its input and from its output. */
class Program {
 public:
  template <class... Words>
  explicit Program(const Language &language, const char *example, Words... words) {
    int input[2], output[2];
    CHECK(pipe2(input, O_CLOEXEC) == 0 && pipe2(output, O_CLOEXEC) == 0);
    const std::string path = language.directory + "/" + example;
    pid_ = h_fork();
    if (pid_ == 0) {
      dup2(input[0], 0);
      dup2(output[1], 1);
      execl(path.c_str(), example, words..., static_cast<char *>(nullptr));
      _exit(126);
    }
    close(input[0]);
    close(output[1]);
    input_ = input[1];
    output_ = fdopen(output[0], "r");
  }
  ~Program() {
    close(input_);
    if (pid_ > 0) h_wait(pid_);
    fclose(output_);
  }

  std::string line() {
    std::array<char, 300> text{};
    if (fgets(text.data(), text.size(), output_) == nullptr) return "";
    return std::string(text.data(), strcspn(text.data(), "\n"));
  }

  int end() {
    close(input_);
    input_ = -1;
    return h_wait(std::exchange(pid_, 0));
  }

 private:
  pid_t pid_;
  int input_;
  FILE *output_;
};

void check_line(const std::string &found, const std::string &expected) {
  if (found != expected) FAIL("it says \"%s\", not \"%s\"", found.c_str(), expected.c_str());
}

template <class Pair>
void each_pair(const Pair &pair) {
  for (const Language &writer : languages) {
    for (const Language &reader : languages) {
      pair(writer, reader);
      printf("%s to %s: ok\n", writer.name.c_str(), reader.name.c_str());
    }
  }
}

}  // namespace

CASE(hello_from_each_to_each) {
  const char *name = h_shm_name("hello");
  each_pair([&](const Language &writer, const Language &reader) {
    Program write(writer, "hello", "write", name);
    const std::string wrote = write.line();
    CHECK(wrote.rfind("wrote ", 0) == 0);
    Program read(reader, "hello", "read", name);
    check_line(read.line(), "read " + wrote.substr(6) + " hello from " + writer.name);
    CHECK_EQ(read.end(), 0);
    Program again(reader, "hello", "read", name);
    CHECK_EQ(again.end(), 1); /* there is none any more, and it says so */
    CHECK_EQ(write.end(), 0);
    CHECK(!h_exists(h_shm_path("hello")));
  });
}

CASE(queue_from_each_to_each) {
  const char *name = h_shm_name("queue");
  const int count = h_rounds(10000);
  unsigned long long sum = 0;
  for (int i = 0; i < count; i++)
    for (int k = 0; k < i % 200; k++) sum += static_cast<unsigned long long>((i + k) % 256);
  const std::string number = std::to_string(count), result = number + " " + std::to_string(sum);
  each_pair([&](const Language &writer, const Language &reader) {
    Program consume(reader, "queue", "consume", name, number.c_str());
    Program produce(writer, "queue", "produce", name, number.c_str());
    check_line(produce.line(), "produced " + result);
    check_line(consume.line(), "consumed " + result);
    CHECK(produce.end() == 0 && consume.end() == 0);
    CHECK(!h_exists(h_shm_path("queue")));
  });
}
