#include "guard/charge.h"

#include <errno.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>

enum { TRACER_MS = 1500 }; /* less than the guard waits for the answer */

/* waitid() shows one ended child at a time: once that is the victim, which stays unreaped, the others behind it wait until
 * it is reaped. */
void look_after_children(void *context) {
    const struct charge *charge = context;
    siginfo_t child = {0};
    while (waitid(P_ALL, 0, &child, WEXITED | WNOHANG | WNOWAIT) == 0 && child.si_pid && child.si_pid != charge->victim) {
        waitpid(child.si_pid, NULL, WNOHANG);
        child.si_pid = 0;
    }
    child.si_pid = 0;
    if (waitid(P_PID, (id_t)charge->victim, &child, WSTOPPED | WNOHANG) == 0 && child.si_pid)
        say(charge->line, &(struct word){.kind = STOPPED, .number = child.si_status});
}

/* Where somebody traces the victim, its end is told to the tracer first; that may take a moment, and not for ever. */
static pid_t reap_soon(pid_t victim, int *status, struct rusage *usage) {
    for (int waited_ms = 0;; waited_ms++) {
        pid_t reaped = wait4(victim, status, WNOHANG, usage);
        if (reaped != 0 || waited_ms == TRACER_MS) return reaped;
        poll(NULL, 0, 1);
    }
}

int reap_victim(pid_t victim, struct word *word) {
    struct rusage usage;
    *word = (struct word){.kind = GONE};
    if (reap_soon(victim, &word->number, &usage) != victim) return word->error = ECHILD, -1;
    word->peak_rss_bytes = (uint64_t)usage.ru_maxrss * 1024u;
    word->cpu_us = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000u +
                   (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
    return 0;
}

void let_go(const struct charge *charge) {
    struct word word;
    reap_victim(charge->victim, &word);
    say(charge->line, &word);
}
