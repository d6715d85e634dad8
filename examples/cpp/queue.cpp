// Records pass from one process to another, in any language, through a ring of
// pointers: see queue.c. The ring and the records are the same there.
//
//   queue produce NAME COUNT   make the ring if there is none, and put records
//   queue consume NAME COUNT   take and check them, and free the ring
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iostream>
#include <mutex>
#include <psm.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

namespace {

constexpr std::uint64_t magic = 0x50534d2d51554555;  // PSM-QUEU
constexpr std::uint64_t segment_bytes = 4 << 20, capacity = 64, lengths = 200;

struct Record {
  std::uint64_t number, length;
  std::uint8_t *bytes() { return reinterpret_cast<std::uint8_t *>(this + 1); }
};

struct Ring {
  std::uint64_t magic, capacity;
  std::uint64_t head, tail;  // records put, records taken
  alignas(8) Record **slots;
  psm::mutex mutex;
  std::uint64_t zero[2];
};
static_assert(sizeof(Ring) == 64 && offsetof(Ring, mutex) == 40,
              "the ring is the same in every language");

void check(const char *what, bool holds) {
  if (!holds) throw std::runtime_error(std::string("wrong: ") + what);
}

void rest() { std::this_thread::sleep_for(std::chrono::microseconds(200)); }

class Queue {
 public:
  explicit Queue(const std::string &name) : segment_(name, segment_bytes) {}

  void produce(std::uint64_t count) {
    if (ring() == nullptr) make();
    Ring &ring = *this->ring();
    check("magic", ring.magic == magic);
    std::uint64_t sum = 0;
    for (std::uint64_t i = 0; i < count; i++) {
      Record *record = fill(i, sum);
      while (!put(ring, record)) rest();
    }
    while (!is_drained()) rest();
    std::cout << "produced " << count << " " << sum << std::endl;
  }

  void consume(std::uint64_t count) {
    while (ring() == nullptr) rest();
    Ring &ring = *this->ring();
    check("magic", ring.magic == magic);
    std::uint64_t sum = 0;
    for (std::uint64_t i = 0; i < count; i++) {
      Record *record = nullptr;
      while ((record = take(ring)) == nullptr) rest();
      sum += inspect(*record, i);
      psm::destroy(record);
    }
    __atomic_store_n(user(), nullptr, __ATOMIC_RELEASE);
    psm::destroy(ring.slots);
    psm::destroy(&ring);
    std::cout << "consumed " << count << " " << sum << std::endl;
  }

 private:
  Ring **user() const { return static_cast<Ring **>(PSMgetUser(segment_)); }
  Ring *ring() const { return __atomic_load_n(user(), __ATOMIC_ACQUIRE); }

  void make() {
    Record **slots = psm::allocator<Record *>(segment_).allocate(capacity);
    Ring *ring = psm::make<Ring>(segment_);
    ring->magic = magic;
    ring->capacity = capacity;
    ring->slots = slots;
    __atomic_store_n(user(), ring, __ATOMIC_RELEASE);  // last: now others find it
  }

  Record *fill(std::uint64_t number, std::uint64_t &sum) {
    const std::uint64_t length = number % lengths;
    void *block = psm::allocator<std::byte>(segment_).allocate(sizeof(Record) + length);
    Record *record = ::new (block) Record{number, length};
    for (std::uint64_t k = 0; k < length; k++)
      sum += record->bytes()[k] = static_cast<std::uint8_t>((number + k) % 256);
    return record;
  }

  static std::uint64_t inspect(Record &record, std::uint64_t number) {
    check("number", record.number == number);
    check("length", record.length == number % lengths);
    std::uint64_t sum = 0;
    for (std::uint64_t k = 0; k < record.length; k++) {
      check("bytes", record.bytes()[k] == (number + k) % 256);
      sum += record.bytes()[k];
    }
    return sum;
  }

  // Every change ends with one store, of head or of tail, so the death of an
  // owner leaves nothing to repair.
  static std::unique_lock<psm::mutex> lock(Ring &ring) {
    ring.mutex.lock([] {});
    return {ring.mutex, std::adopt_lock};
  }

  static bool put(Ring &ring, Record *record) {
    const auto held = lock(ring);
    if (ring.head - ring.tail == ring.capacity) return false;
    ring.slots[ring.head % ring.capacity] = record;
    __atomic_store_n(&ring.head, ring.head + 1, __ATOMIC_RELEASE);
    return true;
  }

  static Record *take(Ring &ring) {
    const auto held = lock(ring);
    if (ring.head == ring.tail) return nullptr;
    Record *record = ring.slots[ring.tail % ring.capacity];
    __atomic_store_n(&ring.tail, ring.tail + 1, __ATOMIC_RELEASE);
    return record;
  }

  // The consumer may free the ring meanwhile: what is read of it then still says
  // that it is drained.
  bool is_drained() const {
    Ring *ring = this->ring();
    return ring == nullptr || __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE) ==
                                  __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE);
  }

  psm::segment segment_;
};

}  // namespace

int main(int argc, char **argv) {
  const std::string_view role = argc == 4 ? argv[1] : "";
  try {
    if (role == "produce")
      Queue(argv[2]).produce(std::stoull(argv[3]));
    else if (role == "consume")
      Queue(argv[2]).consume(std::stoull(argv[3]));
    else
      throw std::invalid_argument("usage: queue produce|consume NAME COUNT");
    return 0;
  } catch (const std::exception &error) {
    std::cerr << "queue: " << error.what() << std::endl;
    return 1;
  }
}
