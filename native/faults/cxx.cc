/* What C++ makes of a program that is at its end: its runtime says so on stderr and calls abort(). Where there is no
 * C++ compiler this file is compiled as C: the rows stay, and say that they can't be fired. */
#ifdef __cplusplus
#include <cerrno>
#include <cstdint>
#include <exception>
#include <new>
#include <unistd.h>

extern "C" {
#include "faults/family.h"
}

#ifndef __clang__
#pragma GCC diagnostic ignored "-Wterminate" /* it does, and must */
#endif

/* Seen from outside: else the compiler would know all shapes there are, and call the only draw() there is. */
namespace shapes {

struct shape {
    shape() { call(this); }
    virtual ~shape() {}
    static void call(shape *self) { ((shape *)launder(self))->draw(); }
    virtual void draw() = 0;
};

struct circle : shape {
    void draw() override {}
};

}  // namespace shapes

namespace {

/* An exception whose what() costs no string, and so no more of the library than is needed. */
struct fault_exception : std::exception {
    const char *what() const noexcept override { return "nobody catches this"; }
};

enum outcome terminate_call(const struct shot *) { std::terminate(); }

enum outcome uncaught_exception(const struct shot *) { throw fault_exception(); }

void promise_not_to_throw() noexcept { throw fault_exception(); }

enum outcome noexcept_throw(const struct shot *) {
    promise_not_to_throw();
    return DID_NOT_FIRE;
}

struct throws_late {
    ~throws_late() { throw fault_exception(); }
};

/* The second exception would be on its way before the first has arrived. */
enum outcome throwing_destructor(const struct shot *) {
    try {
        throws_late local;
        throw fault_exception();
    } catch (const std::exception &) {
    }
    return DID_NOT_FIRE;
}

enum outcome pure_virtual_call(const struct shot *) {
    shapes::circle whole;
    whole.draw();
    return DID_NOT_FIRE;
}

/* Called before operator new gives up. */
void note_refusal() {
    allocation_refused();
    std::set_new_handler(nullptr);
}

/* More than an address space has: it is refused, and takes nothing from anyone. */
void ask_for_too_much() {
    volatile std::size_t bytes = SIZE_MAX / 4;
    std::set_new_handler(note_refusal);
    (void)launder(operator new(bytes));
}

enum outcome bad_alloc(const struct shot *) {
    ask_for_too_much();
    return DID_NOT_FIRE;
}

enum outcome caught_bad_alloc(const struct shot *) {
    static const char text[] = "out of memory, and going on without\n";
    try {
        ask_for_too_much();
    } catch (const std::bad_alloc &) {
        return write(STDERR_FILENO, text, sizeof text - 1) < 0 ? DID_NOT_FIRE : DONE;
    }
    return DID_NOT_FIRE;
}

void *throw_here(void *) { throw fault_exception(); }

enum outcome thread_exception(const struct shot *) {
    pthread_t thread;
    if (start_thread(&thread, throw_here, nullptr) == 0) pthread_join(thread, nullptr);
    return DID_NOT_FIRE;
}

void *keep_exception(void *kept) {
    try {
        throw fault_exception();
    } catch (...) {
        *static_cast<std::exception_ptr *>(kept) = std::current_exception();
    }
    return nullptr;
}

enum outcome handed_on_exception(const struct shot *) {
    pthread_t thread;
    std::exception_ptr kept;
    if (start_thread(&thread, keep_exception, &kept) != 0) return DID_NOT_FIRE;
    pthread_join(thread, nullptr);
    std::rethrow_exception(kept);
}

}  // namespace

#define FIRE(function) .fire = function
#else
#include "faults/family.h"

static enum outcome absent(const struct shot *shot) {
    (void)shot;
    return DID_NOT_FIRE;
}

#define FIRE(function) .fire = absent
#endif

/* C++ wants the members in their order. */
#define ROW(row_name, row_mechanism)                                                                             \
    {.name = #row_name, .family = "cxx", .mechanism = row_mechanism, .kind = "deterministic", .tiers = "forced", \
     .needs = "cxx", .expects = "SIGABRT SI_TKILL self", .parameters = {}, FIRE(row_name)}

FAMILY(cxx_faults,
    ROW(terminate_call, "Calls std::terminate()."),
    ROW(uncaught_exception, "Throws an exception that nobody catches."),
    ROW(noexcept_throw, "Throws out of a function that promised not to throw."),
    ROW(throwing_destructor, "Throws in a destructor while another exception unwinds the stack."),
    ROW(pure_virtual_call, "Calls a pure virtual function of an object that is still being made."),
    ROW(bad_alloc, "Asks `operator new` for more than there can be, and lets std::bad_alloc go."),
    {.name = "caught_bad_alloc", .family = "cxx",
     .mechanism = "Asks `operator new` for more than there can be, catches std::bad_alloc, says so and goes on.",
     .kind = "control", .tiers = "forced", .needs = "cxx", .expects = "done", .parameters = {},
     FIRE(caught_bad_alloc)},
    ROW(thread_exception, "Lets an exception leave the function of a thread."),
    ROW(handed_on_exception, "Takes an exception from another thread and throws it again; nobody catches it."));
