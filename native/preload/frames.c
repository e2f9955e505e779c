/* A program that lists the frames of its stack finds none of ours: neither those between the kernel and its signal handler,
 * nor those below a thread's. */
#include <dlfcn.h>
#include <link.h>
#include <stdint.h>
#include <string.h>
#include <unwind.h>

#include "preload/real.h"

extern const char __ehdr_start[] __attribute__((visibility("hidden"))), _end[] __attribute__((visibility("hidden")));

int is_ours(const void *address) {
    return (uintptr_t)address >= (uintptr_t)__ehdr_start && (uintptr_t)address < (uintptr_t)_end;
}

enum { OURS_AT_MOST = 4, FEW = 64 };

static int without_ours(void *const *all, int count, void **frames, int size) {
    int kept = 0;
    for (int i = 0; i < count && kept < size; i++)
        if (!is_ours(all[i])) frames[kept++] = all[i];
    return kept;
}

/* Where a list is full although some were ours, it asks for a few more. A long list is left without its last ones then: a
 * handler's stack may be small. */
INTERPOSED int backtrace(void **frames, int size) {
    static void *found;
    int (*next)(void **, int) = find_next(&found, "backtrace");
    if (!next || size <= 0) return 0;
    int count = next(frames, size), kept = without_ours(frames, count, frames, size);
    if (kept == count || count < size || size > FEW) return kept;
    void *all[FEW + OURS_AT_MOST];
    return without_ours(all, next(all, size + OURS_AT_MOST), frames, size);
}

/* --- the compiler's own runtime, which may be loaded late, and where only the caller finds it --- */

struct walk {
    uintptr_t (*address_of)(struct _Unwind_Context *);
    _Unwind_Trace_Fn tell;
    void *argument;
};

static _Unwind_Reason_Code tell(struct _Unwind_Context *context, void *argument) {
    const struct walk *walk = argument;
    if (walk->address_of && is_ours((const void *)walk->address_of(context))) return _URC_NO_REASON;
    return walk->tell(context, walk->argument);
}

static void *find_for(const void *caller, const char *name) {
    Dl_info info;
    struct link_map *map = NULL;
    void *found = dlsym(RTLD_NEXT, name);
    if (found || !dladdr1(caller, &info, (void **)&map, RTLD_DL_LINKMAP) || !map) return found;
    void *handle = dlopen(map->l_name, RTLD_LAZY | RTLD_NOLOAD);
    return handle ? dlsym(handle, name) : NULL;
}

/* Looks once: a handler may ask, where the loader's lock must not be taken. */
static void *find_once(void **known, const void *caller, const char *name) {
    void *found = __atomic_load_n(known, __ATOMIC_RELAXED);
    if (found) return found;
    found = find_for(caller, name);
    if (is_ours(found)) return NULL;
    __atomic_store_n(known, found, __ATOMIC_RELAXED);
    return found;
}

INTERPOSED _Unwind_Reason_Code _Unwind_Backtrace(_Unwind_Trace_Fn function, void *argument) {
    static void *backtrace_found, *address_found;
    const void *caller = __builtin_return_address(0);
    _Unwind_Reason_Code (*next)(_Unwind_Trace_Fn, void *) = find_once(&backtrace_found, caller, "_Unwind_Backtrace");
    struct walk walk = {find_once(&address_found, caller, "_Unwind_GetIP"), function, argument};
    return next ? next(tell, &walk) : _URC_END_OF_STACK;
}
