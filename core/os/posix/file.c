/* Files and the kernel locks on their bytes. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../os.h"

#define SHARED_FOLDER "/dev/shm"

static int fail_errno(const char *doing, const char *path) {
  int error = errno;
  int code = PSM_E_SYSTEM;
  switch (error) {
    case EACCES:
    case EPERM:
    case EROFS:
      code = PSM_E_ACCESS;
      break;
    case ENOSPC:
    case EDQUOT:
      code = PSM_E_NOSPACE;
      break;
    case EFBIG:
      code = PSM_E_SIZE;
      break;
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG:
    case ELOOP:
      code = PSM_E_NAME;
      break;
    case EISDIR:
    case ENXIO:
      code = PSM_E_FILETYPE;
      break;
    default:
      break;
  }
  return psm_fail(code, "cannot %s '%.180s': %s", doing, path, strerror(error));
}

const char *os_shared_folder(void) { return SHARED_FOLDER "/."; }

/* Follows links at the end of the path as open() would, so that the last
 * member removes what the first one made, wherever it stands then. */
static int resolve(const char *path, char *resolved) {
  if (realpath(path, resolved) != NULL) return PSM_OK;
  if (errno != ENOENT) return fail_errno("use the name", path);
  struct stat status;
  if (lstat(path, &status) == 0 && S_ISLNK(status.st_mode))
    return psm_fail(PSM_E_NAME, "'%.200s' is a symbolic link that leads nowhere", path);
  char folder[OS_PATH_MAX];
  const char *slash = strrchr(path, '/');
  const char *file = slash != NULL ? slash + 1 : path;
  size_t length = slash != NULL ? (size_t)(slash - path) : 0;
  if (*file == '\0')
    return psm_fail(PSM_E_NAME, "'%.200s' ends in a slash: name a file in it", path);
  memcpy(folder, path, length);
  if (slash != NULL && length == 0) folder[length++] = '/';
  if (slash == NULL) folder[length++] = '.';
  folder[length] = '\0';
  if (realpath(folder, resolved) == NULL) return fail_errno("find the folder of", path);
  length = strlen(resolved);
  if (length + strlen(file) + 2 > OS_PATH_MAX)
    return psm_fail(PSM_E_NAME, "the path of '%.150s' is longer than %d bytes", path,
                    OS_PATH_MAX - 1);
  if (length > 1) resolved[length++] = '/';
  memcpy(resolved + length, file, strlen(file) + 1);
  return PSM_OK;
}

int os_path_resolve(const char *name, char *path) {
  char full[OS_PATH_MAX];
  size_t length = strlen(name);
  if (length == 0) return psm_fail(PSM_E_NAME, "the name is empty: give a path or shm:NAME");
  if (length + sizeof SHARED_FOLDER + 1 > sizeof full)
    return psm_fail(PSM_E_NAME, "the name is longer than %zu bytes",
                    sizeof full - sizeof SHARED_FOLDER - 2);
  if (strncmp(name, "shm:", 4) != 0) return resolve(name, path);
  name += 4;
  if (*name == '\0' || strchr(name, '/') != NULL || strcmp(name, ".") == 0 ||
      strcmp(name, "..") == 0)
    return psm_fail(PSM_E_NAME, "'shm:%.200s': after shm: stands a name without slashes", name);
  (void)snprintf(full, sizeof full, "%s/%s", SHARED_FOLDER, name);
  return resolve(full, path);
}

int os_file_open(const char *path, int how, uint32_t mode, os_file *file, bool *created) {
  int flags = ((how & OS_WRITE) != 0 ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  struct stat status;
  *created = false;
  /* Create only where there is none: O_CREAT alone is refused in folders that
   * protect files of others, and would follow a link that leads nowhere. */
  for (int tries = 0; tries < 100; tries++) {
    *file = open(path, flags);
    if (*file >= 0 || errno != ENOENT) break;
    if ((how & OS_CREATE) == 0) return PSM_E_NOT_FOUND;
    *file = open(path, flags | O_CREAT | O_EXCL, mode & 07777);
    *created = *file >= 0;
    if (*file >= 0 || errno != EEXIST) break;
  }
  if (*file < 0) return fail_errno(*created ? "create" : "open", path);
  if (*created) (void)fchmod(*file, mode & 07777);
  if (fstat(*file, &status) == 0 && S_ISREG(status.st_mode)) return PSM_OK;
  (void)close(*file);
  *file = OS_NO_FILE;
  return psm_fail(PSM_E_FILETYPE, "'%.200s' is a directory, pipe or device, not a plain file",
                  path);
}

int os_file_reopen(os_file file, const char *path, const struct os_identity *identity, int how,
                   os_file *copy) {
  int flags = ((how & OS_WRITE) != 0 ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK;
  char own[64];
  (void)snprintf(own, sizeof own, "/proc/self/fd/%d", file);
  *copy = os_file_is(file, identity) ? open(own, flags) : -1;
  if (*copy < 0) *copy = open(path, flags);
  if (*copy < 0) return fail_errno("open again", path);
  if (os_file_is(*copy, identity)) return PSM_OK;
  (void)close(*copy);
  *copy = OS_NO_FILE;
  return psm_fail(PSM_E_NOT_FOUND, "'%.200s' was replaced by another file", path);
}

void os_file_close(os_file file) { (void)close(file); }

bool os_file_is(os_file file, const struct os_identity *identity) {
  struct stat status;
  return fstat(file, &status) == 0 && (uint64_t)status.st_dev == identity->device &&
         (uint64_t)status.st_ino == identity->number;
}

bool os_path_is(const char *path, const struct os_identity *identity) {
  struct stat status;
  return stat(path, &status) == 0 && (uint64_t)status.st_dev == identity->device &&
         (uint64_t)status.st_ino == identity->number;
}

int os_file_inspect(os_file file, struct os_identity *identity, uint64_t *size) {
  struct stat status;
  if (fstat(file, &status) != 0) return fail_errno("inspect", "the segment's file");
  identity->device = (uint64_t)status.st_dev;
  identity->number = (uint64_t)status.st_ino;
  *size = (uint64_t)status.st_size;
  return PSM_OK;
}

int os_file_read(os_file file, void *bytes, size_t count, uint64_t offset, size_t *got) {
  *got = 0;
  while (*got < count) {
    ssize_t n = pread(file, (char *)bytes + *got, count - *got, (off_t)(offset + *got));
    if (n == 0) break;
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("read", "the segment's file");
    *got += (size_t)n;
  }
  return PSM_OK;
}

int os_file_write(os_file file, const void *bytes, size_t count, uint64_t offset) {
  size_t done = 0;
  while (done < count) {
    ssize_t n = pwrite(file, (const char *)bytes + done, count - done, (off_t)(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("write", "the segment's file");
    done += (size_t)n;
  }
  return PSM_OK;
}

int os_file_resize(os_file file, uint64_t size) {
  if (ftruncate(file, (off_t)size) == 0) return PSM_OK;
  if (errno == EINVAL)
    return psm_fail(PSM_E_SIZE, "the file system cannot hold a file of %llu bytes",
                    (unsigned long long)size);
  return fail_errno("set the size of", "the segment's file");
}

/* File systems without fallocate make room for what is written: what is there is
 * written once more. Nobody else uses these bytes yet. */
static int commit_by_writing(os_file file, uint64_t offset, uint64_t count) {
  char bytes[4096];
  while (count > 0) {
    size_t part = count < sizeof bytes ? (size_t)count : sizeof bytes;
    ssize_t n = pread(file, bytes, part, (off_t)offset);
    if (n > 0) n = pwrite(file, bytes, (size_t)n, (off_t)offset);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return PSM_E_NOSPACE;
    offset += (uint64_t)n;
    count -= (uint64_t)n;
  }
  return PSM_OK;
}

int os_file_commit(os_file file, uint64_t offset, uint64_t count) {
  int result;
  do {
    result = fallocate(file, 0, (off_t)offset, (off_t)count);
  } while (result != 0 && errno == EINTR);
  if (result == 0) return PSM_OK;
  if (errno == EOPNOTSUPP || errno == ENOSYS) return commit_by_writing(file, offset, count);
  return errno == ENOSPC || errno == EDQUOT ? PSM_E_NOSPACE : PSM_E_SYSTEM;
}

int os_file_punch(os_file file, uint64_t offset, uint64_t count) {
  int how = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  return fallocate(file, how, (off_t)offset, (off_t)count) == 0 ? PSM_OK : PSM_E_SYSTEM;
}

void os_file_remove(const char *path) { (void)unlink(path); }

void os_siblings_read(const char *path, void *bytes, size_t count,
                      bool (*visit)(void *context, size_t got), void *context) {
  char folder[OS_PATH_MAX];
  (void)snprintf(folder, sizeof folder, "%s", path);
  char *slash = strrchr(folder, '/');
  if (slash == NULL) return;
  *(slash == folder ? slash + 1 : slash) = '\0';
  DIR *directory = opendir(folder);
  if (directory == NULL) return;
  bool more = true;
  struct dirent *entry;
  for (int seen = 0; more && seen < 4096 && (entry = readdir(directory)) != NULL; seen++) {
    struct stat status;
    if (fstatat(dirfd(directory), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (!S_ISREG(status.st_mode) || (size_t)status.st_size < count) continue;
    int file = openat(dirfd(directory), entry->d_name,
                      O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (file < 0) continue;
    ssize_t n = pread(file, bytes, count, 0);
    (void)close(file);
    if (n > 0) more = visit(context, (size_t)n);
  }
  (void)closedir(directory);
}

/* Locks belong to the open file description, not to the process: threads of
 * other members in this process count, and fork does not lose them. */
static int lock_call(os_file file, int command, struct flock *lock, int kind, uint64_t byte,
                     uint64_t count) {
  memset(lock, 0, sizeof *lock);
  lock->l_type = (short)kind;
  lock->l_whence = SEEK_SET;
  lock->l_start = (off_t)byte;
  lock->l_len = (off_t)count;
  int result;
  do {
    result = fcntl(file, command, lock);
  } while (result != 0 && errno == EINTR);
  return result;
}

int os_byte_lock(os_file file, uint64_t byte, int how) {
  struct flock lock;
  int command = (how & OS_WAIT) != 0 ? F_OFD_SETLKW : F_OFD_SETLK;
  int kind = (how & OS_SHARED) != 0 ? F_RDLCK : F_WRLCK;
  if (lock_call(file, command, &lock, kind, byte, 1) == 0) return PSM_OK;
  if (errno == EAGAIN || errno == EACCES) return PSM_E_STATE;
  return fail_errno("lock", "the segment's file");
}

void os_byte_unlock(os_file file, uint64_t byte) {
  struct flock lock;
  (void)lock_call(file, F_OFD_SETLK, &lock, F_UNLCK, byte, 1);
}

int os_file_lock(os_file file) {
  int result;
  do {
    result = flock(file, LOCK_EX);
  } while (result != 0 && errno == EINTR);
  return result == 0 ? PSM_OK : fail_errno("lock", "the segment's file");
}

void os_file_unlock(os_file file) { (void)flock(file, LOCK_UN); }

bool os_byte_held(os_file file, uint64_t byte, uint64_t count, int kind) {
  struct flock lock;
  (void)kind; /* the kernel tells of both, and takes nothing */
  if (lock_call(file, F_OFD_GETLK, &lock, F_WRLCK, byte, count) != 0) return true;
  return lock.l_type != F_UNLCK;
}
