/* The contract with the operating system: all that the floors above may use.
 *
 * Calls that return int give PSM_OK or a PSM_E_ code, and set the thread's
 * error unless they are said to be quiet. One folder per system implements it;
 * os.c chooses. Names, paths and texts are UTF-8 on every system.
 */
#ifndef PSM_OS_H
#define PSM_OS_H

#include <stddef.h>

#include "compiler.h"
#include "status.h"
#if defined(_WIN32)
#include "win32/os_types.h"
#else
#include "posix/os_types.h"
#endif

enum { OS_READ = 0, OS_WRITE = 1, OS_CREATE = 2 };
enum { OS_TRY = 0, OS_WAIT = 1, OS_SHARED = 2 };

/** Which file it is, whatever its name. */
struct os_identity {
  uint64_t device, number;
};

/* ---- Files ---- */

/** Turn a segment's name into an absolute path, free of links in its folder.
 *  `path` has OS_PATH_MAX bytes. */
int os_path_resolve(const char *name, char *path);

/** Open a plain file; never waits (a pipe) and never follows into a device.
 *  OS_CREATE makes it only if there is none; `*created` says so. Quiet about
 *  PSM_E_NOT_FOUND. Children by exec do not inherit it. */
int os_file_open(const char *path, int how, uint32_t mode, os_file *file, bool *created);

/** The file of this identity once more, with locks of its own: what `file` is,
 *  even if the path is gone, or what the path names if it was closed. */
int os_file_reopen(os_file file, const char *path, const struct os_identity *identity, int how,
                   os_file *copy);
void os_file_close(os_file file);

/** Is `file` still open and still this one? Programs that close descriptors
 *  they do not own are common. Quiet. */
bool os_file_is(os_file file, const struct os_identity *identity);
int os_file_inspect(os_file file, struct os_identity *identity, uint64_t *size);
bool os_path_is(const char *path, const struct os_identity *identity);
int os_file_read(os_file file, void *bytes, size_t count, uint64_t offset, size_t *got);
int os_file_write(os_file file, const void *bytes, size_t count, uint64_t offset);
int os_file_resize(os_file file, uint64_t size);

/** Have the file system promise these bytes, content unchanged. Quiet. */
int os_file_commit(os_file file, uint64_t offset, uint64_t count);

/** Give the memory behind these bytes back; they read as zero. Quiet. */
int os_file_punch(os_file file, uint64_t offset, uint64_t count);

/** Remove a file that this process does not map. Best effort: one that is left
 *  is begun afresh by the next who opens it. */
void os_file_remove(const char *path);

/** Call `visit` with the first bytes of each plain file beside `path`, until
 *  it returns false or a few thousand were seen. Best effort. */
void os_siblings_read(const char *path, void *bytes, size_t count,
                      bool (*visit)(void *context, size_t got), void *context);

/** The system's folder for shared memory, as a path within it. */
const char *os_shared_folder(void);

/* ---- Kernel locks on single bytes of a file, beyond any data; the kernel drops
 *      them when the holder's last descriptor goes, or its process ---- */

/** OS_TRY: PSM_E_STATE, quietly, if it is held by another. That somebody asks
 *  at this moment whether it is held makes no difference. */
int os_byte_lock(os_file file, uint64_t byte, int how);
void os_byte_unlock(os_file file, uint64_t byte);

/** Wait for a lock of the whole file that excludes others of its kind only,
 *  and that those get too who may but read. */
int os_file_lock(os_file file);
void os_file_unlock(os_file file);

/** Does anyone but this open file hold a lock in the range? Quiet; yes if
 *  the system will not tell. `kind` OS_SHARED, for bytes that are locked so:
 *  under os_file_lock only, for some systems must take them for a moment. */
bool os_byte_held(os_file file, uint64_t byte, uint64_t count, int kind);

/* ---- Memory ---- */

/** What the addresses of mappings are multiples of, in bytes. */
size_t os_page_size(void);

/** Map a whole file at exactly this address. PSM_E_ADDRESS, quietly, if the
 *  range is not free. */
int os_map(os_file file, void *address, size_t size, bool writable);
void os_unmap(void *address, size_t size);

/** Map the same file once more, in place of the present mapping: that keeps the
 *  open file behind it, and so its locks. */
bool os_remap(os_file file, void *address, size_t size, bool writable);

/** Have nothing there: the range stays taken and may not be touched. */
void os_map_nothing(void *address, size_t size);

/** Map the pages of a range for writing now, if the system can: no promise. */
void os_populate(void *address, size_t size);

enum { OS_LARGE_PAGE = 2 << 20 };

/** Have the memory at a multiple of OS_LARGE_PAGE in one large page, and map it.
 *  Its content stays.
 *
 *  Returns  false if the system cannot, or not now.
 */
bool os_populate_large(void *address);

/** Map one page somewhere, by which os_mapped_beside tells a user of the file.
 *  It also keeps the open file, and so its locks, where mappings do.
 *
 *  Returns  the mapping, for os_unmap with the page size; NULL if none.
 */
void *os_anchor(os_file file);

/** Is there such an address in this process's address space, taken or not? No
 *  also if it is taken and the system does not tell the one from the other. */
bool os_address_exists(const void *address);

/** Could this range be mapped? It is not, afterwards. */
bool os_range_free(void *address, size_t size);

/** Say what lies in a range, in a few words. */
void os_range_describe(const void *address, size_t size, char *text, size_t count);

/** Is the range a mapping of this very file, for writing too if `writable`? */
bool os_range_is(const void *address, size_t size, const struct os_identity *identity,
                 bool writable);

/** Is this file mapped outside of the range as well? Yes if the system will
 *  not tell. */
bool os_mapped_beside(const void *address, size_t size, const struct os_identity *identity);

/* ---- Processes and threads ---- */

uint32_t os_process_id(void);

/** When this process began: low 32 bits of the system's count; 0 if unknown. */
uint32_t os_process_start(void);

/** Sleep until the word is woken or no longer `value`, at most so long. The
 *  word may be shared with other processes. */
void os_wait(_Atomic uint32_t *word, uint32_t value, uint32_t milliseconds);
void os_wake(_Atomic uint32_t *word);

void os_mutex_lock(os_mutex *mutex);
void os_mutex_unlock(os_mutex *mutex);
void os_run_once(os_once *once, void (*function)(void));

/** Call these around every fork of this process, if there is such a thing;
 *  register once. */
void os_on_fork(void (*before)(void), void (*parent)(void), void (*child)(void));

/** Let other threads and processes run. */
void os_thread_yield(void);

/** Call `function` when a thread ends that has called os_thread_watch. */
void os_on_thread_exit(void (*function)(void *));
void os_thread_watch(void *value);

#endif
