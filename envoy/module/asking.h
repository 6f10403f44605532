/* How many requests may ask about a name of nobody, although the table is certain.
 *
 * A name may have been claimed a moment ago, and the stream has not brought it yet. Whoever asks the
 * classifier finds it at once. So the first answers that rest on a name of nobody are left to the
 * classifier, a number each second; a flood of names that nobody owns is answered by the table. What
 * is not used is kept for one second.
 *
 * An answer that has found an owner by a later name of its rule may be out of date, too, but such
 * requests may be as many as all others. So they may take only the first half of what is kept, and
 * never hinder an answer that nobody owns anything.
 *
 * The state is one word: the moment at which the whole number may be used again. To ask moves it on
 * by the share of one question. So a thread that may not ask writes nothing.
 */
#ifndef CW_ASKING_H
#define CW_ASKING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define CW_ASK_MOST 1000000

typedef struct {
    _Atomic uint64_t share;   /* nanoseconds that one question takes; 0: none may ask */
    _Atomic uint64_t full_at; /* nanoseconds of the clock of cw_now_ms */
} cw_asking;

/* Let so many ask in a second, CW_ASK_MOST at most. */
void cw_asking_set(cw_asking *asking, uint32_t per_second);

/* Whether this request may ask now; it is counted. Any thread may call it. */
bool cw_asking_take(cw_asking *asking, uint64_t now_ms, bool found_owner);

#endif
