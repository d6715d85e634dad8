/* Where segments go, in address spaces of each size that processors have.
 *
 * A smaller one is made by a filter in the kernel that refuses what PSM would map beyond its end,
 * as a processor does that has no such addresses. Programs that are started later are under it too.
 */
#include "harness.h"

#include <inttypes.h>
#include <sys/syscall.h>

#define GIB (UINT64_C(1) << 30)

/* ---- A smaller address space ------------------------------------------------------- */

#if UINTPTR_MAX > UINT32_MAX

/* One instruction of a filter, and a filter, as in the kernel's headers, which not every C library
 * comes with. */
struct instruction {
  uint16_t code;
  uint8_t if_true, if_false; /* instructions to skip */
  uint32_t value;
};
struct filter {
  uint16_t count;
  struct instruction *instructions;
};
enum { LOAD = 0x20, IF_EQUAL = 0x15, IF_AT_LEAST = 0x35, IF_ANY_BIT = 0x45, RETURN = 0x06 };
enum { REFUSE = 0x00050000 | ENOMEM, ALLOW = 0x7fff0000 };
enum { HIGH = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? 4 : 0, NUMBER = 0, ARGUMENTS = 16 };

/* No more mappings from 2^bits on where nothing may be replaced: other parts of the program are
 * there already. */
static void address_bits(unsigned bits) {
#ifdef __SANITIZE_ADDRESS__
  if (bits < 46) SKIP("the address sanitizer's shadow of 47 bits lies there");
#endif
  struct instruction code[] = {
      {LOAD, 0, 0, NUMBER},
      {IF_EQUAL, 0, 5, SYS_mmap},
      {LOAD, 0, 0, ARGUMENTS + 3 * 8 + 4 - HIGH},
      {IF_ANY_BIT, 0, 3, MAP_FIXED_NOREPLACE},
      {LOAD, 0, 0, ARGUMENTS + HIGH},
      {IF_AT_LEAST, 0, 1, UINT32_C(1) << (bits - 32)},
      {RETURN, 0, 0, REFUSE},
      {RETURN, 0, 0, ALLOW},
  };
  struct filter filter = {sizeof code / sizeof *code, code};
  CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  if (prctl(PR_SET_SECCOMP, 2, &filter, 0, 0) != 0) {
    SKIP_EMULATED("has no filters of system calls");
    SKIP("no filter of system calls: %s", strerror(errno));
  }
  void *beyond = (void *)((uintptr_t)1 << bits);
  int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
  CHECK(mmap(beyond, 65536, PROT_NONE, flags, -1, 0) == MAP_FAILED && errno == ENOMEM);
}

/* A segment of a GiB, in this process and in a program that is started anew; and one for which
 * there is no room in what is left. */
static void live_in(unsigned bits, uint64_t from, uint64_t to) {
  address_bits(bits);
  PSMHandle handle = h_init(h_shm_name(""), GIB);
  if ((uintptr_t)handle < from || (uintptr_t)handle + GIB > to)
    FAIL("%p is not in 0x%" PRIx64 "-0x%" PRIx64, (void *)handle, from, to);
  h_work(handle);
  *(void **)PSMgetUser(handle) = handle;
  CHECK_EQ(h_wait(h_spawn("joins_there", h_shm_name(""), NULL)), 0);
  PSMHandle other = h_init(h_shm_name("2"), GIB);
  CHECK((uintptr_t)other >= from && (uintptr_t)other + GIB <= to && other != handle);
  h_work(other);
  PSMdeinit(other);
  other = NULL;
  uint64_t too_large = bits < 44 ? UINT64_C(1) << bits : 20 * 1024 * GIB;
  CHECK_SETS(PSM_E_ADDRESS, PSMinit(h_shm_name("3"), too_large, NULL, &other));
  CHECK(other == NULL && !h_exists(h_shm_path("3")));
  h_sound(handle);
  PSMdeinit(handle);
}

EXEC_CHILD(joins_there) {
  PSMHandle handle = h_open(argv[0], 0, PSM_OPEN_JOIN);
  CHECK_PTR(*(void **)PSMgetUser(handle), handle);
  h_work(handle);
  PSMdeinit(handle);
  return 0;
}

/* Half of what a table of pages spans is the kernel's on RISC-V (38 bits with three levels); ARM
 * has 39 bits with three, and 42 with pages of 64 KiB, as IBM Z has at first. */
CASE(of_38_bits) { live_in(38, 128 * GIB, 160 * GIB); }
CASE(of_39_bits) { live_in(39, 192 * GIB, 320 * GIB); }
CASE(of_42_bits) { live_in(42, 1024 * GIB, 2048 * GIB); }
CASE(of_46_bits) { live_in(46, UINT64_C(0x200000000000), UINT64_C(0x300000000000)); }
CASE(of_47_bits) { live_in(47, UINT64_C(0x550000000000), UINT64_C(0x555500000000)); }

/* Without a filter: as this processor has it, or an emulator says. */
CASE(of_this_process) {
  PSMHandle handle = h_init(h_shm_name(""), GIB);
  static const struct {
    uint64_t from, to;
  } windows[] = {{UINT64_C(0x550000000000), UINT64_C(0x555500000000)},
                 {1024 * GIB, 2048 * GIB},
                 {192 * GIB, 320 * GIB},
                 {128 * GIB, 160 * GIB}};
  size_t i = 0;
  while (i < 4 && ((uintptr_t)handle < windows[i].from || (uintptr_t)handle >= windows[i].to)) i++;
  CHECK(i < 4);
  printf("  a segment of a GiB is at %p\n", (void *)handle);
  *(void **)PSMgetUser(handle) = handle;
  CHECK_EQ(h_wait(h_spawn("joins_there", h_shm_name(""), NULL)), 0);
  PSMdeinit(handle);
}

/* The first window is 340 GiB; a segment that is larger goes elsewhere. */
CASE(a_very_large_one) {
  address_bits(47);
  PSMHandle handle = h_init(h_shm_name(""), 400 * GIB);
  CHECK((uintptr_t)handle >= UINT64_C(0x200000000000));
  CHECK((uintptr_t)handle + 400 * GIB <= UINT64_C(0x300000000000));
  h_work(handle);
  PSMdeinit(handle);
}

#else

static bool lies_in(PSMHandle handle, size_t size, uintptr_t from, uintptr_t to) {
  return (uintptr_t)handle >= from && (uintptr_t)handle + size <= to;
}

/* Other processes' segments may fill the first window. */
CASE(of_32_bits) {
  PSMHandle handle = h_init(h_shm_name(""), 100 * MIB);
  CHECK(lies_in(handle, 100 * MIB, 0x40000000, 0x56000000) ||
        lies_in(handle, 100 * MIB, 0x60000000, 0xb0000000));
  h_work(handle);
  PSMHandle larger = h_init(h_shm_name("2"), 500 * MIB);
  CHECK(lies_in(larger, 500 * MIB, 0x60000000, 0xb0000000));
  h_work(larger);
  PSMdeinit(larger);
  PSMdeinit(handle);
}

/* Sizes are below 2 GiB, and say so. */
CASE(more_than_there_can_be) {
  PSMOptions options = {UINT64_C(1) << 31, NULL, 0, 0};
  PSMHandle handle = NULL;
  CHECK_SETS(PSM_E_SIZE, CHECK_EQ(PSMopen(h_shm_name(""), &options, &handle), PSM_E_SIZE));
  CHECK(strstr(PSMerrorString(PSM_E_SIZE), "2 GiB") != NULL);
  options.size = (UINT64_C(1) << 32) + MIB; /* not taken for a MiB */
  CHECK_SETS(PSM_E_SIZE, CHECK_EQ(PSMopen(h_shm_name(""), &options, &handle), PSM_E_SIZE));
  options.size = (UINT64_C(1) << 31) - 64 * KIB;
  CHECK_SETS(PSM_E_ADDRESS, CHECK_EQ(PSMopen(h_shm_name(""), &options, &handle), PSM_E_ADDRESS));
  CHECK(handle == NULL && !h_exists(h_shm_path("")));
}

#endif

/* The first window of 32 bits has no room for as many at the distance that 64 bits allow. */
CASE(many_at_once) {
  enum { N = 64 };
  PSMHandle handle[N];
  for (int i = 0; i < N; i++) {
    handle[i] = h_init(h_shm_name(h_text("%d", i)), MIB);
    for (int k = 0; k < i; k++)
      CHECK((uintptr_t)handle[i] >= (uintptr_t)handle[k] + MIB ||
            (uintptr_t)handle[i] + MIB <= (uintptr_t)handle[k]);
  }
  for (int i = 0; i < N; i++) {
    h_work(handle[i]);
    PSMdeinit(handle[i]);
  }
}
