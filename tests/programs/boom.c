/* The native side of Fault.java: 0 a null write, 1 abort(), 2 a null write in another thread, 3 a caught fault. */
#include <jni.h>
#include <pthread.h>
#include <stdlib.h>

static void null(void) { *(volatile int *)0 = 1; }

static void *run(void *unused) {
    null();
    return unused;
}

JNIEXPORT void JNICALL Java_Fault_boom(JNIEnv *env, jclass class, jint how) {
    (void)env, (void)class;
    pthread_t thread;
    if (how == 0) null();
    if (how == 1) abort();
    if (how == 2 && pthread_create(&thread, NULL, run, NULL) == 0) pthread_join(thread, NULL);
}
