/* The least that two processes beside a victim can cost: the one starts the other, which starts the victim, and each waits
 * for its own. They hold nothing, watch nothing and tell nothing. */
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static char stack[64 << 10];

static int be_parent(void *command) {
    char **words = command;
    int status;
    pid_t victim = vfork();
    if (victim == 0) {
        execve(words[0], words, environ);
        _exit(127);
    }
    waitpid(victim, &status, 0);
    _exit(0);
}

int main(int argc, char **argv) {
    int status;
    pid_t parent = argc > 1 ? clone(be_parent, stack + sizeof stack, CLONE_VM | SIGCHLD, argv + 1) : -1;
    return parent < 0 || waitpid(parent, &status, 0) < 0;
}
