/* Decodes what the evaluator decodes (control_plane/routing/matching.py and tokens.py), for ASCII. */
#ifndef CW_DECODE_H
#define CW_DECODE_H

#include "run.h"

enum cw_decoded { CW_DECODED, CW_INVALID, CW_UNCLEAR };

/* A number in decimal. */
enum { CW_DECIMAL_BYTES = 24, CW_MAX_TOKEN = 8192 };

/* Write a number in decimal, at most 20 bytes; return how many. */
size_t cw_write_decimal(uint64_t number, char *out);

/* A captured part of a URL, percent-decoded once. CW_UNCLEAR: it does not decode to ASCII. */
enum cw_decoded cw_decode_url(cw_run *run, cw_text raw, int query, cw_text *out);

/* Base64, standard or for URLs, with or without padding. */
enum cw_decoded cw_decode_base64(cw_run *run, cw_text text, cw_text *out);

/* Write the number that base 36 text stands for in decimal; 0: it is none. */
size_t cw_decode_base36(cw_text text, char *out);

/* Decode a routable token or its payload. `values` gets the numbers by the letters of "cgoput" in this
 * order; those that are not there are empty. */
enum cw_decoded cw_decode_routable(cw_run *run, cw_text text, cw_text values[6]);

/* The place of a routing key in "cgoput"; -1: it is none. */
int cw_routing_key(cw_text key);

#endif
