/* Reads the members of a JSON object as control_plane/routing/tokens.py does: texts and whole numbers
 * by their keys. Only what every reader reads alike is read: ASCII without escapes. */
#ifndef CW_JSON_H
#define CW_JSON_H

#include "decode.h"

/* Values of `keys`, decimal for the routing keys; those that are not there, or are neither text nor
 * whole number, stay empty. CW_INVALID: a routing key is no base 36. CW_UNCLEAR: not plain JSON. */
enum cw_decoded cw_decode_json(cw_run *run, cw_text json, const cw_output *keys, uint8_t count,
                               cw_text *values);

#endif
