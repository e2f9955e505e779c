/* What the kernel shows of a program's environment is a piece of its memory. Who has the right may move the end of it;
 * everybody may describe the whole of the memory anew, and so change one number in it. */
#include "preload/block.h"

#include <elf.h>
#include <linux/prctl.h>
#include <stdint.h>
#include <sys/auxv.h>

#include "box/machine.h"

static const Elf64_Phdr *headers(void) { return (const Elf64_Phdr *)getauxval(AT_PHDR); }

/* How far the program lies from where it was linked to; -1: it does not tell. */
static uint64_t bias(void) {
    for (uint64_t i = 0; i < getauxval(AT_PHNUM); i++)
        if (headers()[i].p_type == PT_PHDR) return (uintptr_t)headers() - headers()[i].p_vaddr;
    return (uint64_t)-1;
}

/* Describes the program as the kernel does when it loads one: code is what is executable, data begins with the last
 * part. */
static void describe_program(struct prctl_mm_map *map) {
    map->start_code = (uint64_t)-1;
    for (uint64_t i = 0; i < getauxval(AT_PHNUM); i++) {
        const Elf64_Phdr *part = &headers()[i];
        if (part->p_type != PT_LOAD) continue;
        uint64_t start = part->p_vaddr + bias(), end = start + part->p_filesz;
        if (part->p_flags & PF_X && start < map->start_code) map->start_code = start;
        if (part->p_flags & PF_X && end > map->end_code) map->end_code = end;
        if (start > map->start_data) map->start_data = start;
        if (end > map->end_data) map->end_data = end;
    }
}

/* Fills in the rest. Nothing has been allocated yet, so the break is where it began. */
static void describe_rest(struct prctl_mm_map *map, const struct block *block) {
    map->start_brk = map->brk = (uint64_t)CALL(SYS_brk, 0);
    map->start_stack = (uintptr_t)block->arguments - sizeof(long);
    map->arg_start = (uintptr_t)block->arguments[0];
    map->arg_end = map->env_start = (uintptr_t)block->start;
    map->env_end = (uintptr_t)block->end;
    map->exe_fd = (uint32_t)-1;
}

void show_environment(const struct block *block) {
    struct prctl_mm_map map = {0};
    if (CALL(SYS_prctl, PR_SET_MM, PR_SET_MM_ENV_END, (long)block->end) == 0 || bias() == (uint64_t)-1) return;
    describe_program(&map);
    describe_rest(&map, block);
    CALL(SYS_prctl, PR_SET_MM, PR_SET_MM_MAP, (long)&map, sizeof map);
}
