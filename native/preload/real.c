#include "preload/real.h"

#include <dlfcn.h>
#include <errno.h>

#include "box/machine.h"

static const char *const names[NAMES] = {"sigaction", "signal", "sigset", "siginterrupt", "pthread_create"};
static void *found[NAMES];
static __thread int is_searching;

void *find_next(void **function, const char *name) {
    void *known = __atomic_load_n(function, __ATOMIC_RELAXED);
    if (known || is_searching) return known;
    is_searching = 1;
    known = dlsym(RTLD_NEXT, name);
    is_searching = 0;
    __atomic_store_n(function, known, __ATOMIC_RELAXED);
    return known;
}

void *real(enum name name) { return find_next(&found[name], names[name]); }

int real_sigaction(int signal_number, const struct sigaction *action, struct sigaction *old) {
    int (*next)(int, const struct sigaction *, struct sigaction *) = real(SIGACTION);
    if (next) return next(signal_number, action, old);
    errno = ENOSYS;
    return -1;
}

extern int __sigaction(int, const struct sigaction *, struct sigaction *) __attribute__((weak));

int first_sigaction(int signal_number, const struct sigaction *action, struct sigaction *old) {
    return __sigaction ? __sigaction(signal_number, action, old) : real_sigaction(signal_number, action, old);
}

long call_kernel(long number, const long words[6]) {
    long result = raw_call(number, words);
    if (result >= 0 || result < -4095) return result;
    errno = (int)-result;
    return -1;
}
