/* dlsym() with a library's handle would find the C library's own functions, past ours: a program that looks them up so is
 * given ours, as one that is linked with them. */
#include <dlfcn.h>
#include <string.h>

#include "preload/real.h"

#if defined(__GLIBC__)

/* In the order of the files here. */
static const char *const interposed[] = {
    "sigaction", "signal",  "bsd_signal", "ssignal", "sysv_signal", "__sysv_signal", "sigignore",  "sigset",
    "execve",    "fexecve", "execveat",   "execv",   "execvpe",     "execvp",        "execl",      "execlp",
    "execle",    "prctl",   "syscall",    "mlockall", "sigaltstack", "pthread_create", "siginterrupt", "backtrace",
};

typedef void *look_up(void *handle, const char *name);

/* The C library's own is found by its version, since by its name alone it would be found with the help of itself. It finds
 * one of another preloaded library, which may stand between. */
static look_up *next_dlsym(void) {
    static const char *const versions[] = {"GLIBC_2.34", "GLIBC_2.2.5", "GLIBC_2.17"};
    static look_up *found;
    look_up *last = NULL, *known = __atomic_load_n(&found, __ATOMIC_RELAXED);
    if (known) return known;
    for (size_t i = 0; !last && i < sizeof versions / sizeof *versions; i++)
        last = (look_up *)dlvsym(RTLD_NEXT, "dlsym", versions[i]);
    known = last ? (look_up *)last(RTLD_NEXT, "dlsym") : NULL;
    if (!known) known = last;
    __atomic_store_n(&found, known, __ATOMIC_RELAXED);
    return known;
}

static int is_interposed(const char *name) {
    for (size_t i = 0; i < sizeof interposed / sizeof *interposed; i++)
        if (strcmp(interposed[i], name) == 0) return 1;
    return 0;
}

/* What a library's handle gives, or ours, if that stands in front of the very same function. A program may have put one of
 * its own in front of all. */
static __attribute__((noinline)) void *in_place_of(look_up *next, void *handle, const char *name) {
    void *found = next(handle, name), *first;
    if (!found || next(RTLD_NEXT, name) != found) return found;
    first = next(RTLD_DEFAULT, name);
    return is_ours(first) ? first : found;
}

/* RTLD_NEXT and RTLD_DEFAULT mean who calls, which dlsym() sees by the address to which it returns. So it is called last, by
 * a jump. */
INTERPOSED void *dlsym(void *restrict handle, const char *restrict name) {
    look_up *next = next_dlsym();
    if (!next) return NULL;
    if (handle != RTLD_NEXT && handle != RTLD_DEFAULT && name && is_interposed(name)) return in_place_of(next, handle, name);
    return next(handle, name);
}

#endif
