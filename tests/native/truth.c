/* A library of known truth: each function asks for memory, and does one thing where that is refused. They answer 0 for
 * a refusal that they report, and the same positive number each time they do their work. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCKS = 20, BYTES = 48 };

/* Checks each, and gives everything back. */
int careful(void) {
    char *blocks[BLOCKS];
    int count = 0, sum = 0;
    for (; count < BLOCKS && (blocks[count] = malloc(BYTES)); count++) memset(blocks[count], count + 1, BYTES);
    for (int at = 0; at < count; at++) {
        sum += blocks[at][0];
        free(blocks[at]);
    }
    return count == BLOCKS ? sum : 0;
}

/* Does without. */
int frugal(void) {
    char small[BYTES], *large = malloc(4 * BYTES), *used = large ? large : small;
    memset(used, 3, BYTES);
    int sum = used[0] + used[BYTES - 1];
    free(large);
    return sum;
}

/* Reports the second, and forgets the first. */
int leaky(void) {
    void *volatile one = malloc(BYTES);
    if (!one) return 0;
    void *volatile other = malloc(BYTES);
    if (!other) return 0;
    free(one);
    free(other);
    return 7;
}

/* Twenty places, none of them checked. */
#define USE(number)                          \
    block = malloc(BYTES + (number));        \
    block[8] = (number);                     \
    sum += block[8];                         \
    free((void *)block);
int crashing(void) {
    char volatile *volatile block;
    int sum = 0;
    USE(1) USE(2) USE(3) USE(4) USE(5) USE(6) USE(7) USE(8) USE(9) USE(10)
    USE(11) USE(12) USE(13) USE(14) USE(15) USE(16) USE(17) USE(18) USE(19) USE(20)
    return sum;
}

/* Reports the refusal, with the lock held. */
int keeping(void) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&lock);
    void *volatile block = malloc(BYTES);
    if (!block) return 0;
    free(block);
    pthread_mutex_unlock(&lock);
    return 7;
}

/* Leaves out what it has no memory for, and says nothing. */
int wrong(void) {
    int sum = 0;
    for (int at = 1; at <= 3; at++) {
        char *volatile block = malloc(BYTES);
        if (!block) continue;
        sum += at;
        free(block);
    }
    return sum;
}

/* Reports the refusal, and answers otherwise from then on. */
int damaging(void) {
    static int answer = 7;
    void *volatile block = malloc(BYTES);
    if (!block) return answer = 5, 0;
    free(block);
    return answer;
}

/* Reports the refusal, and leaves a table that the next call trips over. */
int trailing(void) {
    static char start[BYTES], *volatile table = start;
    char *volatile block = malloc(BYTES);
    table[0] = 7;
    if (!block) return table = NULL, 0;
    free(block);
    return table[0];
}

int aborting(void) {
    void *volatile block = malloc(BYTES);
    if (!block) abort();
    free(block);
    return 7;
}

/* Tries again, for ever. */
int hanging(void) {
    static volatile int refused;
    void *volatile block = malloc(BYTES);
    if (!block) refused = 1;
    while (refused) continue;
    free(block);
    return 7;
}

/* Calls what it could not set up. */
int jumping(void) {
    int (*volatile *volatile table)(const char *) = malloc(sizeof *table), (*volatile call)(const char *) = NULL;
    if (table) *table = atoi, call = *table;
    int sum = call("7");
    free((void *)table);
    return sum;
}

static pthread_mutex_t desk = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t moved = PTHREAD_COND_INITIALIZER;
static int asked, answered, answer, is_staffed;

static void *work(void *nothing) {
    pthread_mutex_lock(&desk);
    for (;;) {
        while (asked == answered) pthread_cond_wait(&moved, &desk);
        answer = careful();
        answered = asked;
        pthread_cond_broadcast(&moved);
    }
    return nothing;
}

/* Has its work done by a thread that the first call starts, and that never ends. */
int pooled(void) {
    pthread_t worker;
    pthread_mutex_lock(&desk);
    if (!is_staffed) is_staffed = pthread_create(&worker, NULL, work, NULL) == 0;
    asked++;
    pthread_cond_broadcast(&moved);
    while (is_staffed && answered != asked) pthread_cond_wait(&moved, &desk);
    pthread_mutex_unlock(&desk);
    return answer;
}
