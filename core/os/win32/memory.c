/* Mappings at a given address, and what lies there instead. */
#include <stdio.h>
#include <string.h>

#include "win32.h"

#define PSAPI_VERSION 2
#include <psapi.h>

size_t os_page_size(void) {
  SYSTEM_INFO info;
  GetSystemInfo(&info);
  return info.dwAllocationGranularity;
}

/* The mapping keeps what it needs of the section object. */
static void *map_at(os_file file, void *address, size_t size, bool writable) {
  HANDLE section =
      CreateFileMappingW(file, NULL, writable ? PAGE_READWRITE : PAGE_READONLY, 0, 0, NULL);
  if (section == NULL) return NULL;
  DWORD access = writable ? FILE_MAP_READ | FILE_MAP_WRITE : FILE_MAP_READ;
  void *got = MapViewOfFileEx(section, access, 0, 0, size, address);
  DWORD error = GetLastError();
  (void)CloseHandle(section);
  SetLastError(error);
  return got;
}

int os_map(os_file file, void *address, size_t size, bool writable) {
  if (map_at(file, address, size, writable) != NULL) return PSM_OK;
  if (GetLastError() == ERROR_INVALID_ADDRESS || GetLastError() == ERROR_MAPPED_ALIGNMENT)
    return PSM_E_ADDRESS;
  return psm_win_fail("map", "the segment's file");
}

void os_unmap(void *address, size_t size) {
  (void)size;
  if (!UnmapViewOfFile(address)) (void)VirtualFree(address, 0, MEM_RELEASE);
}

bool os_remap(os_file file, void *address, size_t size, bool writable) {
  os_unmap(address, size);
  return map_at(file, address, size, writable) == address;
}

void os_map_nothing(void *address, size_t size) {
  os_unmap(address, size);
  (void)VirtualAlloc(address, size, MEM_RESERVE, PAGE_NOACCESS);
}

/* Windows fetches ahead what is on a disk; it maps no pages ahead. */
void os_populate(void *address, size_t size) {
  (void)address;
  (void)size;
}

/* Large pages there are for memory alone, not for files, and by a privilege. */
bool os_populate_large(void *address) {
  (void)address;
  return false;
}

void *os_anchor(os_file file) { return map_at(file, NULL, 1, false); }

bool os_range_free(void *address, size_t size) {
  void *got = VirtualAlloc(address, size, MEM_RESERVE, PAGE_NOACCESS);
  if (got != NULL) (void)VirtualFree(got, 0, MEM_RELEASE);
  return got == address;
}

bool os_address_exists(const void *address) {
  SYSTEM_INFO info;
  GetSystemInfo(&info);
  return (uintptr_t)address >= (uintptr_t)info.lpMinimumApplicationAddress &&
         (uintptr_t)address <= (uintptr_t)info.lpMaximumApplicationAddress;
}

/* ---- What is mapped ---- */

/* The file behind a mapping, to ask which it is; INVALID_HANDLE_VALUE. The name
 * is the kernel's own, which begins with a device. */
static HANDLE file_mapped_at(void *address) {
  static const wchar_t root[] = L"\\\\?\\GLOBALROOT";
  enum { ROOT = sizeof root / sizeof *root - 1 };
  wchar_t name[WIDE_MAX];
  memcpy(name, root, sizeof root);
  DWORD length = K32GetMappedFileNameW(GetCurrentProcess(), address, name + ROOT, WIDE_MAX - ROOT);
  if (length == 0) return INVALID_HANDLE_VALUE;
  wchar_t *path = name;
  if (memcmp(name + ROOT, L"\\??\\", 4 * sizeof *name) == 0) {
    path = name + ROOT;
    path[1] = L'\\';
  }
  return CreateFileW(path, 0, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL,
                     OPEN_EXISTING, FILE_FLAG_BACKUP_SEMANTICS, NULL);
}

static bool is_mapping_of(void *address, const struct os_identity *identity) {
  struct os_identity found;
  HANDLE file = file_mapped_at(address);
  if (file == INVALID_HANDLE_VALUE) return false;
  bool same = psm_win_identify(file, &found) && found.device == identity->device &&
              found.number == identity->number;
  (void)CloseHandle(file);
  return same;
}

static void region_name(const MEMORY_BASIC_INFORMATION *region, char *text) {
  wchar_t wide[WIDE_MAX];
  const char *what = region->Type == MEM_PRIVATE ? "memory of this process"
                     : region->Type == MEM_IMAGE ? "a program or library"
                                                 : "a mapping without a name";
  (void)snprintf(text, OS_PATH_MAX, "%s", what);
  if (region->Type == MEM_PRIVATE) return;
  HANDLE file = file_mapped_at(region->BaseAddress);
  if (file == INVALID_HANDLE_VALUE) return;
  DWORD length = GetFinalPathNameByHandleW(file, wide, WIDE_MAX, 0);
  if (length > 0 && length < WIDE_MAX && !psm_win_unpath(wide, text))
    (void)snprintf(text, OS_PATH_MAX, "%s", what);
  (void)CloseHandle(file);
}

void os_range_describe(const void *address, size_t size, char *text, size_t count) {
  MEMORY_BASIC_INFORMATION region;
  uintptr_t at = (uintptr_t)address, end = at + size;
  (void)snprintf(text, count, "nothing mapped; the system reserves the range");
  for (; at < end && VirtualQuery((void *)at, &region, sizeof region) != 0;
       at = (uintptr_t)region.BaseAddress + region.RegionSize) {
    if (region.State == MEM_FREE) continue;
    char name[OS_PATH_MAX];
    region_name(&region, name);
    (void)snprintf(text, count, "%.200s at 0x%llx-0x%llx", name,
                   (unsigned long long)(uintptr_t)region.BaseAddress,
                   (unsigned long long)(uintptr_t)region.BaseAddress + region.RegionSize);
    return;
  }
}

bool os_range_is(const void *address, size_t size, const struct os_identity *identity,
                 bool writable) {
  MEMORY_BASIC_INFORMATION region;
  uintptr_t at = (uintptr_t)address, end = at + size;
  for (; at < end; at = (uintptr_t)region.BaseAddress + region.RegionSize) {
    if (VirtualQuery((void *)at, &region, sizeof region) == 0) return false;
    if (region.State != MEM_COMMIT || region.Type != MEM_MAPPED) return false;
    if (region.AllocationBase != address) return false;
    if (writable && region.Protect != PAGE_READWRITE) return false;
  }
  return is_mapping_of((void *)(uintptr_t)address, identity);
}

bool os_mapped_beside(const void *address, size_t size, const struct os_identity *identity) {
  MEMORY_BASIC_INFORMATION region;
  uintptr_t from = (uintptr_t)address;
  const void *seen = NULL;
  for (uintptr_t at = 0; VirtualQuery((void *)at, &region, sizeof region) != 0;
       at = (uintptr_t)region.BaseAddress + region.RegionSize) {
    uintptr_t base = (uintptr_t)region.BaseAddress;
    if (base + region.RegionSize <= at) break;
    if (region.Type != MEM_MAPPED || region.State == MEM_FREE) continue;
    if (base >= from && base - from < size) continue;
    if (region.AllocationBase == seen) continue;
    seen = region.AllocationBase;
    if (is_mapping_of(region.BaseAddress, identity)) return true;
  }
  return false;
}
