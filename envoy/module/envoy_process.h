/* What all configurations in this Envoy process share. Each version of the module's file has its
 * own, because it is static in the file. */
#ifndef CW_ENVOY_PROCESS_H
#define CW_ENVOY_PROCESS_H

#include "map.h"

cw_map *cw_process_map(void);

/* Write a line to Envoy's log. */
void cw_log(int level, const char *text);

#endif
