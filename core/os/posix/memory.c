/* Mappings at a given address, and what lies there instead. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "../os.h"

size_t os_page_size(void) { return (size_t)sysconf(_SC_PAGESIZE); }

/* Old kernels take the address as a hint only: the result is compared. */
static int map_at(int file, void *address, size_t size, int protection, int flags) {
  void *got = mmap(address, size, protection, flags | MAP_FIXED_NOREPLACE, file, 0);
  if (got == address) return PSM_OK;
  if (got != MAP_FAILED) (void)munmap(got, size);
  return PSM_E_ADDRESS;
}

int os_map(os_file file, void *address, size_t size, bool writable) {
  int protection = PROT_READ | (writable ? PROT_WRITE : 0);
  errno = 0;
  if (map_at(file, address, size, protection, MAP_SHARED) == PSM_OK) return PSM_OK;
  if (errno == EACCES || errno == EPERM)
    return psm_fail(PSM_E_ACCESS, "the segment may not be mapped: %s", strerror(errno));
  return PSM_E_ADDRESS;
}

void os_unmap(void *address, size_t size) { (void)munmap(address, size); }

bool os_remap(os_file file, void *address, size_t size, bool writable) {
  int protection = PROT_READ | (writable ? PROT_WRITE : 0);
  return mmap(address, size, protection, MAP_SHARED | MAP_FIXED, file, 0) == address;
}

void os_map_nothing(void *address, size_t size) {
  int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
  (void)mmap(address, size, PROT_NONE, flags, -1, 0);
}

/* The constant is younger than many C libraries. */
void os_populate(void *address, size_t size) {
  enum { POPULATE_WRITE = 23 };
  int saved = errno;
  (void)madvise(address, size, POPULATE_WRITE);
  errno = saved;
}

void *os_anchor(os_file file) {
  void *page = mmap(NULL, os_page_size(), PROT_NONE, MAP_SHARED, file, 0);
  return page != MAP_FAILED ? page : NULL;
}

/* What is taken is refused in another way than what is not there; old kernels
 * refuse neither, and map elsewhere. */
bool os_address_exists(const void *address) {
  size_t page = os_page_size();
  void *start = (void *)((uintptr_t)address & ~(uintptr_t)(page - 1));
  errno = 0;
  return os_range_free(start, page) || errno == EEXIST;
}

bool os_range_free(void *address, size_t size) {
  int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  if (map_at(-1, address, size, PROT_NONE, flags) != PSM_OK) return false;
  (void)munmap(address, size);
  return true;
}

struct mapping {
  unsigned long long from, to, device_major, device_minor, inode;
  char access[5];
  char name[256];
};

/* Calls `visit` for each mapping that overlaps the range, until it says stop.
 * False: the system does not tell. */
static bool each_mapping(const void *address, size_t size,
                         bool (*visit)(const struct mapping *, void *), void *context) {
  FILE *maps = fopen("/proc/self/maps", "re");
  if (maps == NULL) return false;
  char line[5000];
  unsigned long long first = (uintptr_t)address;
  unsigned long long last = first + (size - 1);
  while (fgets(line, sizeof line, maps) != NULL) {
    struct mapping m;
    m.name[0] = '\0';
    int fields = sscanf(line, "%llx-%llx %4s %*s %llx:%llx %llu %255[^\n]", &m.from, &m.to,
                        m.access, &m.device_major, &m.device_minor, &m.inode, m.name);
    if (fields < 6 || m.to <= first || m.from > last) continue;
    if (!visit(&m, context)) break;
  }
  (void)fclose(maps);
  return true;
}

struct description {
  char *text;
  size_t count;
};

static bool describe_first(const struct mapping *m, void *context) {
  struct description *d = context;
  (void)snprintf(d->text, d->count, "%s at 0x%llx-0x%llx",
                 m->name[0] != '\0' ? m->name : "anonymous memory", m->from, m->to);
  return false;
}

void os_range_describe(const void *address, size_t size, char *text, size_t count) {
  struct description d = {text, count};
  (void)snprintf(text, count, "nothing mapped; the system reserves the range");
  (void)each_mapping(address, size, describe_first, &d);
}

struct expectation {
  const struct os_identity *identity;
  bool writable;
  unsigned long long next, end;
};

static bool same_file(const struct mapping *m, const struct os_identity *identity) {
  return m->inode == identity->number &&
         makedev((unsigned)m->device_major, (unsigned)m->device_minor) == identity->device;
}

static bool same_file_goes_on(const struct mapping *m, void *context) {
  struct expectation *e = context;
  if (m->from > e->next || !same_file(m, e->identity)) return false;
  if (e->writable && m->access[1] != 'w') return false;
  e->next = m->to;
  return e->next < e->end;
}

bool os_range_is(const void *address, size_t size, const struct os_identity *identity,
                 bool writable) {
  unsigned long long first = (uintptr_t)address;
  struct expectation e = {identity, writable, first, first + size};
  (void)each_mapping(address, size, same_file_goes_on, &e);
  return e.next >= e.end;
}

struct search {
  const struct os_identity *identity;
  unsigned long long from, to; /* not in here */
  bool found;
};

static bool not_beside(const struct mapping *m, void *context) {
  struct search *search = context;
  bool inside = m->from >= search->from && m->to <= search->to;
  search->found = !inside && same_file(m, search->identity);
  return !search->found;
}

bool os_mapped_beside(const void *address, size_t size, const struct os_identity *identity) {
  unsigned long long first = (uintptr_t)address;
  struct search search = {identity, first, first + size, false};
  return !each_mapping(NULL, SIZE_MAX, not_beside, &search) || search.found;
}
