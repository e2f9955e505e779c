/* names: a program that puts functions of its own in front of the C library's, and calls those by RTLD_NEXT. */
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "named.h"

static void told(const char *what, int number) {
    printf("%s %d\n", what, number);
    fflush(stdout);
}

int sigaction(int number, const struct sigaction *action, struct sigaction *old) {
    int (*next)(int, const struct sigaction *, struct sigaction *) = dlsym(RTLD_NEXT, "sigaction");
    told("own sigaction", number);
    return next(number, action, old);
}

int sigaltstack(const stack_t *stack, stack_t *old) {
    int (*next)(const stack_t *, stack_t *) = dlsym(RTLD_NEXT, "sigaltstack");
    told("own sigaltstack", stack != NULL);
    return next(stack, old);
}

int execve(const char *path, char *const *words, char *const *environment) {
    int (*next)(const char *, char *const *, char *const *) = dlsym(RTLD_NEXT, "execve");
    told("own execve", environment != NULL);
    return next(path, words, environment);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *), void *argument) {
    int (*next)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) = dlsym(RTLD_NEXT, "pthread_create");
    told("own pthread_create", attributes != NULL);
    return next(thread, attributes, body, argument);
}

static void *in_thread(void *unused) {
    told("thread", unused != NULL);
    return unused;
}

static void handler(int number) {
    told("handler", number);
    signal(number, SIG_DFL);
}

int main(int argc, char **argv) {
    struct sigaction action = {.sa_handler = handler};
    stack_t stack;
    pthread_t thread;
    if (argc > 1) return 3;
    pthread_create(&thread, NULL, in_thread, NULL);
    pthread_join(thread, NULL);
    sigaltstack(NULL, &stack);
    signal(SIGFPE, handler);
    if (argc > 0 && fork() == 0) execlp(argv[0], argv[0], "end", (char *)NULL);
    sigaction(SIGSEGV, &action, NULL);
    told("default", dlsym(RTLD_DEFAULT, "sigaction") == (void *)sigaction);
    null();
}
