#pragma once
/* The page that a supervisor shares with its victim. What the victim can write is untrusted there. cffi reads this file
 * too, so it holds no other directive: include <stdint.h> first. Its twin is supervisor/box.py. */

enum { BOX_MAGIC = 0x58424843, /* "CHBX" */ CHAIN_LINKS = 8, MODULE_BYTES = 48, REASON_BYTES = 64 };

/* Whether the handlers are in place in the program that the victim executes. */
enum arms { UNARMED = 0, ARMED_NOW = 1, EXPECTED = 2 /* the program that was just executed is to take the box */ };

/* What has become of a link of the chain. */
enum fate {
    UNUSED = 0,
    WRITING = 1,  /* not whole */
    OPEN = 2,     /* the signal ended the process, or its handler is still at work */
    RETURNED = 3, /* the program's own handler took it, and went on */
    LEFT = 4      /* siglongjmp() left the handler */
};

/* What is said of a crash beyond its numbers. */
enum crash_flag {
    ON_ALTERNATE = 1, /* the stack pointer lay on the thread's alternate signal stack */
    NO_CODE = 2,      /* the witness can't know it */
    NO_ADDRESS = 4,   /* nor this, nor the sender */
    HANDLED_THERE = 8 /* the handler's frame lies on the alternate signal stack */
};

/* One crash signal, as a handler of ours saw it, or another witness. */
struct crash {
    int32_t signal;
    int32_t code;
    uint64_t address;
    uint64_t program_counter;
    uint64_t stack_pointer;
    uint64_t offset; /* of the program counter behind the first byte of `module` */
    uint64_t frame;  /* of the program's own handler, 0 where there is none: it holds `order` as long as it is at work */
    int32_t thread;  /* 0: not known */
    int32_t sender;  /* si_pid where code <= 0, else 0 */
    uint32_t order;  /* counts the records of a page, from 1 */
    uint32_t flags;  /* enum crash_flag */
    char module[48]; /* MODULE_BYTES; empty: not known */
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
    uint32_t armed;               /* enum arms */
    uint32_t counts_allocations;  /* 1 when refusals are counted */
    uint32_t records;             /* so far; more than there are links where some have made room */
    char reason[64];              /* REASON_BYTES: why the last program that was executed does not carry the library */
    struct link chain[8];         /* CHAIN_LINKS */
};
