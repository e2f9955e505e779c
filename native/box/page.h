#pragma once
/* The page that a supervisor shares with its victim. What the victim can write is untrusted there. cffi reads this file
 * too, so it holds no other directive: include <stdint.h> first. Its twin is supervisor/box.py. */

enum { BOX_MAGIC = 0x58424843, /* "CHBX" */ CHAIN_LINKS = 8, MODULE_BYTES = 48, REASON_BYTES = 64 };

/* What has become of a link of the chain. */
enum fate {
    UNUSED = 0,
    WRITING = 1,  /* not whole */
    OPEN = 2,     /* the signal ended the process, or its handler is still at work */
    RETURNED = 3, /* the program's own handler took it, and went on */
    LEFT = 4      /* siglongjmp() left the handler */
};

/* One crash signal, as a handler of ours saw it. */
struct crash {
    int32_t signal;
    int32_t code;
    uint64_t address;
    uint64_t program_counter;
    uint64_t stack_pointer;
    uint64_t offset;       /* of the program counter behind the first byte of `module` */
    int32_t thread;        /* 0: not known */
    int32_t sender;        /* si_pid where code <= 0, else 0 */
    uint32_t order;        /* counts the records of a page, from 1 */
    uint32_t on_alternate; /* whether the stack pointer lay on the thread's alternate signal stack */
    char module[48];       /* MODULE_BYTES; empty: not known */
};

struct link {
    struct crash crash;
    uint32_t checksum; /* Adler-32 of the crash */
    uint32_t fate;
};

struct box {
    uint32_t magic;               /* the supervisor's; arm() refuses without it */
    uint32_t memory_limited;      /* the supervisor's: 1 when a memory limit is in force */
    uint32_t witness;             /* enum outcome */
    int32_t refusal;              /* enum refusal, where the witness says REFUSED */
    uint32_t allocation_failures; /* allocations refused so far, as the faults or the preloaded library saw them */
    uint32_t armed;               /* 1 once the handlers are installed, 0 again across an exec */
    uint32_t counts_allocations;  /* 1 when refusals are counted */
    uint32_t records;             /* so far; more than there are links where some have made room */
    char reason[64];              /* REASON_BYTES: why the last program that was executed does not carry the library */
    struct link chain[8];         /* CHAIN_LINKS */
};
