/* Members are killed while they change containers, slots and roots; the others
 * are told, and go on.
 */
#include <sys/ptrace.h>

#include <algorithm>
#include <array>
#include <map>
#include <mutex>
#include <psm.hpp>
#include <string>
#include <unordered_map>
#include <vector>

#include "harness.h"

namespace {

using String = std::basic_string<char, std::char_traits<char>, psm::allocator<char>>;
template <class Key, class T>
using Map = std::map<Key, T, std::less<>, psm::scoped_allocator<std::pair<const Key, T>>>;

[[noreturn]] void repaired_nothing() { FAIL("a mutex whose owner lives is called damaged"); }

}  // namespace

/* ---- What a mutex tells ------------------------------------------------------- */

EXEC_CHILD(die_holding) {
  const psm::segment segment(argv[0]);
  psm::roots(segment).find<psm::mutex>("mutex")->lock();
  h_gate_open(h_gate_from(argv[1]));
  for (;;) pause();
}

CASE(a_death_is_told_until_it_is_repaired) {
  const char *name = h_shm_name("told");
  const psm::segment segment(name, 1 * MIB);
  psm::mutex &mutex = psm::roots(segment).get<psm::mutex>("mutex");
  { const std::lock_guard<psm::mutex> guard(mutex); }
  const h_gate gate = h_gate_new();
  const pid_t child = h_spawn("die_holding", name, h_gate_text(gate), nullptr);
  h_gate_pass(gate);
  h_kill(child);

  for (int i = 0; i < 2; i++) {
    bool told = false;
    try {
      const std::lock_guard<psm::mutex> guard(mutex);
    } catch (const psm::owner_died &death) {
      told = death.code() == PSM_OWNER_DIED;
    }
    CHECK(told);
  }
  bool told = false;
  try {
    (void)mutex.try_lock();
  } catch (const psm::owner_died &) {
    told = true;
  }
  CHECK(told);
  bool failed = false;
  try {
    mutex.lock([] { throw std::runtime_error("cannot repair"); });
  } catch (const std::runtime_error &) {
    failed = true;
  }
  CHECK(failed);
  bool repaired = false;
  CHECK(mutex.lock([&] { repaired = true; }) && repaired);
  mutex.unlock();
  CHECK(!mutex.lock(repaired_nothing));
  mutex.unlock();
  const std::unique_lock<psm::mutex> lock(mutex);
  CHECK(lock.owns_lock());
}

EXEC_CHILD(try_what_is_held) {
  const psm::segment segment(argv[0]);
  psm::mutex &mutex = *psm::roots(segment).find<psm::mutex>("mutex");
  CHECK(!mutex.try_lock() && !std::unique_lock<psm::mutex>(mutex, std::try_to_lock).owns_lock());
  return 0;
}

CASE(try_lock_does_not_wait) {
  const char *name = h_shm_name("try");
  const psm::segment segment(name, 1 * MIB);
  psm::mutex &mutex = psm::roots(segment).get<psm::mutex>("mutex");
  CHECK(mutex.try_lock() && !mutex.try_lock()); /* it is not recursive */
  CHECK_EQ(h_wait(h_spawn("try_what_is_held", name, nullptr)), 0);
  mutex.unlock();
  const std::unique_lock<psm::mutex> held(mutex, std::try_to_lock);
  CHECK(held.owns_lock());
}

namespace {
struct Accounts {
  psm::mutex first, second;
  long from_first = 1000000, to_second = 0;
};
}  // namespace

/* Taken in either order by scoped_lock, which needs try_lock; a deadlock ends by the watchdog. */
CASE(two_mutexes_are_taken_without_a_deadlock) {
  const psm::segment segment(h_shm_name("two"), 1 * MIB);
  Accounts &accounts = *psm::make<Accounts>(segment);
  const pid_t child = h_fork();
  for (int i = 0; i < 5000; i++) {
    psm::mutex &one = child == 0 ? accounts.first : accounts.second;
    psm::mutex &other = child == 0 ? accounts.second : accounts.first;
    const std::scoped_lock both(one, other);
    accounts.from_first--;
    accounts.to_second++;
  }
  if (child == 0) h_quit(0);
  CHECK_EQ(h_wait(child), 0);
  CHECK(accounts.from_first == 990000 && accounts.to_second == 10000);
}

/* ---- Containers under a mutex --------------------------------------------------- */

namespace {

struct Store {
  using allocator_type = psm::allocator<std::byte>;
  explicit Store(const allocator_type &memory) : map(memory), table(memory), kept(memory) {}
  psm::mutex mutex;
  std::uint64_t changes = 0, repairs = 0;
  Map<int, String> map;
  std::unordered_map<int, int, psm::hash, std::equal_to<>,
                     psm::allocator<std::pair<const int, int>>>
      table;
  /* The blocks that were there before any change: they are no container's. */
  std::vector<void *, psm::allocator<void *>> kept;
};

std::vector<void *> blocks_of(PSMHandle segment) {
  std::vector<void *> blocks;
  PSMBlock block{};
  while (PSMwalk(segment, &block) == 1) blocks.push_back(block.address);
  return blocks;
}

/* A half-changed container is not walked, not even by its destructor. All that
 * is not known to be another's is freed, and a new one is made in its place. */
void rebuild(const psm::segment &segment, Store &store) {
  for (void *block : blocks_of(segment))
    if (std::find(store.kept.begin(), store.kept.end(), block) == store.kept.end())
      PSMfree(segment, block);
  ::new (&store.map) decltype(store.map)(segment);
  ::new (&store.table) decltype(store.table)(segment);
  store.repairs++;
}

void change(const psm::segment &segment, Store &store, int key) {
  const auto found = store.map.find(key);
  if (found != store.map.end()) {
    store.map.erase(found);
    store.table.erase(key);
  } else {
    store.map.emplace(key, String(static_cast<std::size_t>(key % 100), 'x', segment));
    store.table.emplace(key, -key);
  }
  store.changes++;
}

void check(const Store &store) {
  CHECK_EQ(store.map.size(), store.table.size());
  int before = -1;
  for (const auto &[key, text] : store.map) {
    CHECK(key > before && text.size() == static_cast<std::size_t>(key % 100));
    CHECK_EQ(store.table.at(key), -key);
    before = key;
  }
}

}  // namespace

EXEC_CHILD(change_containers) {
  const psm::segment segment(argv[0]);
  Store &store = *psm::roots(segment).find<Store>("store");
  std::uint64_t random = strtoull(argv[1], nullptr, 0);
  for (;;) {
    store.mutex.lock([&] { rebuild(segment, store); });
    const std::lock_guard<psm::mutex> held(store.mutex, std::adopt_lock);
    for (int i = 0; i < 20; i++) change(segment, store, static_cast<int>(h_below(&random, 3000)));
  }
}

CASE(containers_outlive_their_writers) {
  const char *name = h_shm_name("storm");
  const psm::segment segment(name, 16 * MIB);
  Store &store = psm::roots(segment).get<Store>("store");
  store.kept.reserve(16);
  for (void *block : blocks_of(segment)) store.kept.push_back(block);
  std::uint64_t random = h_seed;
  const auto start = [&] {
    return h_spawn("change_containers", name,
                   h_text("%llu", static_cast<unsigned long long>(h_random(&random))), nullptr);
  };
  pid_t workers[2] = {start(), start()};
  const int kills = h_rounds(60);
  for (int i = 0; i < kills || store.repairs < 3; i++) {
    h_sleep_us(static_cast<unsigned>(h_below(&random, 30000)) + 5000);
    pid_t &victim = workers[h_below(&random, 2)];
    h_kill(victim);
    victim = start();
    store.mutex.lock([&] { rebuild(segment, store); });
    const std::lock_guard<psm::mutex> held(store.mutex, std::adopt_lock);
    check(store);
    h_sound(segment);
  }
  for (const pid_t worker : workers) h_kill(worker);
  store.mutex.lock([&] { rebuild(segment, store); });
  check(store);
  printf("%d kills, %llu of them within a change; %llu changes\n", kills,
         static_cast<unsigned long long>(store.repairs),
         static_cast<unsigned long long>(store.changes));
  rebuild(segment, store);
  CHECK_EQ(h_stat(segment).blocks, store.kept.size());
  store.mutex.unlock();
  CHECK(psm::roots(segment).remove<Store>("store"));
  CHECK_EQ(h_stat(segment).blocks, 1);
}

/* ---- Slots and roots, at any instruction ------------------------------------------ */

namespace {

int await_stop(pid_t pid) {
  int status = 0;
  CHECK(waitpid(pid, &status, 0) == pid);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77) SKIP("ptrace is not permitted here");
  if (!WIFSTOPPED(status)) FAIL("a traced process ended: %x", static_cast<unsigned>(status));
  return WSTOPSIG(status);
}

/* Fork, step through `action`, and kill after `limit` instructions, or at its
 * end. Gives how many there were. */
template <class Action>
long step(const Action &action, long limit) {
  const pid_t pid = h_fork();
  if (pid == 0) {
    if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) h_quit(77);
    raise(SIGSTOP);
    action();
    raise(SIGUSR1);
    for (;;) pause();
  }
  CHECK_EQ(await_stop(pid), SIGSTOP);
  long steps = 0;
  for (int signal = SIGTRAP; signal == SIGTRAP && steps < limit; steps++) {
    CHECK(ptrace(PTRACE_SINGLESTEP, pid, nullptr, nullptr) == 0);
    signal = await_stop(pid);
    if (signal == SIGUSR1) break;
    if (signal != SIGTRAP) FAIL("a traced process got signal %d", signal);
  }
  h_kill(pid);
  return steps;
}

/* Kill at instructions all over the action; the survivor checks after each. */
template <class Action, class Check>
void kill_everywhere(const Action &action, const Check &check, int points) {
  const long length = step(action, 1000000);
  check();
  std::uint64_t random = h_seed;
  for (int i = 0; i < points; i++) {
    const long part = length / points + 1;
    step(action, i * part + 1 + static_cast<long>(h_below(&random, static_cast<size_t>(part))));
    check();
  }
  printf("%d kills within %ld instructions\n", points, length);
}

using Whole = std::array<long, 40>;

Whole filled(long number) {
  Whole whole;
  whole.fill(number);
  return whole;
}

}  // namespace

CASE(a_slot_is_whole_at_every_instruction) {
  const psm::segment segment(h_shm_name("slot"), 1 * MIB);
  struct Guarded {
    psm::mutex mutex;
    psm::slot<Whole> slot;
  };
  Guarded &guarded = psm::roots(segment).get<Guarded>("guarded");
  guarded.slot.emplace(filled(0));
  const auto nothing = [] {};
  const auto action = [&] {
    guarded.mutex.lock(nothing);
    guarded.slot.emplace(filled((*guarded.slot)[0] + 1));
    guarded.mutex.unlock();
  };
  std::uint64_t blocks = h_stat(segment).blocks;
  const auto check = [&] {
    guarded.mutex.lock(nothing);
    const Whole &whole = *guarded.slot;
    CHECK(whole == filled(whole[0]));
    guarded.slot.emplace(filled(whole[0]));
    guarded.mutex.unlock();
    h_sound(segment);
    const std::uint64_t now = h_stat(segment).blocks;
    CHECK(now <= blocks + 1); /* the one in flight: it was taken out and not freed yet */
    blocks = now;
  };
  kill_everywhere(action, check, h_rounds(30));
}

CASE(roots_are_whole_at_every_instruction) {
  const psm::segment segment(h_shm_name("roots"), 1 * MIB);
  psm::roots roots(segment);
  const Map<int, int> &kept = roots.get<Map<int, int>>("kept");
  roots.get<Map<int, int>>("kept")[1] = 2;
  const auto action = [&] {
    psm::roots(segment).get<Whole>("made", filled(7));
    psm::roots(segment).remove<Whole>("made");
    psm::roots(segment).get<String>("text", 100u, 'x');
  };
  std::uint64_t blocks = h_stat(segment).blocks;
  const auto check = [&] {
    CHECK((roots.find<Map<int, int>>("kept")) == &kept && kept.at(1) == 2);
    CHECK(roots.get<Whole>("made", filled(7)) == filled(7));
    CHECK_EQ(roots.get<String>("text", 100u, 'x').size(), 100);
    CHECK(roots.remove<Whole>("made") && roots.remove<String>("text"));
    CHECK(roots.find<Whole>("made") == nullptr);
    h_sound(segment);
    const std::uint64_t now = h_stat(segment).blocks;
    CHECK(now <= blocks + 1); /* the one in flight, or what the half-made text had */
    blocks = now;
  };
  kill_everywhere(action, check, h_rounds(30));
}
