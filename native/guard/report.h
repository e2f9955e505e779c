#pragma once
/* What goes over the control socket. Each message comes from the guard itself; its twin is supervisor/guard.py. */
#include <stdint.h>

enum { REPORT_MAGIC = 0x47484331, NOTE_MAGIC = 0x47484332 };

enum intent { INTENT_NONE, INTENT_DEADLINE, INTENT_CANCEL, INTENT_ABANDONED };

/* Sent once, at the end. */
struct report {
    uint32_t magic;
    int32_t failed_step;
    int32_t failed_errno;
    int32_t wait_status;
    uint32_t intent;
    int32_t survivors;
    int32_t oom_kills;
    int32_t victim, group; /* as the victim calls itself, and the process group that it was born into */
    int32_t stuck_in_oom;
    int32_t had_terminal; /* at its end */
    int32_t reserved;
    uint64_t cgroup_peak_bytes;
    uint64_t peak_rss_bytes;
    uint64_t cpu_us;
    uint64_t started_ns;
    uint64_t ended_ns;
};

enum subject {
    NOTE_SIGNAL,  /* is about to be sent; answered by TOLD once that is journalled */
    NOTE_STOPPED, /* the victim was stopped by it; answered by RESUME when it is to go on */
    NOTE_ALIVE,   /* the answer to ASK */
};

struct note {
    uint32_t magic;
    uint32_t subject;
    uint32_t intent;
    int32_t signal_number;
};

/* The supervisor's messages, a byte each. */
enum request { TOLD = 'a', CANCEL = 'c', RESUME = 'r', ASK = 'p', ABANDON = 'x' };
