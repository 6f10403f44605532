#include "envoy_registry.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "envoy_abi.h"
#include "map.h"

#define LOOK 1 /* the only event there is */
#define NEVER UINT64_MAX
#define STACK_BYTES (64 << 10)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed;
static cw_member *newest, *leader;
static uint64_t due = NEVER;
static bool has_thread;

static void tell(const cw_member *member)
{
    CW_ENVOY(http_filter_config_scheduler_commit)(member->scheduler, LOOK);
}

/* The moment in so many milliseconds, of the clock that conditions wait by. */
static struct timespec after(uint64_t ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t nanoseconds = (uint64_t)until.tv_nsec + ms % 1000 * 1000000;
    until.tv_sec += (time_t)(ms / 1000 + nanoseconds / 1000000000);
    until.tv_nsec = (long)(nanoseconds % 1000000000);
    return until;
}

static void *keep_time(void *nothing)
{
    (void)nothing;
    pthread_mutex_lock(&lock);
    for (;;) {
        if (due == NEVER || leader == NULL) {
            pthread_cond_wait(&changed, &lock);
            continue;
        }
        uint64_t now = cw_now_ms();
        if (now >= due) {
            due = NEVER;
            tell(leader);
            continue;
        }
        struct timespec until = after(due - now);
        pthread_cond_timedwait(&changed, &lock, &until);
    }
    return NULL;
}

static bool start_thread(void)
{
    pthread_condattr_t clock;
    pthread_attr_t small;
    pthread_t thread;
    sigset_t all, before;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&changed, &clock);
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, STACK_BYTES);
    pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
    sigfillset(&all); /* signals are for Envoy's own threads */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    has_thread = pthread_create(&thread, &small, keep_time, NULL) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&small);
    pthread_condattr_destroy(&clock);
    return has_thread;
}

bool cw_registry_add(cw_member *member)
{
    pthread_mutex_lock(&lock);
    bool works = has_thread || start_thread();
    if (works) {
        member->older = newest;
        newest = member;
        if (leader != NULL)
            tell(leader); /* first: it ends its stream before another one begins */
        leader = member;
        tell(member);
    }
    pthread_mutex_unlock(&lock);
    return works;
}

bool cw_registry_remove(cw_member *member)
{
    pthread_mutex_lock(&lock);
    cw_member **at = &newest;
    while (*at != NULL && *at != member)
        at = &(*at)->older;
    if (*at != NULL)
        *at = member->older;
    if (leader == member) {
        leader = newest;
        if (leader != NULL)
            tell(leader);
    }
    bool none = newest == NULL;
    pthread_mutex_unlock(&lock);
    return none;
}

bool cw_registry_leads(const cw_member *member)
{
    pthread_mutex_lock(&lock);
    bool leads = leader == member;
    pthread_mutex_unlock(&lock);
    return leads;
}

void cw_registry_wake_at(uint64_t at_ms)
{
    pthread_mutex_lock(&lock);
    due = at_ms;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
}
