/* libcrashbox.so: carries the black box into a foreign command, by LD_PRELOAD. It arms the one process that the guard has
 * named, again after each exec of that process, and hands itself on to no other.
 *
 * The program is to see nothing of it: no variable, no descriptor, no handler, no signal stack, no allocation. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "box/victim.h"
#include "preload/actions.h"
#include "preload/counting.h"
#include "preload/environment.h"
#include "preload/stacks.h"
#include "preload/threads.h"

static struct box *open_box(void) {
    int fd = open(handed_over()->place, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return NULL;
    struct box *box = map_box(fd);
    close(fd);
    return box;
}

/* One that is linked into the program itself, where no library tells of it. It has handlers and stacks of its own, and
 * minds those of others. */
extern char __asan_init[], __hwasan_init[], __lsan_init[], __msan_init[], __tsan_init[];
#pragma weak __asan_init
#pragma weak __hwasan_init
#pragma weak __lsan_init
#pragma weak __msan_init
#pragma weak __tsan_init

static int has_sanitizer(void) {
    char *const marks[] = {__asan_init, __hwasan_init, __lsan_init, __msan_init, __tsan_init};
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++)
        if (marks[i]) return 1;
    return 0;
}

static void arm_program(struct box *box) {
    if (has_sanitizer()) {
        note_reason(box, NULL, "a sanitizer is linked into the program");
        return;
    }
    if (handed_over()->is_filtered) note_filter();
    if (*handed_over()->program) chain_name_program(handed_over()->program);
    prepare_stacks(box->memory_limited);
    stand_in_front();
    follow_forks();
    box->armed = ARMED_NOW;
    box->counts_allocations = (uint32_t)counts_allocations();
    box->reason[0] = '\0'; /* by hand: what writes it otherwise would have to be mapped in every program */
}

/* Whether the box waits for this program. A process with the same pid in another PID namespace is not the one that it waits
 * for. */
static int is_expected(struct box *box) {
    uint32_t expected = EXPECTED;
    return __atomic_compare_exchange_n(&box->armed, &expected, UNARMED, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

static void begin_with(char **arguments, char **environment) {
    if (take_variables(arguments, environment) != 0 || handed_over()->process != getpid()) return;
    struct box *box = open_box();
    if (box && is_expected(box) && adopt_box(box) == 0) arm_program(box);
}

/* Before anybody else's, so that no other library sees the variables. The C library has not noted the environment yet.
 * The program begins with the errno that it would begin with. */
__attribute__((constructor)) static void begin(int count, char **arguments, char **environment) {
    int error = errno;
    (void)count;
    begin_with(arguments, environment);
    errno = error;
}
