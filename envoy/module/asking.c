#include "asking.h"

#define SECOND UINT64_C(1000000000)

void cw_asking_set(cw_asking *asking, uint32_t per_second)
{
    if (per_second > CW_ASK_MOST)
        per_second = CW_ASK_MOST;
    uint64_t share = per_second != 0 ? SECOND / per_second : 0;
    atomic_store_explicit(&asking->share, share, memory_order_relaxed);
}

bool cw_asking_take(cw_asking *asking, uint64_t now_ms, bool found_owner)
{
    uint64_t share = atomic_load_explicit(&asking->share, memory_order_relaxed);
    uint64_t full_at = atomic_load_explicit(&asking->full_at, memory_order_relaxed);
    uint64_t now = now_ms * 1000000, after, kept = found_owner ? SECOND / 2 : SECOND;
    if (share == 0)
        return false;
    do {
        after = (full_at > now ? full_at : now) + share;
        if (after > now + kept)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(
        &asking->full_at, &full_at, after, memory_order_relaxed, memory_order_relaxed
    ));
    return true;
}
