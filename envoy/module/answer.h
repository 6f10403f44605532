/* What a program answers with the owners of a map, if the map may be believed.
 *
 * A program takes "nobody owns it" for certain. Its answer may rest on that even if it names a cell:
 * the rule's next one may have given it. Such an answer is left to the routes behind the program as
 * long as few of them come (asking.h), because the name may be newer than the table.
 */
#ifndef CW_ANSWER_H
#define CW_ANSWER_H

#include "map.h"

/* As cw_decide of program.h; what came of it is counted. */
size_t cw_answer(
    const cw_program *program, const cw_request *request, cw_map *map, char *out, size_t out_size,
    cw_outcome *outcome
);

#endif
