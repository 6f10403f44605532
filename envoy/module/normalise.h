/* The one spelling of a claim's value, as control_plane/topology/values/claim_key.py finds it, for
 * ASCII values. */
#ifndef CW_NORMALISE_H
#define CW_NORMALISE_H

#include "program.h"

enum cw_form { CW_FORM_PATH, CW_FORM_NAME, CW_FORM_EMAIL, CW_FORM_HOST, CW_FORM_NUMBER, CW_FORM_EXACT, CW_FORM_PLAIN, CW_FORMS };

enum cw_normal { CW_NORMAL, CW_NOBODYS, CW_NOT_PLAIN };

/* Write the normal form of `value`, of at most CW_MAX_KEY bytes, to `out`, which has as much room.
 * CW_NOBODYS: no claim can have such a value. CW_NOT_PLAIN: this code can't tell. */
enum cw_normal cw_normalise(uint8_t form, cw_text value, char *out, size_t *out_len);

#endif
