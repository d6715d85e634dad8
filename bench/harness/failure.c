/* How a benchmark program ends when there is nothing to report. */
#include "harness/failure.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

static const char *segment_name;
static pid_t segment_owner;

void failure_cleans(const char *name) {
  segment_name = name;
  segment_owner = getpid();
}

/* _exit, because other threads of this process may be at work; one write, because other members
 * may write as well. */
static void end(int status, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0), noreturn));

static void end(int status, const char *format, va_list arguments) {
  char text[512];
  int length = vsnprintf(text, sizeof text - 1, format, arguments);
  size_t end = length < 0 ? 0 : (size_t)length < sizeof text - 1 ? (size_t)length : sizeof text - 2;
  text[end] = '\n';
  (void)!write(STDERR_FILENO, text, end + 1);
  if (segment_name && getpid() == segment_owner) shm_unlink(segment_name);
  _exit(status);
}

void die(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  end(1, format, arguments);
}

void cannot(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  end(EXIT_CANNOT, format, arguments);
}
