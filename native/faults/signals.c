/* The look-alikes of a real fault: signals that were sent, and handlers that hide what happened. */
#include "faults/family.h"

#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { FORGED_ADDRESS = 0x1234, PATIENCE_S = 60 };

static void read_null(void) { (void)*launder(NULL); }

static enum outcome raised_segv(const struct shot *shot) {
    (void)shot;
    raise(SIGSEGV);
    return DID_NOT_FIRE;
}

static enum outcome killed_segv(const struct shot *shot) {
    (void)shot;
    kill(getpid(), SIGSEGV);
    return DID_NOT_FIRE;
}

static enum outcome queued_segv(const struct shot *shot) {
    (void)shot;
    sigqueue(getpid(), SIGSEGV, (union sigval){.sival_int = 1});
    return DID_NOT_FIRE;
}

static void *wait_here(void *unused) {
    sleep(PATIENCE_S);
    return unused;
}

static enum outcome thread_segv(const struct shot *shot) {
    pthread_t thread;
    (void)shot;
    if (start_thread(&thread, wait_here, NULL) != 0) return DID_NOT_FIRE;
    pthread_kill(thread, SIGSEGV);
    pthread_join(thread, NULL);
    return DID_NOT_FIRE;
}

/* A process may send itself any siginfo: this one claims a fault that never was. */
static enum outcome forged_segv(const struct shot *shot) {
    siginfo_t forged;
    (void)shot;
    memset(&forged, 0, sizeof forged);
    forged.si_signo = SIGSEGV;
    forged.si_code = SEGV_MAPERR;
    forged.si_addr = (void *)(uintptr_t)FORGED_ADDRESS;
    syscall(SYS_rt_tgsigqueueinfo, getpid(), syscall(SYS_gettid), SIGSEGV, &forged);
    return DID_NOT_FIRE;
}

static enum outcome send_self(int signal_number) {
    signal(signal_number, SIG_DFL);
    kill(getpid(), signal_number);
    return DID_NOT_FIRE;
}

static enum outcome killed(const struct shot *shot) {
    (void)shot;
    return send_self(SIGKILL);
}

static enum outcome terminated(const struct shot *shot) {
    (void)shot;
    return send_self(SIGTERM);
}

static enum outcome hung_up(const struct shot *shot) {
    (void)shot;
    return send_self(SIGHUP);
}

static enum outcome alarm_clock(const struct shot *shot) {
    (void)shot;
    signal(SIGALRM, SIG_DFL);
    ualarm(1000, 0);
    sleep(PATIENCE_S);
    return DID_NOT_FIRE;
}

/* The kernel kills with a blocked or ignored signal all the same, but no handler sees it. */
static enum outcome blocked_segv(const struct shot *shot) {
    sigset_t one;
    (void)shot;
    sigemptyset(&one);
    sigaddset(&one, SIGSEGV);
    sigprocmask(SIG_BLOCK, &one, NULL);
    read_null();
    return DID_NOT_FIRE;
}

static enum outcome ignored_segv(const struct shot *shot) {
    (void)shot;
    signal(SIGSEGV, SIG_IGN);
    read_null();
    return DID_NOT_FIRE;
}

static enum outcome ignored_raise(const struct shot *shot) {
    (void)shot;
    signal(SIGSEGV, SIG_IGN);
    raise(SIGSEGV);
    return SILENT;
}

static void burn(rlim_t soft_s, rlim_t hard_s) {
    struct rlimit limit = {.rlim_cur = soft_s, .rlim_max = hard_s};
    if (setrlimit(RLIMIT_CPU, &limit) != 0) return;
    for (volatile unsigned turn = 0;; turn++) continue;
}

static enum outcome cpu_limit(const struct shot *shot) {
    (void)shot;
    signal(SIGXCPU, SIG_DFL);
    burn(1, 2);
    return DID_NOT_FIRE;
}

static enum outcome cpu_limit_hard(const struct shot *shot) {
    (void)shot;
    signal(SIGXCPU, SIG_IGN);
    burn(1, 1);
    return DID_NOT_FIRE;
}

#define SIGNALS .family = "signals", .kind = "deterministic", .tiers = "forced", .needs = ""

FAMILY(signal_faults,
    {SIGNALS, .name = "raised_segv", .fire = raised_segv,
     .mechanism = "Raises SIGSEGV: a signal that was sent, not a crash.", .expects = "SIGSEGV SI_TKILL self"},
    {SIGNALS, .name = "killed_segv", .fire = killed_segv,
     .mechanism = "Sends itself SIGSEGV by kill().", .expects = "SIGSEGV SI_USER self"},
    {SIGNALS, .name = "queued_segv", .fire = queued_segv,
     .mechanism = "Sends itself SIGSEGV by sigqueue().", .expects = "SIGSEGV SI_QUEUE self"},
    {SIGNALS, .name = "thread_segv", .fire = thread_segv,
     .mechanism = "Sends a worker thread SIGSEGV.", .expects = "SIGSEGV SI_TKILL self"},
    {SIGNALS, .name = "forged_segv", .fire = forged_segv,
     .mechanism = "Sends itself a SIGSEGV that claims to be a fault at 0x1234.",
     .expects = "SIGSEGV SEGV_MAPERR null"},
    {SIGNALS, .name = "killed", .fire = killed,
     .mechanism = "Sends itself SIGKILL, which looks like an OOM kill.", .expects = "SIGKILL"},
    {SIGNALS, .name = "terminated", .fire = terminated,
     .mechanism = "Sends itself SIGTERM, which looks like an orderly stop.", .expects = "SIGTERM"},
    {SIGNALS, .name = "hung_up", .fire = hung_up, .mechanism = "Sends itself SIGHUP.", .expects = "SIGHUP"},
    {SIGNALS, .name = "alarm_clock", .fire = alarm_clock,
     .mechanism = "Lets an alarm end it.", .expects = "SIGALRM"},
    {SIGNALS, .name = "blocked_segv", .fire = blocked_segv,
     .mechanism = "Reads through NULL with SIGSEGV blocked: a crash without a record.", .expects = "SIGSEGV"},
    {SIGNALS, .name = "ignored_segv", .fire = ignored_segv,
     .mechanism = "Reads through NULL with SIGSEGV ignored: a crash without a record.", .expects = "SIGSEGV"},
    {.family = "signals", .kind = "silent", .tiers = "forced", .needs = "", .name = "ignored_raise",
     .fire = ignored_raise, .mechanism = "Raises a SIGSEGV that is ignored, and goes on.", .expects = "silent"},
    {SIGNALS, .name = "cpu_limit", .fire = cpu_limit,
     .mechanism = "Runs into the soft limit on processor time.", .expects = "SIGXCPU"},
    {SIGNALS, .name = "cpu_limit_hard", .fire = cpu_limit_hard,
     .mechanism = "Runs into the hard limit on processor time, which looks like an OOM kill.",
     .expects = "SIGKILL"});
