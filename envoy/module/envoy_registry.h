/* The configurations of the filter that follows the owners' stream, and the one of them that does.
 *
 * Each listener has such a configuration; an update brings a new one before the old one goes. The
 * newest one leads: it holds the stream, which goes on where that of its predecessor ended. When it
 * goes, the newest of those that are left leads.
 *
 * Envoy may destroy a configuration on any thread, so the list is under a lock. That is also why
 * the newest one leads: Envoy ends the streams of a configuration that it destroys, and may do so on
 * a thread that is not the streams' own; so an old configuration should have none. All else
 * happens on the main thread, where a configuration is told by an event that it has to look what to
 * do. A thread of the module's own sends such events at the times that it is asked for.
 */
#ifndef CW_ENVOY_REGISTRY_H
#define CW_ENVOY_REGISTRY_H

#include <stdbool.h>
#include <stdint.h>

#include "settings.h"

typedef struct cw_member {
    cw_settings settings;
    void *scheduler; /* Envoy's */
    struct cw_member *older;
} cw_member;

/* Take a configuration in, and tell those whom it concerns. False: there is no thread. */
bool cw_registry_add(cw_member *member);

/* Take it out. Tell whether none is left. */
bool cw_registry_remove(cw_member *member);

bool cw_registry_leads(const cw_member *member);

/* Send the one that leads an event at this moment (of cw_now_ms), and none before. */
void cw_registry_wake_at(uint64_t at_ms);

#endif
