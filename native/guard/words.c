#include "guard/words.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guard/signals.h"

enum { MOST_STALE = 1000 }; /* after so many words of another kind the sender is given up */

int open_line(int ends[2]) {
    int on = 1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return -1;
    return setsockopt(ends[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
}

int say(int fd, const struct word *word) {
    return send(fd, word, sizeof *word, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof *word ? 0 : -1;
}

static pid_t sender_of(struct msghdr *message) {
    struct cmsghdr *header = CMSG_FIRSTHDR(message);
    struct ucred sender = {0};
    if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_CREDENTIALS) return 0;
    memcpy(&sender, CMSG_DATA(header), sizeof sender);
    return sender.pid;
}

int hear(int fd, struct word *word, pid_t *speaker, int patience_ms) {
    union {
        char bytes[CMSG_SPACE(sizeof(struct ucred))];
        struct cmsghdr aligned;
    } control;
    struct iovec text = {word, sizeof *word};
    struct msghdr message = {.msg_iov = &text, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    struct pollfd polled = {.fd = fd, .events = POLLIN};
    if (patience_ms > 0 && poll(&polled, 1, patience_ms) == 0) return errno = ETIMEDOUT, -1;
    ssize_t length = recvmsg(fd, &message, (patience_ms < 0 ? 0 : MSG_DONTWAIT) | MSG_CMSG_CLOEXEC);
    if (length <= 0) return errno = length < 0 && errno == EAGAIN ? ETIMEDOUT : EPIPE, -1;
    if (length != (ssize_t)sizeof *word) word->kind = NOTHING;
    if (speaker) *speaker = sender_of(&message);
    return 0;
}

int ask(int fd, const struct word *word) {
    struct word dropped;
    for (int stale = 0; stale < MOST_STALE && hear(fd, &dropped, NULL, 0) == 0; stale++) continue;
    return say(fd, word);
}

int await(int fd, enum kind answer, struct word *heard, int patience_ms) {
    for (int others = 0; others < MOST_STALE; others++) {
        if (hear(fd, heard, NULL, patience_ms) != 0) return -1;
        if (heard->kind == answer) return 0;
    }
    return -1;
}

int hear_beside_children(int fd, struct word *word, void (*changed)(void *), void *context) {
    int children = open_child_signals();
    struct pollfd polled[2] = {{.fd = fd, .events = POLLIN}, {.fd = children, .events = POLLIN}};
    if (children < 0) return -1;
    for (;;) {
        changed(context); /* before the first word too: a child may have been quick */
        poll(polled, 2, -1);
        if (polled[0].revents) break;
        drain_child_signals(children);
    }
    close(children);
    return hear(fd, word, NULL, 0);
}

static void sort(int *numbers, int count) {
    for (int i = 1; i < count; i++)
        for (int j = i; j > 0 && numbers[j] < numbers[j - 1]; j--) {
            int other = numbers[j];
            numbers[j] = numbers[j - 1];
            numbers[j - 1] = other;
        }
}

void keep_only(const int *kept, int count) {
    int sorted[count];
    unsigned next = 0;
    memcpy(sorted, kept, sizeof sorted);
    sort(sorted, count);
    for (int i = 0; i < count; i++) {
        if (sorted[i] < (int)next) continue; /* -1, or twice */
        if (sorted[i] > (int)next) syscall(SYS_close_range, next, (unsigned)sorted[i] - 1, 0);
        next = (unsigned)sorted[i] + 1;
    }
    syscall(SYS_close_range, next, ~0u, 0);
}
