/* One member of the story, built anew for each compiler, standard and library.
 *
 *   peer write|add|check|shared|clear NAME
 *
 * Exit status: 0 done, 1 something is wrong, 3 another layout was found.
 */
#include <cstdio>
#include <cstring>
#include <psm.hpp>
#include <string>

/* The old strings of libstdc++ take no allocator that must be given a segment. */
#if !defined(_GLIBCXX_USE_CXX11_ABI) || _GLIBCXX_USE_CXX11_ABI
#define HAS_STORY
#include "story.hpp"
#endif

namespace {

[[maybe_unused]] constexpr int more = 300;

/* A class that somebody has changed and not everybody has compiled again. */
struct Shared {
  int number = 42;
#ifdef PSM_TEST_CHANGED
  long added = 0;
#endif
};

void act(const std::string &role, const psm::segment &segment) {
  psm::roots roots(segment);
  if (role == "shared") {
    if (roots.get<Shared>("shared").number != 42) throw std::runtime_error("shared");
#ifdef HAS_STORY
  } else if (role == "write") {
    story::write(segment);
    roots.get<Shared>("shared");
  } else if (role == "add") {
    story::check(segment, 0);
    story::add(segment, story::count, story::count + more);
  } else if (role == "check") {
    story::check(segment, more);
  } else if (role == "clear") {
    MUST(roots.remove<story::Everything>("everything") && roots.remove<Shared>("shared"));
#endif
  } else {
    throw std::runtime_error("there is no such role");
  }
}

}  // namespace

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  try {
    act(argv[1], psm::segment(argv[2]));
    return 0;
  } catch (const psm::layout_error &other) {
    std::fprintf(stderr, "%s\n", other.what());
    return 3;
  } catch (const std::exception &wrong) {
    std::fprintf(stderr, "peer %s: %s\n", argv[1], wrong.what());
    return 1;
  }
}
