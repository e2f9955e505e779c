/* Stacks of the sweep: each frame as a module's number and an offset, which are the same in each process and run. */
#include <dlfcn.h>
#include <link.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>
#include <unwind.h>

#include "trials/sweep.h"

enum { SEEN = 4 * MODULES, UNKNOWN_MODULE = 0xffff, MODULE_SHIFT = 48, PATIENCE = 100000 };

/* Which of the page's modules each loaded module is. The page numbers modules by name, once for all processes. */
static struct {
    const struct link_map *map;
    uint32_t number;
} seen[SEEN];

static const struct link_map *this_library;
static int held;

/* Takes the lock, or goes on without it after a while: a crash may have come while the lock was held. */
static void take_lock(void) {
    for (int turn = 0; turn < PATIENCE && __atomic_test_and_set(&held, __ATOMIC_ACQUIRE); turn++) sched_yield();
}

static void drop_lock(void) { __atomic_clear(&held, __ATOMIC_RELEASE); }

static const struct link_map *map_of(uint64_t address) {
    struct dl_find_object found;
    return _dl_find_object((void *)(uintptr_t)address, &found) == 0 ? found.dlfo_link_map : NULL;
}

int is_code(uint64_t address) { return map_of(address) != NULL; }

/* --- modules --- */

/* The program itself has no name in the loader's list. */
static void write_name(const struct link_map *map, char name[sizeof sweep->modules[0].name]) {
    size_t room = sizeof sweep->modules[0].name;
    memset(name, 0, room);
    if (*map->l_name)
        strncpy(name, map->l_name, room - 1);
    else if (readlink("/proc/self/exe", name, room - 1) < 0)
        strcpy(name, "?");
}

static uint32_t number_of(const struct link_map *map) {
    char name[sizeof sweep->modules[0].name];
    uint32_t number = 0;
    write_name(map, name);
    for (; number < sweep->module_count && number < MODULES; number++)
        if (strcmp(sweep->modules[number].name, name) == 0) return number;
    if (number >= MODULES) return UNKNOWN_MODULE;
    memcpy(sweep->modules[number].name, name, sizeof name);
    sweep->modules[number].kind = UNJUDGED;
    sweep->module_count = number + 1;
    return number;
}

static uint32_t look_up(const struct link_map *map) {
    size_t at = (uintptr_t)map / 64 % SEEN;
    for (size_t tried = 0; tried < SEEN; tried++, at = (at + 1) % SEEN) {
        if (seen[at].map == map) return seen[at].number;
        if (seen[at].map) continue;
        seen[at].number = number_of(map);
        __atomic_store_n(&seen[at].map, map, __ATOMIC_RELEASE);
        return seen[at].number;
    }
    return UNKNOWN_MODULE;
}

static uint64_t frame_of(uint64_t address, const struct link_map *map) {
    const uint64_t offset_bits = (1ull << MODULE_SHIFT) - 1;
    if (!map) return (uint64_t)UNKNOWN_MODULE << MODULE_SHIFT | (address & offset_bits);
    return (uint64_t)look_up(map) << MODULE_SHIFT | ((address - map->l_addr) & offset_bits);
}

/* --- frames --- */

struct walk {
    struct stack *stack;
    uint64_t from;
};

/* The address of a frame's own code. For a caller, the unwinder gives the return address, which may lie in the next
 * function. */
static uint64_t code_address(struct _Unwind_Context *context) {
    int is_exact = 0;
    uint64_t address = _Unwind_GetIPInfo(context, &is_exact);
    return address && !is_exact ? address - 1 : address;
}

/* Takes one frame. Our own frames are left out: they lie above the one that asked, and below the window. */
static _Unwind_Reason_Code take_frame(struct _Unwind_Context *context, void *argument) {
    struct walk *walk = argument;
    struct stack *stack = walk->stack;
    uint64_t address = code_address(context);
    if (!address) return _URC_END_OF_STACK;
    if (walk->from && address != walk->from) return _URC_NO_REASON;
    walk->from = 0;
    const struct link_map *map = map_of(address);
    if (map == this_library) return stack->count ? _URC_END_OF_STACK : _URC_NO_REASON;
    stack->frames[stack->count] = frame_of(address, map);
    return ++stack->count < FRAMES ? _URC_NO_REASON : _URC_END_OF_STACK;
}

void take_stack(struct stack *stack, uint64_t from) {
    struct walk walk = {stack, from};
    stack->count = 0;
    take_lock();
    _Unwind_Backtrace(take_frame, &walk);
    if (!stack->count && from) stack->frames[stack->count++] = frame_of(from, map_of(from));
    drop_lock();
}

int same_stack(const struct stack *one, const struct stack *other) {
    return one->count == other->count && memcmp(one->frames, other->frames, one->count * sizeof one->frames[0]) == 0;
}

void prepare_stacks(void) {
    this_library = map_of((uint64_t)(uintptr_t)prepare_stacks);
    _Unwind_Backtrace(take_frame, &(struct walk){&(struct stack){0}, ~0ull});
}

/* --- owners --- */

static int runs_bytecode(uint64_t offset) {
    const struct order *order = &sweep->order;
    for (uint32_t at = 0; at < order->range_count && at < RANGES; at++)
        if (offset >= order->low[at] && offset < order->high[at]) return 1;
    return 0;
}

static _Unwind_Reason_Code find_owner(struct _Unwind_Context *context, void *argument) {
    int *is_owner = argument;
    uint64_t address = code_address(context);
    const struct link_map *map = map_of(address);
    if (!address || !map) return _URC_END_OF_STACK;
    if (map == this_library) return _URC_NO_REASON;
    uint32_t number = look_up(map), kind = number < MODULES ? sweep->modules[number].kind : UNJUDGED;
    if (kind == UNJUDGED) kind = sweep->order.other_kind;
    if (kind == PLUMBING) return _URC_NO_REASON;
    if (kind == INTERPRETER && !runs_bytecode(address - map->l_addr)) return _URC_NO_REASON;
    *is_owner = kind == OWNER;
    return _URC_END_OF_STACK;
}

int asked_by_owner(void) {
    int is_owner = 0;
    take_lock();
    _Unwind_Backtrace(find_owner, &is_owner);
    drop_lock();
    return is_owner;
}

/* --- the recording --- */

static uint64_t hash_of(const struct stack *stack) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (uint64_t at = 0; at < stack->count; at++) hash = (hash ^ stack->frames[at]) * 0x100000001b3u;
    return hash ^ hash >> 32;
}

/* Stacks that no longer fit count as the last one. */
static uint32_t keep_stack(const struct stack *stack) {
    uint64_t at = hash_of(stack) % SLOTS;
    for (; sweep->slots[at]; at = (at + 1) % SLOTS) {
        uint32_t number = sweep->slots[at] - 1;
        if (number < STACKS && same_stack(&sweep->stacks[number], stack)) return number;
    }
    if (sweep->stack_count >= STACKS) return STACKS - 1;
    sweep->stacks[sweep->stack_count] = *stack;
    sweep->slots[at] = ++sweep->stack_count;
    return sweep->stack_count - 1;
}

void log_call(enum family family, uint64_t size) {
    struct stack here;
    take_stack(&here, 0);
    take_lock();
    if (sweep->event_count < EVENTS) {
        struct event event = {.size = size, .stack = keep_stack(&here), .family = (uint32_t)family};
        sweep->events[sweep->event_count] = event;
    }
    sweep->event_count++;
    drop_lock();
}
