#include "readers.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define LINE 64

struct cw_discarded {
    void *what;
    void (*free_it)(void *);
    struct cw_discarded *next;
};

static cw_reader *_Atomic readers;
static _Thread_local cw_reader *mine;
static pthread_key_t leaving;
static pthread_once_t prepared = PTHREAD_ONCE_INIT;

static void leave(void *place)
{
    cw_reader *reader = place;
    mine = NULL;
    for (unsigned pin = 0; pin < CW_PINS; pin++)
        cw_unpin(reader, pin);
    atomic_store_explicit(&reader->taken, false, memory_order_release);
}

static void prepare(void)
{
    if (pthread_key_create(&leaving, leave) != 0)
        abort(); /* no process of ours has 1,024 keys */
}

static cw_reader *abandoned(void)
{
    for (cw_reader *one = atomic_load(&readers); one != NULL; one = one->next) {
        bool taken = false;
        if (atomic_compare_exchange_strong(&one->taken, &taken, true))
            return one;
    }
    return NULL;
}

static cw_reader *another(void)
{
    size_t size = (sizeof(cw_reader) + LINE - 1) / LINE * LINE;
    cw_reader *made = aligned_alloc(LINE, size);
    if (made == NULL)
        return NULL;
    memset(made, 0, size);
    atomic_store(&made->taken, true);
    made->next = atomic_load(&readers);
    while (!atomic_compare_exchange_weak(&readers, &made->next, made))
        continue;
    return made;
}

cw_reader *cw_reader_mine(void)
{
    if (mine != NULL)
        return mine;
    pthread_once(&prepared, prepare);
    cw_reader *reader = abandoned();
    if (reader == NULL)
        reader = another();
    if (reader != NULL && pthread_setspecific(leaving, reader) != 0) {
        leave(reader);
        return NULL;
    }
    mine = reader;
    return reader;
}

void *cw_pin(cw_reader *reader, unsigned pin, void *_Atomic *source)
{
    void *seen = atomic_load_explicit(source, memory_order_acquire);
    for (;;) {
        atomic_store(&reader->pins[pin], seen);
        void *again = atomic_load(source);
        if (again == seen)
            return seen;
        seen = again;
    }
}

void cw_unpin(cw_reader *reader, unsigned pin)
{
    atomic_store_explicit(&reader->pins[pin], NULL, memory_order_release);
}

uint64_t cw_counted(unsigned counter)
{
    uint64_t sum = 0;
    for (cw_reader *one = atomic_load(&readers); one != NULL; one = one->next)
        sum += atomic_load_explicit(&one->counters[counter], memory_order_relaxed);
    return sum;
}

static bool is_pinned(const void *what)
{
    for (cw_reader *one = atomic_load(&readers); one != NULL; one = one->next)
        for (unsigned pin = 0; pin < CW_PINS; pin++)
            if (atomic_load(&one->pins[pin]) == what)
                return true;
    return false;
}

void cw_discard(cw_garbage *garbage, void *what, void (*free_it)(void *))
{
    if (what == NULL)
        return;
    struct cw_discarded *entry = malloc(sizeof(*entry));
    if (entry == NULL)
        return; /* rather lost than freed under a reader */
    *entry = (struct cw_discarded){what, free_it, garbage->first};
    garbage->first = entry;
    cw_sweep(garbage);
}

bool cw_sweep(cw_garbage *garbage)
{
    struct cw_discarded **at = &garbage->first;
    while (*at != NULL) {
        struct cw_discarded *entry = *at;
        if (is_pinned(entry->what)) {
            at = &entry->next;
            continue;
        }
        *at = entry->next;
        entry->free_it(entry->what);
        free(entry);
    }
    return garbage->first != NULL;
}
