/* Mappings whose file is not there any more. */
#include "family.h"

#include <sys/mman.h>
#include <unistd.h>

static enum outcome truncated_mapping(const struct shot *shot) {
    (void)shot;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    int fd = memfd_create("truncated", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)page) != 0) return DID_NOT_FIRE;
    void *mapping = mmap(NULL, page, PROT_READ, MAP_SHARED, fd, 0);
    if (mapping == MAP_FAILED || ftruncate(fd, 0) != 0) return DID_NOT_FIRE;
    (void)*launder(mapping);
    return DID_NOT_FIRE;
}

FAMILY(file_faults,
    {.name = "truncated_mapping", .family = "files", .kind = "deterministic", .tiers = "forced", .needs = "",
     .mechanism = "Reads a mapped page of a file that was truncated meanwhile.",
     .expects = "SIGBUS BUS_ADRERR wild", .fire = truncated_mapping});
