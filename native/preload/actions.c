#include "preload/actions.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>

#include "box/death.h"
#include "box/machine.h"
#include "box/victim.h"
#include "preload/real.h"
#include "preload/stacks.h"

enum { NOT_OURS = -1, SET_BYTES = 8, RESTORER = 0x04000000, TAG_BITS = 0x800 };
enum { KNOWN_FLAGS = (int)(SA_NOCLDSTOP | SA_NOCLDWAIT | SA_SIGINFO | TAG_BITS | SA_ONSTACK | SA_RESTART | SA_NODEFER | SA_RESETHAND) };

static struct sigaction own[CRASH_SIGNALS]; /* the program's, as far as it can tell the ones in force */
static int is_standing, lock;

static int place_of(int signal_number) {
    for (int place = 0; is_standing && place < CRASH_SIGNALS; place++)
        if (crash_signals[place] == signal_number) return place;
    return NOT_OURS;
}

/* --- what stands in front --- */

/* Another thread may set it at this moment. */
static sighandler_t handler_of(int place) { return __atomic_load_n(&own[place].sa_handler, __ATOMIC_ACQUIRE); }

static void call(sighandler_t function, int signal_number, siginfo_t *info, void *context) {
    ((void (*)(int, siginfo_t *, void *))(uintptr_t)function)(signal_number, info, context);
}

/* Whether the stack has overflowed, so that without us the program's handler would have had no room and the program would
 * be dead: only our signal stack lets the handler run. */
static int has_no_room(const siginfo_t *info, const ucontext_t *context) {
    enum { BELOW = 65536, ABOVE = 2048 };
    intptr_t distance = (intptr_t)info->si_addr - (intptr_t)STACK_POINTER(context);
    int is_overflow = info->si_signo == SIGSEGV && info->si_code > 0 && -BELOW <= distance && distance <= ABOVE;
    return is_overflow && is_our_stack(&context->uc_stack);
}

static void die_here(int signal_number, siginfo_t *info, void *context) {
    struct sigaction by_default = {.sa_handler = SIG_DFL};
    real_sigaction(signal_number, &by_default, NULL);
    die_of(signal_number, info, context);
}

/* Does what the kernel does for SA_RESETHAND: the program sees the default action afterwards, and our handler stands in its
 * place again. */
static void note_reset(int place) {
    struct sigaction deadly = deadly_action();
    __atomic_store_n(&own[place].sa_handler, SIG_DFL, __ATOMIC_RELEASE);
    if (is_victim() && writer_here().may_call) real_sigaction(crash_signals[place], &deadly, NULL);
}

/* The mark must stay in this frame while the program's handler is at work, so it is volatile: the compiler may not leave it
 * out. */
static void in_front(int signal_number, siginfo_t *info, void *context) {
    int place = place_of(signal_number);
    sighandler_t function = handler_of(place);
    uint64_t flags = allow_misalignment();
    volatile struct mark here = {NULL, 0};
    if (is_victim()) {
        struct mark mark = chain_record(armed_box(), info, context, writer_here(), (const struct mark *)&here);
        here.link = mark.link;
        here.order = mark.order;
    }
    if (function == SIG_DFL || function == SIG_IGN || has_no_room(info, context)) {
        die_here(signal_number, info, context);
        return;
    }
    if (own[place].sa_flags & SA_RESETHAND) note_reset(place);
    restore_alignment(flags);
    call(function, signal_number, info, context);
    if (is_victim()) chain_returned((struct mark){here.link, here.order}); /* and no child of its handler's */
    here.order = 0;
}

/* --- the program's side --- */

/* The action that we set in the kernel for the one that the program wants. */
static struct sigaction standing_for(const struct sigaction *wanted) {
    struct sigaction action = *wanted;
    if (!is_victim() || wanted->sa_handler == SIG_IGN) return action;
    if (wanted->sa_handler == SIG_DFL) return deadly_action();
    action.sa_sigaction = in_front;
    action.sa_flags |= SA_SIGINFO;
    return action;
}

/* A handler may set an action too, so no signal may come while the lock is held. */
static sigset_t enter(void) {
    sigset_t all, before;
    sigfillset(&all);
    CALL(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&before, SET_BYTES);
    while (__atomic_exchange_n(&lock, 1, __ATOMIC_ACQUIRE)) continue;
    return before;
}

static void leave(sigset_t before) {
    __atomic_store_n(&lock, 0, __ATOMIC_RELEASE);
    CALL(SYS_rt_sigprocmask, SIG_SETMASK, (long)&before, 0, SET_BYTES);
}

/* An action as the kernel would tell it to the program: without signals that can't be blocked, and with what the C library
 * adds to every action. */
static struct sigaction as_told(int place, const struct sigaction *wanted) {
    struct sigaction told = *wanted, now;
    told.sa_flags &= KNOWN_FLAGS | RESTORER;
    sigdelset(&told.sa_mask, SIGKILL);
    sigdelset(&told.sa_mask, SIGSTOP);
    if (told.sa_flags & RESTORER || real_sigaction(crash_signals[place], NULL, &now) != 0) return told;
    told.sa_flags |= now.sa_flags & RESTORER;
    told.sa_restorer = now.sa_restorer;
    return told;
}

static int set_action(int place, const struct sigaction *wanted) {
    struct sigaction before = own[place], action = standing_for(wanted);
    int borrows = borrows_memory(); /* a child by vfork() has actions of its own, but not this table */
    if (!borrows) own[place] = *wanted;
    int result = real_sigaction(crash_signals[place], &action, NULL);
    if (!borrows) own[place] = result == 0 ? as_told(place, wanted) : before;
    return result;
}

static int change(int place, const struct sigaction *action, struct sigaction *old) {
    struct sigaction wanted = action ? *action : (struct sigaction){0};
    int result = 0;
    sigset_t mask = enter();
    struct sigaction before = own[place];
    if (action) result = set_action(place, &wanted);
    leave(mask);
    if (result == 0 && old) *old = before;
    return result;
}

/* RESTORER says that an action came with a restorer of its own, which one by this function never does. */
INTERPOSED int sigaction(int signal_number, const struct sigaction *action, struct sigaction *old) {
    int place = place_of(signal_number);
    if (place == NOT_OURS) return real_sigaction(signal_number, action, old);
    struct sigaction wanted = action ? *action : (struct sigaction){0};
    wanted.sa_flags &= ~RESTORER;
    return change(place, action ? &wanted : NULL, old);
}

/* --- the kernel's own form of it --- */

struct kernel_action {
    sighandler_t handler;
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
};

static struct sigaction from_kernel(const struct kernel_action *given) {
    struct sigaction action = {.sa_handler = given->handler, .sa_flags = (int)given->flags, .sa_restorer = given->restorer};
    memcpy(&action.sa_mask, &given->mask, sizeof given->mask);
    return action;
}

static struct kernel_action to_kernel(const struct sigaction *action) {
    struct kernel_action told = {action->sa_handler, (unsigned)action->sa_flags, action->sa_restorer, 0};
    memcpy(&told.mask, &action->sa_mask, sizeof told.mask);
    return told;
}

int set_by_call(const long words[6], long *result) {
    int place = place_of((int)words[0]);
    const struct kernel_action *given = (const void *)words[1];
    struct kernel_action *old = (void *)words[2];
    if (place == NOT_OURS || words[3] != SET_BYTES) return 0;
    struct sigaction wanted = given ? from_kernel(given) : (struct sigaction){0}, before;
    *result = change(place, given ? &wanted : NULL, &before);
    if (*result == 0 && old) *old = to_kernel(&before);
    return 1;
}

/* --- the older names, each with the flags that it stands for --- */

static sigset_t interrupting; /* those for which siginterrupt() was called: they don't restart */

static sighandler_t set_handler_with(int signal_number, sighandler_t function, int flags) {
    struct sigaction action = {.sa_handler = function, .sa_flags = flags}, old;
    sigemptyset(&action.sa_mask);
    if (flags & SA_RESTART) sigaddset(&action.sa_mask, signal_number);
    if (flags & SA_RESTART && sigismember(&interrupting, signal_number)) action.sa_flags &= ~SA_RESTART;
    return sigaction(signal_number, &action, &old) == 0 ? old.sa_handler : SIG_ERR;
}

static sighandler_t set_simply(int signal_number, sighandler_t function, int flags) {
    sighandler_t (*next)(int, sighandler_t) = real(SIGNAL);
    int is_plain = place_of(signal_number) == NOT_OURS || function == SIG_ERR;
    if (is_plain && next && (flags & SA_RESTART)) return next(signal_number, function);
    return set_handler_with(signal_number, function, flags);
}

INTERPOSED sighandler_t signal(int signal_number, sighandler_t function) {
    return set_simply(signal_number, function, SA_RESTART);
}

INTERPOSED sighandler_t bsd_signal(int signal_number, sighandler_t function) { return signal(signal_number, function); }

INTERPOSED sighandler_t ssignal(int signal_number, sighandler_t function) { return signal(signal_number, function); }

INTERPOSED sighandler_t sysv_signal(int signal_number, sighandler_t function) {
    return set_simply(signal_number, function, SA_RESETHAND | SA_NODEFER);
}

INTERPOSED sighandler_t __sysv_signal(int signal_number, sighandler_t function) {
    return sysv_signal(signal_number, function);
}

INTERPOSED int sigignore(int signal_number) {
    return set_handler_with(signal_number, SIG_IGN, 0) == SIG_ERR ? -1 : 0;
}

INTERPOSED int siginterrupt(int signal_number, int interrupts) {
    int (*next)(int, int) = real(SIGINTERRUPT);
    struct sigaction action;
    if (place_of(signal_number) == NOT_OURS && next) return next(signal_number, interrupts);
    if (sigaction(signal_number, NULL, &action) != 0) return -1;
    if (interrupts) sigaddset(&interrupting, signal_number);
    else sigdelset(&interrupting, signal_number);
    action.sa_flags = interrupts ? action.sa_flags & ~SA_RESTART : action.sa_flags | SA_RESTART;
    return sigaction(signal_number, &action, NULL);
}

/* Blocks for SIG_HOLD, else sets and unblocks; SIG_HOLD is the answer where the signal was blocked. */
INTERPOSED sighandler_t sigset(int signal_number, sighandler_t function) {
    sighandler_t (*next)(int, sighandler_t) = real(SIGSET);
    sigset_t one, before;
    if (place_of(signal_number) == NOT_OURS && next) return next(signal_number, function);
    struct sigaction old = {.sa_handler = SIG_ERR};
    if (function != SIG_HOLD)
        old.sa_handler = set_handler_with(signal_number, function, 0);
    else if (sigaction(signal_number, NULL, &old) != 0)
        return SIG_ERR;
    if (old.sa_handler == SIG_ERR) return SIG_ERR;
    sigemptyset(&one);
    sigaddset(&one, signal_number);
    if (sigprocmask(function == SIG_HOLD ? SIG_BLOCK : SIG_UNBLOCK, &one, &before) != 0) return SIG_ERR;
    return sigismember(&before, signal_number) ? SIG_HOLD : old.sa_handler;
}

/* --- the start --- */

/* A signal that is ignored from the start stays so. */
void stand_in_front(void) {
    const struct sigaction deadly = deadly_action();
    for (int place = 0; place < CRASH_SIGNALS; place++) {
        if (first_sigaction(crash_signals[place], &deadly, &own[place]) != 0) continue;
        if (own[place].sa_handler != SIG_DFL) first_sigaction(crash_signals[place], &own[place], NULL);
    }
    is_standing = 1;
}

void step_aside(void) {
    for (int place = 0; is_standing && place < CRASH_SIGNALS; place++)
        real_sigaction(crash_signals[place], &own[place], NULL);
    is_standing = lock = 0;
}

void leave_to_kernel(int signal_number) {
    struct sigaction action = {.sa_handler = SIG_DFL};
    int place = place_of(signal_number);
    if (place != NOT_OURS && handler_of(place) == SIG_DFL) real_sigaction(signal_number, &action, NULL);
}
