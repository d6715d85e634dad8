/* Members that different compilers, standards and libraries have built share
 * every container, or are told why they cannot.
 *
 * PSM_TEST_PEERS is "NAME=PROGRAM|..." of builds that agree, so is
 * PSM_TEST_LIBCXX_PEERS with the other library, and PSM_TEST_STRANGERS of builds
 * that have another layout than the first: see CMakeLists.txt.
 */
#include <psm.hpp>
#include <string>
#include <utility>
#include <vector>

#include "harness.h"

namespace {

using Builds = std::vector<std::pair<std::string, std::string>>;

Builds builds_of(const std::string &list) {
  Builds builds;
  for (std::size_t begin = 0; begin < list.size();) {
    const std::size_t end = std::min(list.find('|', begin), list.size());
    const std::size_t middle = list.find('=', begin);
    builds.emplace_back(list.substr(begin, middle - begin),
                        list.substr(middle + 1, end - middle - 1));
    begin = end + 1;
  }
  return builds;
}

int run(const std::string &program, const char *role, const char *name) {
  const pid_t pid = h_fork();
  if (pid == 0) {
    execl(program.c_str(), program.c_str(), role, name, static_cast<char *>(nullptr));
    _exit(126);
  }
  return h_wait(pid);
}

void stand_by(const std::string &what, int result, int expected) {
  if (result != expected) FAIL("%s: exit status %d, not %d", what.c_str(), result, expected);
}

}  // namespace

static void run_each_pair(const Builds &builds) {
  CHECK(builds.size() >= 2);
  const char *name = h_shm_name("pair");
  const psm::segment segment(name, 32 * MIB);
  std::uint64_t left = 0;
  for (const auto &[writer, write] : builds) {
    for (const auto &[reader, read] : builds) {
      const std::string pair = writer + " and " + reader;
      stand_by(pair + ", write", run(write, "write", name), 0);
      stand_by(pair + ", add", run(read, "add", name), 0);
      stand_by(pair + ", check", run(write, "check", name), 0);
      stand_by(pair + ", shared", run(read, "shared", name), 0);
      stand_by(pair + ", clear", run(read, "clear", name), 0);
      h_sound(segment);
      left = h_stat(segment).blocks;
      CHECK_EQ(left, 1); /* the registry of the roots */
      printf("%s: ok\n", pair.c_str());
    }
  }
}

CASE(each_reads_what_any_other_wrote) { run_each_pair(builds_of(PSM_TEST_PEERS)); }

#ifdef PSM_TEST_LIBCXX_PEERS
CASE(each_of_libcxx_reads_what_any_other_wrote) {
  const Builds builds = builds_of(PSM_TEST_LIBCXX_PEERS);
  if (builds.empty()) SKIP("clang++ or libc++ (libc++-dev, libc++abi-dev) is missing");
  run_each_pair(builds);
}
#endif

CASE(another_layout_is_refused) {
  const Builds strangers = builds_of(PSM_TEST_STRANGERS);
  const Builds builds = builds_of(PSM_TEST_PEERS);
  const char *name = h_shm_name("layout");
  const psm::segment segment(name, 32 * MIB);
  CHECK_EQ(run(builds[0].second, "write", name), 0);
  const PSMStat before = h_stat(segment);
  CHECK(!strangers.empty());
  for (const auto &[stranger, program] : strangers) {
    stand_by(stranger + ", shared", run(program, "shared", name), 3);
    if (stranger == "libcxx") stand_by(stranger + ", add", run(program, "add", name), 3);
    printf("%s: refused\n", stranger.c_str());
  }
  CHECK_EQ(h_stat(segment).blocks, before.blocks);
  CHECK_EQ(run(builds[0].second, "shared", name), 0);
}
