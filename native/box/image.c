#include "box/image.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "box/handover.h"

enum { MOST_SCRIPTS = 5, HEAD_BYTES = 2048, NAME_BYTES = 256, ENTRIES = 32, MOST_ENTRIES = 512 }; /* the kernel follows as many scripts */

#if defined(__x86_64__)
#define PROCESSOR "x86-64"
enum { MACHINE = EM_X86_64 };
#else
#define PROCESSOR "aarch64"
enum { MACHINE = EM_AARCH64 };
#endif

#if !defined(__GLIBC__)
#define LOADER "ld-musl-"
#elif defined(__x86_64__)
#define LOADER "ld-linux-x86-64.so.2"
#else
#define LOADER "ld-linux-aarch64.so.1"
#endif

/* A program file: its first bytes, and where the parts lie that decide. */
struct look {
    int fd;
    ssize_t length;
    union {
        char text[HEAD_BYTES];
        Elf64_Ehdr header;
    } head;
};

static const char sanitized[] = "is built with a sanitizer";

static const char *last_part(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* A sanitizer refuses to run unless it is loaded first. */
static int is_sanitizer(const char *library) {
    static const char *const names[] = {"libasan", "libhwasan", "liblsan", "libmsan", "libtsan"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (begins_with(library, names[i])) return 1;
    return begins_with(library, "libclang_rt.") && strstr(library, "san");
}

static int preloads_sanitizer(char *const *environment) {
    for (; environment && *environment; environment++) {
        if (!begins_with(*environment, list_prefix)) continue;
        for (const char *at = *environment; (at = strpbrk(at, "=: /")); at++)
            if (is_sanitizer(at + 1)) return 1;
    }
    return 0;
}

/* --- what the file would give: the loader ignores LD_PRELOAD for a program with rights that we have not --- */

static const char *look_at_rights(const struct look *look) {
    struct stat status;
    if (fstat(look->fd, &status) != 0) return NULL;
    int gains_user = status.st_mode & S_ISUID && status.st_uid != geteuid();
    int gains_group = status.st_mode & S_ISGID && status.st_gid != getegid();
    if (gains_user || gains_group) return "is a privileged executable";
    if (geteuid() != 0 && fgetxattr(look->fd, "security.capability", NULL, 0) > 0) return "has capabilities of its own";
    return NULL;
}

/* --- what would load it, and which libraries it wants --- */

static const Elf64_Phdr *segment(const struct look *look, uint32_t kind, int skip) {
    const Elf64_Ehdr *header = &look->head.header;
    const Elf64_Phdr *first = (const void *)(look->head.text + header->e_phoff);
    for (int i = 0; i < header->e_phnum; i++)
        if (first[i].p_type == kind && skip-- == 0) return first + i;
    return NULL;
}

static void read_name(const struct look *look, char name[NAME_BYTES], uint64_t offset) {
    ssize_t length = pread(look->fd, name, NAME_BYTES - 1, (off_t)offset);
    name[length < 0 ? 0 : length] = '\0';
}

/* The place in the file from which an address of memory is loaded. */
static uint64_t offset_of(const struct look *look, uint64_t address) {
    const Elf64_Phdr *loaded;
    for (int i = 0; (loaded = segment(look, PT_LOAD, i)) != NULL; i++)
        if (address - loaded->p_vaddr < loaded->p_filesz) return address - loaded->p_vaddr + loaded->p_offset;
    return 0;
}

/* Reads the entries of a dynamic section, at most ENTRIES at a time. Returns how many there are up to the last. */
static int read_entries(const struct look *look, const Elf64_Phdr *dynamic, int first, Elf64_Dyn entries[ENTRIES]) {
    off_t at = (off_t)(dynamic->p_offset + (uint64_t)first * sizeof *entries);
    ssize_t length = first < MOST_ENTRIES ? pread(look->fd, entries, ENTRIES * sizeof *entries, at) : 0;
    int count = length < 0 ? 0 : (int)((size_t)length / sizeof *entries);
    for (int i = 0; i < count; i++)
        if (entries[i].d_tag == DT_NULL) return i;
    return count;
}

static uint64_t find_strings(const struct look *look, const Elf64_Phdr *dynamic) {
    Elf64_Dyn entries[ENTRIES];
    for (int first = 0, count = ENTRIES; count == ENTRIES; first += ENTRIES) {
        count = read_entries(look, dynamic, first, entries);
        for (int i = 0; i < count; i++)
            if (entries[i].d_tag == DT_STRTAB) return offset_of(look, entries[i].d_un.d_ptr);
    }
    return 0;
}

/* Whether the program wants a sanitizer's library. The file may be wrong on purpose, so no size is taken from it
 * unchecked. */
static int needs_sanitizer(const struct look *look) {
    Elf64_Dyn entries[ENTRIES];
    const Elf64_Phdr *dynamic = segment(look, PT_DYNAMIC, 0);
    uint64_t strings = dynamic ? find_strings(look, dynamic) : 0;
    for (int first = 0, count = dynamic ? ENTRIES : 0; count == ENTRIES; first += ENTRIES) {
        count = read_entries(look, dynamic, first, entries);
        for (int i = 0; i < count; i++) {
            char library[NAME_BYTES];
            if (entries[i].d_tag != DT_NEEDED) continue;
            read_name(look, library, strings + entries[i].d_un.d_val);
            if (is_sanitizer(library)) return 1;
        }
    }
    return 0;
}

/* A linker puts the program headers right behind the header; a file that has them elsewhere is refused. */
static int is_whole(const struct look *look) {
    const Elf64_Ehdr *header = &look->head.header;
    if (look->length < (ssize_t)sizeof *header || header->e_phentsize != sizeof(Elf64_Phdr)) return 0;
    uint64_t bytes = (uint64_t)header->e_phnum * sizeof(Elf64_Phdr);
    return header->e_phoff <= (uint64_t)look->length && bytes <= (uint64_t)look->length - header->e_phoff;
}

static const char *look_at_program(const struct look *look) {
    const Elf64_Ehdr *header = &look->head.header;
    char loader[NAME_BYTES];
    if (!is_whole(look)) return "is no executable that we understand";
    if (header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_machine != MACHINE) return "is no " PROCESSOR " executable";
    const Elf64_Phdr *wanted = segment(look, PT_INTERP, 0);
    if (!wanted) return "is a static executable";
    read_name(look, loader, wanted->p_offset);
    if (!begins_with(last_part(loader), LOADER)) return "has another loader";
    return needs_sanitizer(look) ? sanitized : look_at_rights(look);
}

/* --- scripts --- */

static const char *interpreter_of(struct look *look) {
    char *start = look->head.text + 2, *end = look->head.text + look->length;
    while (start < end && (*start == ' ' || *start == '\t')) start++;
    char *stop = start;
    while (stop < end && !strchr(" \t\n", *stop)) stop++;
    *stop = '\0';
    return start;
}

static int open_image(const struct image *image) {
    return image->path ? open(image->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) : image->fd;
}

static int is_script(const struct look *look) { return look->length > 2 && begins_with(look->head.text, "#!"); }

static int is_program(const struct look *look) { return look->length >= SELFMAG && memcmp(look->head.text, ELFMAG, SELFMAG) == 0; }

static const char *look_at(struct look *look, const struct image *image) {
    look->fd = open_image(image);
    if (look->fd < 0) return errno == ENOENT ? NULL : "can't be read";
    look->length = pread(look->fd, look->head.text, HEAD_BYTES - 1, 0);
    const char *why = look->length < 0 ? "can't be read" : is_program(look) ? look_at_program(look) : NULL;
    if (image->path) close(look->fd);
    return why;
}

/* What will be executed for the file that was looked at: a script's interpreter, and a shell for a text; NULL: itself. */
static const char *next_of(struct look *look) {
    if (look->fd < 0 || is_program(look)) return NULL;
    return is_script(look) ? interpreter_of(look) : "/bin/sh";
}

/* Whether a variable makes the loader list or check libraries: it would list ours too. */
static int tells_of_libraries(char *const *environment) {
    static const char *const asked[] = {"LD_TRACE_LOADED_OBJECTS=", "LD_DEBUG=", "LD_AUDIT="};
    for (; environment && *environment; environment++)
        for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++)
            if (begins_with(*environment, asked[i])) return 1;
    return 0;
}

/* Opened, since a rule may forbid what the file's rights allow. */
static int can_open(const char *path, int flags) {
    int fd = open(path, flags | O_CLOEXEC);
    return fd >= 0 && close(fd) == 0;
}

/* Whether the program can open what it would be handed. */
static const char *look_at_surroundings(const struct handover *handover, char *const *environment) {
    if (preloads_sanitizer(environment)) return "a sanitizer is preloaded";
    if (tells_of_libraries(environment)) return "the loader is to tell of the libraries";
    if (!can_open(handover->library, O_RDONLY)) return "the library can't be read from there";
    if (!can_open(handover->place, O_RDWR)) return "the page can't be reached from there";
    return NULL;
}

int can_carry(struct handover *handover, const struct image *image, char *const *environment, struct box *box) {
    struct look look;
    struct image next = *image;
    char path[NAME_BYTES]; /* of a script's interpreter, for which the kernel has no more room either */
    const char *why = look_at_surroundings(handover, environment), *name = NULL;
    for (int depth = 0; !why && depth < MOST_SCRIPTS; depth++) {
        name = next.path ? next.path : "the program";
        why = look_at(&look, &next);
        const char *following = why ? NULL : next_of(&look);
        if (!following) break;
        snprintf(path, sizeof path, "%s", following);
        next = (struct image){path, -1};
    }
    snprintf(handover->program, sizeof handover->program, "%.*s", MODULE_BYTES - 1, name ? last_part(name) : "");
    if (strchr(handover->program, ';')) *handover->program = '\0'; /* a mark of ours */
    note_reason(box, why ? name : NULL, why);
    return !why;
}

int is_sanitized(const struct image *image) {
    struct look look;
    return look_at(&look, image) == sanitized;
}
