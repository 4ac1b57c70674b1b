/* Loaded before the C library: the time of day is off by $WRONG_CLOCK_SECONDS, for every program that asks. Time that
 * passes (CLOCK_MONOTONIC) is not touched. A wait until a time of day, which the kernel measures by the true clock, is
 * shifted back, so that it lasts as long as it would on a machine whose clock is wrong. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

static long offset(void) {
    const char *seconds = getenv("WRONG_CLOCK_SECONDS");
    return seconds ? atol(seconds) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    long failed = syscall(SYS_clock_gettime, clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += offset();
    return (int)failed;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec precise;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &precise)) return -1;
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now) {
    struct timespec precise;
    if (clock_gettime(CLOCK_REALTIME, &precise)) return (time_t)-1;
    if (now) *now = precise.tv_sec;
    return precise.tv_sec;
}

/* Times of condition variables that go by CLOCK_MONOTONIC count from the machine's start, and are far smaller. */
#define A_TIME_OF_DAY 1000000000L

static struct timespec true_time(const struct timespec *until) {
    struct timespec shifted = *until;
    if (shifted.tv_sec > A_TIME_OF_DAY) shifted.tv_sec -= offset();
    return shifted;
}

int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *until) {
    static int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    struct timespec shifted = true_time(until);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    return real(condition, mutex, &shifted);
}

/* The one that librdkafka waits by. */
int cnd_timedwait(cnd_t *condition, mtx_t *mutex, const struct timespec *until) {
    static int (*real)(cnd_t *, mtx_t *, const struct timespec *);
    struct timespec shifted = true_time(until);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "cnd_timedwait");
    return real(condition, mutex, &shifted);
}
