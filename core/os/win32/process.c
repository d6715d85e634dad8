/* Processes, threads, waiting and waking. */
#include <stdio.h>

#include "win32.h"

uint32_t os_process_id(void) { return (uint32_t)GetCurrentProcessId(); }

/* In 100 ns. */
uint32_t os_process_start(void) {
  FILETIME begun, ended, kernel, user;
  if (!GetProcessTimes(GetCurrentProcess(), &begun, &ended, &kernel, &user)) return 0;
  return begun.dwLowDateTime != 0 ? (uint32_t)begun.dwLowDateTime : 1;
}

/* ---- Waiting ----
 *
 * Windows wakes by address within a process only. Between processes an event
 * with a name is a bell: a word lies at one address in all of them, and so has
 * the same bell. Words share bells, and one who is not meant may be woken; who
 * waits looks again at the end of its time anyway. In another session, or if
 * somebody else has taken the name, there is no bell, and that must do.
 */

enum { BELLS = 64, YIELDS = 10 };

static _Atomic(HANDLE) bells[BELLS];

static HANDLE bell_of(const void *word) {
  uint32_t number =
      (uint32_t)(((uint64_t)(uintptr_t)word >> 2) * UINT64_C(0x9e3779b97f4a7c15) >> 58);
  HANDLE bell = at_load_acquire(&bells[number]), none = NULL;
  if (bell != NULL) return bell;
  wchar_t name[32];
  (void)_snwprintf(name, sizeof name / sizeof *name, L"Local\\psm-bell-%u", (unsigned)number);
  bell = CreateEventW(NULL, FALSE, FALSE, name);
  if (bell == NULL || at_cas(&bells[number], &none, bell)) return bell;
  (void)CloseHandle(bell);
  return none;
}

void os_wait(_Atomic uint32_t *word, uint32_t value, uint32_t milliseconds) {
  for (int i = 0; i < YIELDS; i++) {
    if (at_load_acquire(word) != value) return;
    (void)SwitchToThread();
  }
  HANDLE bell = bell_of(word);
  if (at_load_acquire(word) != value) return;
  if (bell == NULL || WaitForSingleObject(bell, milliseconds) == WAIT_FAILED) Sleep(1);
}

void os_wake(_Atomic uint32_t *word) {
  HANDLE bell = bell_of(word);
  if (bell != NULL) (void)SetEvent(bell);
}

void os_mutex_lock(os_mutex *mutex) { AcquireSRWLockExclusive(mutex); }
void os_mutex_unlock(os_mutex *mutex) { ReleaseSRWLockExclusive(mutex); }

struct run_once {
  void (*function)(void);
};

static BOOL CALLBACK run_once(PINIT_ONCE once, void *parameter, void **context) {
  const struct run_once *run = parameter;
  (void)once;
  (void)context;
  run->function();
  return TRUE;
}

void os_run_once(os_once *once, void (*function)(void)) {
  struct run_once run = {function};
  (void)InitOnceExecuteOnce(once, run_once, &run, NULL);
}

/* There is no fork. */
void os_on_fork(void (*before)(void), void (*parent)(void), void (*child)(void)) {
  (void)before;
  (void)parent;
  (void)child;
}

/* ---- The end of a thread ---- */

void os_thread_yield(void) { (void)SwitchToThread(); }

static DWORD exit_index = FLS_OUT_OF_INDEXES;
static void (*exit_function)(void *);
static BOOLEAN(WINAPI *process_ends)(void);

/* At the end of a process the other threads are gone by now, perhaps with one
 * of our mutexes; and who ends without leaving counts as dead anyway. */
static void CALLBACK thread_ends(void *value) {
  if (value == NULL || (process_ends != NULL && process_ends())) return;
  exit_function(value);
}

/* A module that was unloaded could not be called: it stays, be it the library
 * or a plug-in that contains it. */
static void module_pin(void) {
  HMODULE module;
  (void)GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_PIN,
                           (const wchar_t *)(const void *)&exit_index, &module);
}

void os_on_thread_exit(void (*function)(void *)) {
  HMODULE system = GetModuleHandleW(L"ntdll.dll");
  union {
    FARPROC any;
    BOOLEAN(WINAPI *function)(void);
  } found = {NULL};
  if (system != NULL) found.any = GetProcAddress(system, "RtlDllShutdownInProgress");
  process_ends = found.function;
  exit_function = function;
  module_pin();
  exit_index = FlsAlloc(thread_ends);
}

void os_thread_watch(void *value) { (void)FlsSetValue(exit_index, value); }
