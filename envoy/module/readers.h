/* Threads that read what one writer replaces, and the memory that they may still look at.
 *
 * A worker of Envoy looks names up without a lock while the main thread switches to a larger table
 * and wants to free the old one. So a reader says what it looks at: it pins a pointer, reads
 * through it, and unpins it. The writer hands over what it has replaced as garbage; garbage is freed
 * once no reader has it pinned. Pinning costs one locked store.
 *
 * Threads come and go. Each gets a place of its own at its first look-up and leaves it when it ends;
 * places are used again and never freed. A place also has the counters of its thread.
 */
#ifndef CW_READERS_H
#define CW_READERS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CW_PINS 2
#define CW_COUNTERS 384

typedef struct cw_reader {
    void *_Atomic pins[CW_PINS];
    _Atomic uint64_t counters[CW_COUNTERS]; /* written by its thread alone; stats.h numbers them */
    struct cw_reader *next;
    atomic_bool taken;
} cw_reader;

/* The place of this thread; NULL if there is no memory for one. */
cw_reader *cw_reader_mine(void);

/* Pin what `source` points to now, and return it. */
void *cw_pin(cw_reader *reader, unsigned pin, void *_Atomic *source);
void cw_unpin(cw_reader *reader, unsigned pin);

static inline void cw_count(cw_reader *reader, unsigned counter)
{
    _Atomic uint64_t *at = &reader->counters[counter];
    atomic_store_explicit(
        at, atomic_load_explicit(at, memory_order_relaxed) + 1, memory_order_relaxed
    );
}

/* The sum of one counter over all threads, those that have ended too. */
uint64_t cw_counted(unsigned counter);

/* What one writer has replaced. */
typedef struct cw_garbage {
    struct cw_discarded *first;
} cw_garbage;

/* Free this once nobody has it pinned. */
void cw_discard(cw_garbage *garbage, void *what, void (*free_it)(void *));

/* Free what can be freed; tell whether something is left. */
bool cw_sweep(cw_garbage *garbage);

#endif
