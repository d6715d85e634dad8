/* The command line of a benchmark program. */
#include "harness/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/failure.h"

typedef struct Key {
  const char *key;
  uint64_t *value;
} Key;

static uint64_t *key_find(Options *options, const char *key, size_t length) {
  const Key keys[] = {
      {"members", &options->members},   {"threads", &options->threads}, {"ms", &options->ms},
      {"ops", &options->ops},           {"live", &options->live},       {"size", &options->size},
      {"setup_ms", &options->setup_ms}, {"min", &options->min},         {"max", &options->max},
      {"log", &options->log},           {"refill", &options->refill},   {"idle", &options->idle},
      {"heap", &options->heap},         {"warm_ms", &options->warm_ms},
  };
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
    if (strlen(keys[i].key) == length && memcmp(keys[i].key, key, length) == 0)
      return keys[i].value;
  return NULL;
}

static void option_read(Options *options, const char *argument) {
  const char *equals = strchr(argument, '=');
  char *end = NULL;
  if (!equals) die("not of the form key=value: %s", argument);
  if (strncmp(argument, "file=", 5) == 0) {
    options->file = equals + 1;
    return;
  }
  uint64_t *value = key_find(options, argument, (size_t)(equals - argument));
  if (!value) die("unknown option: %s", argument);
  *value = strtoull(equals + 1, &end, 10);
  if (end == equals + 1 || *end) die("not a number: %s", argument);
}

void options_read(Options *options, int argc, char **argv) {
  if (argc < 2) die("usage: %s WORKLOAD [key=value ...], see harness/options.h", argv[0]);
  options->workload = argv[1];
  (void)snprintf(options->name, sizeof options->name, "psm-bench-%ld", (long)getpid());
  failure_cleans(options->name);
  for (int i = 2; i < argc; i++) option_read(options, argv[i]);
  if (options->members < 1 || options->members > MEMBERS_MAX)
    die("members must be 1 to %d", MEMBERS_MAX);
  if (options->warm_ms == 0) options->warm_ms = 8 * options->ms;
  if (options->min < 1 || options->min > options->max || options->max > UINT32_MAX)
    die("min must be at least 1, and at most max");
}
