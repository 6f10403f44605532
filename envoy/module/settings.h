/* The text of a configuration that follows the owners' stream. */
#ifndef CW_SETTINGS_H
#define CW_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>

#include "siphash.h"

#define CW_NAME_MAX 256

/* Lines "key=<32 hex digits>", "cluster=<name>", "node=<id>", "ask=<number>". Without a key, the map is off. */
typedef struct {
    bool has_key;
    cw_key key;
    uint32_t ask; /* questions a second about names of nobody (asking.h) */
    char cluster[CW_NAME_MAX + 1], node[CW_NAME_MAX + 1];
} cw_settings;

/* Read a text. Lines that are not known are passed over. False: a known one is malformed, or there is
 * a key and no cluster. */
bool cw_settings_read(const char *text, size_t len, cw_settings *settings);

#endif
