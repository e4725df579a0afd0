// Lets the n-th call that changes a file in one folder fail, between `arm` and `disarm`.
// Loaded before libc (LD_PRELOAD). `order` records the calls.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum { KILL = -1, SHORT = -2 };  // all other faults are an errno

static char folder[4096], order[4096];
static int armed, kind, permanent;
static long at, seen, fired, noted;

void arm(const char *path, long number, int fault_kind, int fault_permanent) {
    strncpy(folder, path, sizeof folder - 1);
    kind = fault_kind, permanent = fault_permanent, at = number, seen = fired = noted = 0, armed = 1;
    memset(order, 0, sizeof order);
}

void disarm(void) { armed = 0; }
long times_fired(void) { return fired; }
const char *calls(void) { return order; }

// 0: let the call through.
static int fault(char call, const char *path) {
    if (!armed || !path || strncmp(path, folder, strlen(folder))) return 0;
    if (noted < (long)sizeof order - 1) order[noted++] = call;
    long number = seen++;
    if (at < 0 || !(number == at || (permanent && number > at))) return 0;
    if (kind == SHORT && call != 'W') return 0;
    fired++;
    if (kind == KILL) kill(getpid(), SIGKILL);
    errno = kind;
    return kind;
}

static int fault_of(char call, int file) {
    char link[64], path[4096];
    if (!armed) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return fault(call, path);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define OPENING(name)                                                     \
    int name(const char *path, int flags, ...) {                          \
        va_list more;                                                     \
        va_start(more, flags);                                            \
        int mode = va_arg(more, int);                                     \
        va_end(more);                                                     \
        if (fault(flags & O_CREAT ? 'O' : 'o', path)) return -1;          \
        return REAL(name)(path, flags, mode);                             \
    }
OPENING(open)
OPENING(open64)

#define OPENING_AT(name)                                                  \
    int name(int where, const char *path, int flags, ...) {               \
        va_list more;                                                     \
        va_start(more, flags);                                            \
        int mode = va_arg(more, int);                                     \
        va_end(more);                                                     \
        if (fault(flags & O_CREAT ? 'O' : 'o', path)) return -1;          \
        return REAL(name)(where, path, flags, mode);                      \
    }
OPENING_AT(openat)
OPENING_AT(openat64)

ssize_t write(int file, const void *bytes, size_t count) {
    int error = fault_of('W', file);
    if (error == SHORT) return REAL(write)(file, bytes, (count + 1) / 2);
    return error ? -1 : REAL(write)(file, bytes, count);
}

#define WRITING_AT(name, offset_type)                                     \
    ssize_t name(int file, const void *bytes, size_t count, offset_type offset) { \
        int error = fault_of('W', file);                                  \
        if (error == SHORT) return REAL(name)(file, bytes, (count + 1) / 2, offset); \
        return error ? -1 : REAL(name)(file, bytes, count, offset);       \
    }
WRITING_AT(pwrite, off_t)
WRITING_AT(pwrite64, off64_t)

static char type_of(int file) {
    struct stat status;
    return !fstat(file, &status) && S_ISDIR(status.st_mode) ? 'D' : 'F';
}
int fsync(int file) { return fault_of(type_of(file), file) ? -1 : REAL(fsync)(file); }
int fdatasync(int file) { return fault_of(type_of(file), file) ? -1 : REAL(fdatasync)(file); }

int rename(const char *from, const char *to) { return fault('R', to) ? -1 : REAL(rename)(from, to); }
int renameat(int a, const char *from, int b, const char *to) {
    return fault('R', to) ? -1 : REAL(renameat)(a, from, b, to);
}
int unlink(const char *path) { return fault('U', path) ? -1 : REAL(unlink)(path); }
int unlinkat(int where, const char *path, int flags) {
    return fault('U', path) ? -1 : REAL(unlinkat)(where, path, flags);
}
int ftruncate(int file, off_t length) { return fault_of('T', file) ? -1 : REAL(ftruncate)(file, length); }
int ftruncate64(int file, off64_t length) {
    return fault_of('T', file) ? -1 : REAL(ftruncate64)(file, length);
}
