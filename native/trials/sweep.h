#pragma once
/* libcrashsweep.so: refuses one allocation of a program, or each from one on, and tells what came of it.
 *
 * The supervisor and the swept process share one page table of a file, `struct sweep`; its twin is
 * harness/refusals/page.py. What the swept process can write is untrusted there. */
#include <stdint.h>

#include "box/page.h"

#define INTERPOSED __attribute__((visibility("default")))
#define SWEEP_MAGIC 0x50575343u /* "CSWP" */

enum { FRAMES = 32, MODULES = 1024, RANGES = 16, STACKS = 1 << 16, SLOTS = 1 << 18, EVENTS = 1 << 22 };
enum { ORDER_BYTES = 65536, ANSWER_BYTES = 8192, ORDER_HEAD = 584, ANSWER_HEAD = 712 };

/* What is asked for: a bit each, so that an order names several. */
enum family {
    ASKS_MALLOC = 1,
    ASKS_CALLOC = 2,
    ASKS_REALLOC = 4,
    ASKS_ALIGNED = 8,
    ASKS_SHRINK = 16, /* a realloc that would fit where it is */
    ASKS_MMAP = 32,
    ASKS_THREAD = 64,
    ASKS_FORK = 128,
    ASKS_OPEN = 256,
    ASKS_READ = 512,
    ASKS_WRITE = 1024,
    ASKS_SYNC = 2048,
    ASKS_CLOSE = 4096
};

/* Where the window opens in which calls are counted. */
enum window {
    AT_CALL,  /* around a call, by the server of sweep_server.c */
    AT_START, /* with the process */
    AT_MAIN,
    AT_MARK,      /* where the program asks for the file MARK_BEGIN */
    AT_ANY_MARK,  /* at main, and again at a mark if one is met: for a recording */
    AT_DLOPEN     /* where a program opens a library by dlopen; the order's text is a part of its file name */
};

enum aim { BY_INDEX, BY_SITE };

/* How the supervisor judges a module, for "only what an owner asks for". */
enum kind {
    UNJUDGED,
    PLUMBING,    /* the C and C++ runtimes: looked through */
    INTERPRETER, /* looked through, but for the code that runs bytecode */
    OWNER,
    FOREIGN
};

enum stage { IN_WINDOW, AFTER_WINDOW, IN_NEXT_CALL };

/* A frame is the number of its module in the upper 16 bits, and the offset in that module below. */
struct stack {
    uint64_t count;
    uint64_t frames[FRAMES]; /* innermost first */
};

struct module {
    uint32_t kind;
    uint32_t reserved;
    char name[248]; /* its path */
};

struct event {
    uint64_t size;
    uint32_t stack;
    uint32_t family;
};

/* Written by the supervisor before each trial. */
struct order {
    uint32_t magic;
    uint32_t window;
    uint32_t families;
    uint32_t record; /* log every eligible call with its stack */
    uint32_t aim;
    uint32_t from_then_on;
    uint32_t owners_only; /* what comes after the first refusal is refused to owners alone */
    uint32_t other_kind;  /* how a module counts that the supervisor has not judged */
    int32_t error;        /* errno of a refused file operation; 0: a short count */
    uint32_t image;       /* AT_START, AT_MAIN: which program of the process, counted from 1; 0: each */
    uint32_t range_count;
    uint32_t text_bytes;
    uint64_t nth; /* counted from 1: of all, or of those with the wanted stack; 0: refuse nothing */
    uint64_t least_bytes;
    uint64_t low[RANGES], high[RANGES]; /* the interpreter's code that runs bytecode, as offsets */
    struct stack wanted;
    char text[ORDER_BYTES - ORDER_HEAD]; /* for the script of the server, or the name of a library */
};

/* Written by the swept process. */
struct answer {
    int32_t pid;
    uint32_t armed;
    uint32_t stage;
    uint32_t images;
    uint32_t marks;
    uint32_t forks; /* processes started in the window */
    uint32_t family;
    uint32_t crashed; /* the record below is whole */
    uint64_t count;
    uint64_t refused;
    uint64_t asked_after; /* eligible calls after the first refusal */
    int64_t live;         /* blocks allocated and not freed since tracking began */
    uint64_t size;
    struct crash crash;
    struct stack refused_at, crashed_at;
    char text[ANSWER_BYTES - ANSWER_HEAD];
};

struct sweep {
    struct order order;
    struct answer answer;
    uint32_t module_count;
    uint32_t stack_count;
    uint64_t event_count;
    struct module modules[MODULES];
    uint32_t slots[SLOTS]; /* a hash table of the stacks: number + 1 */
    struct stack stacks[STACKS];
    struct event events[EVENTS];
};

/* NULL in a process that is not swept. */
extern struct sweep *sweep;

/* Nonzero while this thread is busy for us: what it asks for then is not the program's. */
extern __thread int busy;

/* --- sweep_window.c --- */

/* Opens the window here: this process is the one that is swept. */
void open_window(void);
void close_window(void);

/* Whether a call that asks for `size` bytes is to fail. Leaves errno alone. */
int refuse(enum family family, uint64_t size);

/* Whether this process is the one in the window, so that what it asks for may be refused. */
int is_in_window(void);

/* Opens or closes the window where a program asks for the file of a mark. */
void hear_path(const char *path);

/* Opens the window where a program opens the library that the order names. */
void hear_library(const char *path);

/* --- sweep_stack.c --- */

/* Takes the stack from the caller on, without this library's own frames. `from` is the address to begin at, or 0. */
void take_stack(struct stack *stack, uint64_t from);
int same_stack(const struct stack *one, const struct stack *other);

/* Whether the innermost frame that counts belongs to an owner. */
int asked_by_owner(void);

/* Appends one call to the recording. */
void log_call(enum family family, uint64_t size);

/* Loads what unwinding needs, and learns where this library is. */
void prepare_stacks(void);

/* Whether an address belongs to a module that is loaded. */
int is_code(uint64_t address);

/* --- sweep_crash.c --- */

/* Installs handlers where nobody else has one; they record each crash with its stack. */
void watch_crashes(void);

/* --- sweep_memory.c --- */

/* Finds the function behind an interposed name. Returns NULL while the search itself asks for memory, which it can do
 * without. */
void *behind(const char *name, void **found);
#define BEHIND(name)                                  \
    ({                                                \
        static void *found;                           \
        (__typeof__(&name))behind(#name, &found);     \
    })
