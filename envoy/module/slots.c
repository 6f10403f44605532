#include "slots.h"

#include <stdlib.h>
#include <sys/mman.h>

#define NUMBER_BITS 16
#define FINGERPRINT (UINT64_MAX >> NUMBER_BITS)
#define FREE_AGAIN UINT64_C(1)
#define HUGE_PAGE (UINT64_C(2) << 20)
#define SMALLEST 64 /* buckets */

/* Of ten million names: 125 MB, with what is kept for the writer. */
static const double built_load = 0.80, crowded_load = 0.87;

static size_t rounded(size_t bytes)
{
    size_t unit = bytes >= HUGE_PAGE ? HUGE_PAGE : 4096;
    return (bytes + unit - 1) / unit * unit;
}

static size_t words_size(const cw_slots *slots)
{
    return rounded(slots->buckets * CW_BUCKET * sizeof(uint64_t));
}

static size_t uppers_size(const cw_slots *slots)
{
    return rounded(slots->buckets * CW_BUCKET * sizeof(uint16_t));
}

/* Zeroed memory. From one huge page on, it starts at one, so that the system can use them. */
static void *mapped(size_t size)
{
    size_t spare = size >= HUGE_PAGE ? HUGE_PAGE : 0;
    char *start = mmap(NULL, size + spare, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED)
        return NULL;
    if (spare == 0)
        return start;
    size_t before = (HUGE_PAGE - ((uintptr_t)start & (HUGE_PAGE - 1))) & (HUGE_PAGE - 1);
    if (before != 0)
        munmap(start, before);
    if (spare != before)
        munmap(start + before + size, spare - before);
    madvise(start + before, size, MADV_HUGEPAGE);
    return start + before;
}

cw_slots *cw_slots_new(uint64_t names)
{
    if (names > UINT64_C(1) << 36)
        return NULL;
    cw_slots *slots = calloc(1, sizeof(*slots));
    if (slots == NULL)
        return NULL;
    slots->buckets = (uint64_t)((double)names / built_load / CW_BUCKET) + 1;
    if (slots->buckets < SMALLEST)
        slots->buckets = SMALLEST;
    slots->words = mapped(words_size(slots));
    slots->uppers = mapped(uppers_size(slots));
    if (slots->words == NULL || slots->uppers == NULL) {
        cw_slots_free(slots);
        return NULL;
    }
    return slots;
}

void cw_slots_free(void *what)
{
    cw_slots *slots = what;
    if (slots == NULL)
        return;
    if (slots->words != NULL)
        munmap((void *)slots->words, words_size(slots));
    if (slots->uppers != NULL)
        munmap(slots->uppers, uppers_size(slots));
    free(slots);
}

size_t cw_slots_bytes(const cw_slots *slots)
{
    return words_size(slots) + uppers_size(slots);
}

static inline uint64_t fingerprint(uint64_t hash)
{
    uint64_t low = hash & FINGERPRINT;
    return low != 0 ? low : 1;
}

static inline uint64_t home(const cw_slots *slots, uint64_t hash)
{
    return (uint64_t)((unsigned __int128)hash * slots->buckets >> 64);
}

static inline uint64_t after(const cw_slots *slots, uint64_t bucket)
{
    return bucket + 1 < slots->buckets ? bucket + 1 : 0;
}

uint16_t cw_slots_get(const cw_slots *slots, uint64_t hash)
{
    uint64_t wanted = fingerprint(hash);
    uint64_t bucket = home(slots, (hash & ~FINGERPRINT) | wanted);
    uint32_t reach = atomic_load_explicit(&slots->reach, memory_order_acquire);
    for (uint32_t step = 0; step <= reach; step++) {
        const _Atomic uint64_t *words = slots->words + bucket * CW_BUCKET;
        bool ends = false;
        for (int at = 0; at < CW_BUCKET; at++) {
            uint64_t word = atomic_load_explicit(&words[at], memory_order_acquire);
            if (word >> NUMBER_BITS == wanted)
                return (uint16_t)word;
            ends |= word == 0;
        }
        if (ends)
            return 0;
        bucket = after(slots, bucket);
    }
    return 0;
}

/* Where a name lies, or could lie. */
typedef struct {
    uint64_t word;      /* index of the name's word, if it is there */
    uint64_t free_word; /* index of the first free word, if there is one */
    uint32_t free_step;
    bool found, has_free, last_bucket_ends;
} place;

static place find(const cw_slots *slots, uint64_t hash, uint64_t wanted)
{
    place result = {0};
    uint64_t bucket = home(slots, hash);
    uint32_t reach = atomic_load_explicit(&slots->reach, memory_order_relaxed);
    for (uint32_t step = 0; step <= CW_REACH_MAX && step < slots->buckets; step++) {
        bool ends = false;
        for (uint64_t at = bucket * CW_BUCKET; at < (bucket + 1) * CW_BUCKET; at++) {
            uint64_t word = atomic_load_explicit(&slots->words[at], memory_order_relaxed);
            if (word >> NUMBER_BITS == wanted) {
                result.word = at;
                result.found = true;
            } else if (word <= FREE_AGAIN && !result.has_free) {
                result.free_word = at;
                result.free_step = step;
                result.has_free = true;
            }
            ends |= word == 0;
        }
        result.last_bucket_ends = ends;
        if (result.found || ends || (result.has_free && step >= reach))
            break;
        bucket = after(slots, bucket);
    }
    return result;
}

static void remove_word(cw_slots *slots, const place *at)
{
    uint64_t left = at->last_bucket_ends ? 0 : FREE_AGAIN;
    atomic_store_explicit(&slots->words[at->word], left, memory_order_release);
    slots->names--;
    slots->dead += left;
}

static cw_set add_word(cw_slots *slots, const place *at, uint64_t hash, uint64_t word)
{
    if (!at->has_free)
        return CW_FULL;
    uint64_t before = atomic_load_explicit(&slots->words[at->free_word], memory_order_relaxed);
    if (at->free_step > atomic_load_explicit(&slots->reach, memory_order_relaxed))
        atomic_store_explicit(&slots->reach, at->free_step, memory_order_release);
    slots->uppers[at->free_word] = (uint16_t)(hash >> 48);
    atomic_store_explicit(&slots->words[at->free_word], word, memory_order_release);
    slots->names++;
    slots->dead -= before;
    return CW_SET;
}

cw_set cw_slots_set(cw_slots *slots, uint64_t hash, uint16_t number)
{
    uint64_t wanted = fingerprint(hash);
    hash = (hash & ~FINGERPRINT) | wanted;
    place at = find(slots, hash, wanted);
    if (!at.found)
        return number == 0 ? CW_SET : add_word(slots, &at, hash, wanted << NUMBER_BITS | number);
    if (number == 0)
        remove_word(slots, &at);
    else
        atomic_store_explicit(
            &slots->words[at.word], wanted << NUMBER_BITS | number, memory_order_release
        );
    return CW_SET;
}

bool cw_slots_are_crowded(const cw_slots *slots)
{
    double used = (double)(slots->names + slots->dead);
    return used > crowded_load * (double)(slots->buckets * CW_BUCKET);
}

cw_set cw_slots_copy(const cw_slots *from, uint64_t bucket, cw_slots *to)
{
    for (uint64_t at = bucket * CW_BUCKET; at < (bucket + 1) * CW_BUCKET; at++) {
        uint64_t word = atomic_load_explicit(&from->words[at], memory_order_relaxed);
        if (word <= FREE_AGAIN)
            continue;
        uint64_t hash = (uint64_t)from->uppers[at] << 48 | word >> NUMBER_BITS;
        if (cw_slots_set(to, hash, (uint16_t)word) == CW_FULL)
            return CW_FULL;
    }
    return CW_SET;
}
