/* teller FILE COMMAND [ARGUMENT...]: executes a command with nothing between, and writes its wait status to a file. */
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOT_EXECUTED = 126, WRONG_USE = 125, AS_A_SHELL = 128 };

/* Who ignores the end of its children is not told how they ended; the command ignores it all the same. */
static pid_t start(char **command) {
    void (*before)(int) = signal(SIGCHLD, SIG_DFL);
    pid_t child = vfork();
    if (child == 0) {
        signal(SIGCHLD, before);
        execvp(command[0], command);
        _exit(NOT_EXECUTED);
    }
    return child;
}

int main(int argc, char **argv) {
    int status = 0;
    if (argc < 3) return WRONG_USE;
    pid_t child = start(argv + 2);
    for (int i = 0; i < 3; i++) signal((int[]){SIGINT, SIGTERM, SIGHUP}[i], SIG_IGN);
    if (child < 0 || waitpid(child, &status, 0) != child) return WRONG_USE;
    FILE *file = fopen(argv[1], "we");
    if (!file || fprintf(file, "%d\n", status) < 0 || fclose(file) != 0) return WRONG_USE;
    return WIFEXITED(status) ? WEXITSTATUS(status) : AS_A_SHELL + WTERMSIG(status);
}
