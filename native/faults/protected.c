/* Built with the stack protector, which the other faults are built without. */
#include "faults/family.h"

__attribute__((noinline)) void overflow_protected_buffer(int bytes) {
    char buffer[16];
    volatile char *start = launder(buffer);
    for (int at = 0; at < bytes; at++) start[at] = 0x41;
}
