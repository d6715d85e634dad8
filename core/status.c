/* Result codes, their general sentences, and what a thread failed at last. */
#include "status.h"

#include <stdarg.h>
#include <stdio.h>

#define STATUS_LIST(X)                                                                         \
  X(PSM_OK, "no error")                                                                        \
  X(PSM_OWNER_DIED, "the lock's owner died: you hold the lock; repair what it guards")         \
  X(PSM_E_INVALID, "an argument is out of its range")                                          \
  X(PSM_E_HANDLE, "this is not the handle of a segment that this process has open")            \
  X(PSM_E_NAME, "the name is empty, too long, or leads nowhere")                               \
  X(PSM_E_SIZE, "the size is too small, too large, or not that of the existing segment")       \
  X(PSM_E_ADDRESS, "the address range is not free in this process")                            \
  X(PSM_E_MEMBERS, "all 1024 seats of the segment are taken: a process must leave first")      \
  X(PSM_E_NOMEM, "the segment is full: free something, or create a larger one")                \
  X(PSM_E_NOSPACE, "the file system is full: make room on it, or use another directory")       \
  X(PSM_E_ACCESS, "the permissions of the file or its directory forbid it")                    \
  X(PSM_E_FILETYPE, "the name is that of a directory, pipe or device, not of a plain file")    \
  X(PSM_E_FORMAT, "the file is not a PSM segment; it was left untouched")                      \
  X(PSM_E_VERSION, "the segment was made by an incompatible version of PSM")                   \
  X(PSM_E_PLATFORM, "the segment was made for another word size or byte order")                \
  X(PSM_E_TRUNCATED, "the file is shorter or longer than the segment it holds")                \
  X(PSM_E_CORRUPT, "the segment's metadata contradicts itself: leave it and create a new one") \
  X(PSM_E_POINTER, "no block of this segment begins at this address")                          \
  X(PSM_E_DOUBLE_FREE, "the block is free already")                                            \
  X(PSM_E_EXISTS, "the segment exists already, and exclusive creation was asked for")          \
  X(PSM_E_NOT_FOUND, "there is no such segment, and creation was not asked for")               \
  X(PSM_E_READONLY, "this process has opened the segment read-only")                           \
  X(PSM_E_STATE, "not possible now: nothing was prepared, or the lock is not yours")           \
  X(PSM_E_SYSTEM, "the operating system refused")

/* Lives in the library's thread-local block, which must stay small. */
static PSM_THREAD struct {
  int code;
  char text[316];
  bool hushed;
} latest;

int psm_fail(int code, const char *format, ...) {
  if (latest.hushed) return code;
  latest.code = code;
  latest.text[0] = '\0';
  if (format != NULL) {
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(latest.text, sizeof latest.text, format, arguments);
    va_end(arguments);
  }
  return code;
}

int psm_last_error(void) { return latest.code; }

bool psm_hush(bool hushed) {
  bool before = latest.hushed;
  latest.hushed = hushed;
  return before;
}

void psm_clear_error(void) { latest.code = PSM_OK; }

static const char *general_sentence(int code) {
  switch (code) {
#define X(name, sentence) \
  case name:              \
    return sentence;
    STATUS_LIST(X)
#undef X
    default:
      return "not a result code of PSM";
  }
}

const char *psm_sentence(int code) {
  if (code != PSM_OK && code == latest.code && latest.text[0] != '\0') return latest.text;
  return general_sentence(code);
}
