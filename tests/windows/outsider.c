/* A member whose story is told by run.py, which also ends some of them from outside of Windows.
 *
 *   outsider worker NAME    allocates, frees and counts for ever
 *   outsider referee NAME   obeys the lines it reads: see referee()
 *
 * Each says at first where the segment lies, and who it is.
 */
#include <inttypes.h>
#include <psm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

enum { SEGMENT = 16 << 20, PLACES = 256, WORKERS = 64 };

struct board {
  void *places[PLACES]; /* blocks of whoever takes them out */
  uint64_t done[WORKERS];
  uint64_t workers;
  uint64_t stop;
};

static struct board *board_of(PSMHandle segment) {
  struct board **user = PSMgetUser(segment), *none = NULL;
  if (__atomic_load_n(user, __ATOMIC_ACQUIRE) == NULL) {
    struct board *fresh = PSMcalloc(segment, 1, sizeof *fresh);
    if (!__atomic_compare_exchange_n(user, &none, fresh, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
      PSMfree(segment, fresh);
  }
  return __atomic_load_n(user, __ATOMIC_ACQUIRE);
}

static uint64_t next(uint64_t *state) {
  *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407u;
  return *state >> 33;
}

static int worker(PSMHandle segment) {
  struct board *board = board_of(segment);
  uint64_t number = __atomic_fetch_add(&board->workers, 1, __ATOMIC_RELAXED) % WORKERS;
  uint64_t state = GetCurrentProcessId();
  printf("%" PRIuPTR " %lu %" PRIu64 "\n", (uintptr_t)segment, GetCurrentProcessId(), number);
  fflush(stdout);
  while (__atomic_load_n(&board->stop, __ATOMIC_RELAXED) == 0) {
    size_t size = 8 + (size_t)(next(&state) % (next(&state) % 30 != 0 ? 600 : 60000));
    char *block = PSMalloc(segment, size);
    if (block != NULL) memset(block, (int)size, size);
    void **place = &board->places[next(&state) % PLACES];
    PSMclearError();
    PSMfree(segment, __atomic_exchange_n(place, block, __ATOMIC_ACQ_REL));
    if (PSMlastError() != PSM_OK) return 3;
    __atomic_fetch_add(&board->done[number], 1, __ATOMIC_RELAXED);
  }
  PSMdeinit(segment);
  return 0;
}

/* end PID: by TerminateProcess · state: reaped, alive, PSMcheck, PSMgetError · done N: what worker
 * N has done · stop: all · empty: free all places, blocks that are left · leave */
static int referee(PSMHandle segment) {
  struct board *board = board_of(segment);
  uint64_t cursor = 0;
  char line[64];
  printf("%" PRIuPTR " %lu 0\n", (uintptr_t)segment, GetCurrentProcessId());
  fflush(stdout);
  while (fgets(line, sizeof line, stdin) != NULL) {
    char *argument = strchr(line, ' ');
    unsigned long number = argument != NULL ? strtoul(argument, NULL, 10) : 0;
    if (strncmp(line, "end", 3) == 0) {
      HANDLE process = OpenProcess(PROCESS_TERMINATE, FALSE, number);
      printf("%d\n", process != NULL && TerminateProcess(process, 99));
      if (process != NULL) CloseHandle(process);
    } else if (strncmp(line, "state", 5) == 0) {
      PSMMember dead[16];
      int deaths = PSMdeaths(segment, &cursor, dead, 16);
      printf("%d %d %d %d\n", deaths, PSMmembers(segment, NULL, 0), PSMcheck(segment),
             PSMgetError(segment));
    } else if (strncmp(line, "done", 4) == 0) {
      printf("%" PRIu64 "\n", __atomic_load_n(&board->done[number], __ATOMIC_RELAXED));
    } else if (strncmp(line, "stop", 4) == 0) {
      __atomic_store_n(&board->stop, 1, __ATOMIC_RELAXED);
      printf("0\n");
    } else if (strncmp(line, "empty", 5) == 0) {
      PSMStat stat;
      for (int i = 0; i < PLACES; i++) PSMfree(segment, board->places[i]);
      PSMfree(segment, board);
      if (PSMstat(segment, &stat) != PSM_OK) return 4;
      printf("%" PRIu64 "\n", stat.blocks);
    } else {
      PSMdeinit(segment);
      return 0;
    }
    fflush(stdout);
  }
  return 5;
}

int main(int argc, char **argv) {
  PSMHandle segment = NULL;
  if (argc != 3) return 2;
  PSMinit(argv[2], SEGMENT, NULL, &segment);
  if (segment == NULL) return fprintf(stderr, "%s\n", PSMerrorString(PSMlastError())), 1;
  return strcmp(argv[1], "worker") == 0 ? worker(segment) : referee(segment);
}
