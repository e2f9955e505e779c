/* The window of the sweep: which process, from where to where, and which of its calls is refused. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "box/identity.h"
#include "trials/sweep.h"

_Static_assert(sizeof(struct order) == ORDER_BYTES, "the supervisor reads this layout");
_Static_assert(sizeof(struct answer) == ANSWER_BYTES, "the supervisor reads this layout");

struct sweep *sweep;
__thread int busy;

static int32_t *self; /* this process, on a page that a fork wipes: a child's calls are not ours to refuse */
static int reached;   /* the nth came, in this window */

int is_in_window(void) { return sweep && sweep->answer.armed && *self && *self == sweep->answer.pid; }

static int32_t *note_self(void) {
    int32_t *note = mmap(NULL, sizeof *note, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (note == MAP_FAILED) return NULL;
    madvise(note, sizeof *note, MADV_WIPEONFORK);
    return note;
}

void open_window(void) {
    *self = sweep->answer.pid = (int32_t)getpid();
    sweep->answer.count = 0;
    reached = 0;
    if (sweep->order.record) sweep->event_count = 0;
    __atomic_store_n(&sweep->answer.armed, 1, __ATOMIC_SEQ_CST);
}

void close_window(void) {
    sweep->answer.armed = 0;
    if (sweep->answer.stage == IN_WINDOW) sweep->answer.stage = AFTER_WINDOW;
}

/* --- which call --- */

static int has_wanted_stack(void) {
    struct stack here;
    take_stack(&here, 0);
    return same_stack(&here, &sweep->order.wanted);
}

/* The first refusal alone: later ones follow from it. */
static void note_refusal(enum family family, uint64_t size) {
    struct answer *answer = &sweep->answer;
    if (answer->refused_at.count) return;
    answer->family = (uint32_t)family;
    answer->size = size;
    take_stack(&answer->refused_at, 0);
}

static int is_later_refused(void) {
    __atomic_add_fetch(&sweep->answer.asked_after, 1, __ATOMIC_RELAXED);
    if (!sweep->order.from_then_on) return 0;
    return !sweep->order.owners_only || asked_by_owner();
}

static int is_refused(enum family family, uint64_t size) {
    const struct order *order = &sweep->order;
    if (reached) return is_later_refused();
    if (order->nth && order->aim == BY_SITE && !has_wanted_stack()) return 0;
    if (__atomic_add_fetch(&sweep->answer.count, 1, __ATOMIC_SEQ_CST) != order->nth) return 0;
    reached = 1;
    note_refusal(family, size);
    return 1;
}

int refuse(enum family family, uint64_t size) {
    if (busy || !is_in_window()) return 0;
    if (!(sweep->order.families & family) || size < sweep->order.least_bytes) return 0;
    int error = errno;
    busy = 1;
    if (sweep->order.record) log_call(family, size);
    int refused = is_refused(family, size);
    if (refused) __atomic_add_fetch(&sweep->answer.refused, 1, __ATOMIC_RELAXED);
    busy = 0;
    errno = error;
    return refused;
}

/* --- the start of a process --- */

static char library[2 * PATH_MAX];

/* Ours is the first in the list; what follows is the program's own. */
static void leave_environment(void) {
    const char *list = getenv(PRELOAD_VARIABLE);
    size_t length = list ? strcspn(list, ":") : 0;
    unsetenv(FD_VARIABLE);
    unsetenv(VICTIM_VARIABLE);
    if (!list || strlen(list) >= sizeof library) return;
    strcpy(library, list);
    if (library[length])
        setenv(PRELOAD_VARIABLE, library + length + 1, 1);
    else
        unsetenv(PRELOAD_VARIABLE);
}

static struct sweep *map(int fd) {
    struct stat status;
    if (fstat(fd, &status) != 0 || status.st_size != (off_t)sizeof(struct sweep)) return NULL;
    struct sweep *mapped = mmap(NULL, sizeof *mapped, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) return NULL;
    if (mapped->order.magic == SWEEP_MAGIC) return mapped;
    munmap(mapped, sizeof *mapped);
    return NULL;
}

/* Whether this process is the one that the variable names. Under a debugger nobody knows its pid beforehand. */
static int is_named(const char *named) {
    char identity[IDENTITY_BYTES];
    if (strcmp(named, "*") == 0) return 1;
    write_identity(identity);
    return strcmp(named, identity) == 0;
}

/* A program may execute another in its place: the order says which of them. */
static int is_next_image(void) {
    uint32_t image = ++sweep->answer.images;
    return !sweep->order.image || sweep->order.image == image;
}

static int waits_for_main, waits_for_mark, waits_for_library;

/* Whether any process of the command may open the window, not only its first. */
static int is_marked(uint32_t window) { return window == AT_MARK || window == AT_ANY_MARK || window == AT_DLOPEN; }

static void take_part(int is_victim) {
    uint32_t window = sweep->order.window;
    waits_for_mark = window == AT_MARK || window == AT_ANY_MARK;
    waits_for_library = window == AT_DLOPEN;
    int is_mine = is_victim && window != AT_CALL && window != AT_MARK && window != AT_DLOPEN && is_next_image();
    waits_for_main = is_mine && window != AT_START;
    if (!is_mine || waits_for_main) return;
    watch_crashes();
    open_window();
}

/* What the victim starts is not swept, unless a mark may come from there. A program that the victim executes in its own
 * place is swept, so the variables stay for that. */
__attribute__((constructor)) static void begin(void) {
    const char *fd_text = getenv(FD_VARIABLE), *named = getenv(VICTIM_VARIABLE);
    if (!fd_text || !named) return;
    int fd = (int)strtol(fd_text, NULL, 10), is_victim = is_named(named);
    struct sweep *mapped = map(fd);
    uint32_t window = mapped ? mapped->order.window : AT_CALL;
    if (!mapped || window == AT_CALL || (!is_victim && !is_marked(window))) {
        leave_environment();
        close(fd);
    }
    self = note_self();
    if (!mapped || !self) return;
    prepare_stacks();
    sweep = mapped;
    take_part(is_victim);
}

/* --- main --- */

typedef int main_function(int, char **, char **);
static main_function *program_main;

static int enter_main(int count, char **words, char **environment) {
    watch_crashes();
    open_window();
    return program_main(count, words, environment);
}

typedef int start_function(main_function *, int, char **, void (*)(void), void (*)(void), void (*)(void), void *);

INTERPOSED int __libc_start_main(main_function *entered, int count, char **words, void (*init)(void),
                                 void (*fini)(void), void (*loader_fini)(void), void *stack_end) {
    start_function *next = (start_function *)dlsym(RTLD_NEXT, "__libc_start_main");
    program_main = entered;
    return next(waits_for_main ? enter_main : entered, count, words, init, fini, loader_fini, stack_end);
}

/* --- marks: a file that is asked for, whether or not it is there --- */

#define MARK_BEGIN "/crash-harness/begin"
#define MARK_END "/crash-harness/end"

static void begin_mark(void) {
    if (sweep->answer.marks++ || !is_marked(sweep->order.window)) return;
    leave_environment();
    watch_crashes();
    open_window();
}

void hear_path(const char *path) {
    if (!sweep || !waits_for_mark || busy || !path || strncmp(path, "/crash-harness/", 15) != 0) return;
    int error = errno;
    busy = 1;
    if (strcmp(path, MARK_BEGIN) == 0) begin_mark();
    if (strcmp(path, MARK_END) == 0 && sweep->answer.marks && is_in_window()) close_window();
    busy = 0;
    errno = error;
}

/* The folders above it may be called like it, too: the name alone counts. */
static int is_wanted_library(const char *path) {
    const char *slash = strrchr(path, '/');
    return strstr(slash ? slash + 1 : path, sweep->order.text) != NULL;
}

void hear_library(const char *path) {
    if (!sweep || !waits_for_library || busy || !path || !is_wanted_library(path)) return;
    int error = errno;
    busy = 1;
    begin_mark();
    busy = 0;
    errno = error;
}
