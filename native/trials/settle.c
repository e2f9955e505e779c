/* Makes a fork of a large process cheap, and keeps it whole.
 *
 * An interpreter has some three megabytes of its own, nearly all of which a victim never looks at; yet a fork copies
 * the table entry of each page, and drops it again. Pages that are a file's need no copying: they come when they are
 * touched. */
#include "trials/zygote.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "trials/spans.h"

enum { SPANS = 32, LEAST_BYTES = 1 << 16, MOST_BYTES = 1 << 24 };

static int contains(const struct span *span, const void *address) {
    return span->start <= (const char *)address && (const char *)address < span->end;
}

/* Whether a mapping is large. This stack and the thread's own data are not taken: they change while we look. */
static int is_worth_it(const struct span *span) {
    size_t bytes = (size_t)(span->end - span->start);
    return bytes >= LEAST_BYTES && bytes <= MOST_BYTES && !contains(span, &bytes) && !contains(span, &errno);
}

/* Maps the same bytes at the same place, from a file that nobody can write. If that fails they stay as they were. */
static void lay_down(const struct span *span) {
    size_t bytes = (size_t)(span->end - span->start);
    int fd = memfd_create("settled", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) return;
    if (write(fd, span->start, bytes) == (ssize_t)bytes &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        mmap(span->start, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd, 0);
    close(fd);
}

void settle(void) {
    struct span spans[SPANS];
    int count = find_spans(spans, SPANS, is_worth_it);
    for (int i = 0; i < count; i++) lay_down(&spans[i]);
}
