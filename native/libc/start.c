/* The part of a C library that the guard is linked with in place of the system's. That one asks the processor what it can
 * do before main(), and in a virtual machine each such question ends in the hypervisor: its start cost more than all
 * that the guard has to do. This one does nothing before main(). It has one thread, no locale and no buffers; what it has
 * does what the standard says, as far as the guard uses it. */
#include <elf.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/auxv.h>
#include <unistd.h>

int main(int count, char **words, char **environment);
void begin(long *stack);

char **environ;
static const Elf64_auxv_t *auxiliary;
static uintptr_t stack_top;
static int error, others_error;

enum { STACK_BYTES = 128 << 20 }; /* the kernel maps nothing else so close below our stack */

#if defined(__x86_64__)
__asm__(".text\n.globl _start\n_start: xor %ebp, %ebp\nmov %rsp, %rdi\nand $-16, %rsp\ncall begin\n");
#else
__asm__(".text\n.globl _start\n_start: mov x29, #0\nmov x30, #0\nmov x0, sp\nbl begin\n");
#endif

/* A process that shares our memory has a stack of its own, and must not take its errors for ours. */
int *__errno_location(void) {
    return stack_top - (uintptr_t)__builtin_frame_address(0) < STACK_BYTES ? &error : &others_error;
}

/* Begins with the stack as the kernel left it: the number of words, the words, the environment, and what it tells of the
 * machine. */
void begin(long *stack) {
    int count = (int)*stack;
    stack_top = (uintptr_t)stack;
    char **words = (char **)(stack + 1), **at = environ = words + count + 1;
    while (*at) at++;
    auxiliary = (const void *)(at + 1);
    _exit(main(count, words, environ));
}

unsigned long getauxval(unsigned long kind) {
    for (const Elf64_auxv_t *one = auxiliary; one->a_type != AT_NULL; one++)
        if (one->a_type == kind) return one->a_un.a_val;
    errno = ENOENT;
    return 0;
}

long sysconf(int name) { return name == _SC_PAGESIZE ? (long)getauxval(AT_PAGESZ) : (errno = EINVAL, -1); }
