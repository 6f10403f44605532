#include "answer.h"

#include "stats.h"

typedef struct {
    cw_map *map;
    bool met_nobody, met_owner;
} witness;

static int owner(void *ctx, cw_text bucket, cw_text value, uint32_t *cell)
{
    witness *seen = ctx;
    int answer = cw_map_owner(seen->map, bucket, value, cell);
    seen->met_nobody |= answer == CW_UNKNOWN;
    seen->met_owner |= answer == CW_OWNED;
    return answer;
}

size_t cw_answer(
    const cw_program *program, const cw_request *request, cw_map *map, char *out, size_t out_size,
    cw_outcome *outcome
)
{
    witness seen = {map, false, false};
    cw_owners owners = {&seen, owner};
    cw_reader *reader = cw_reader_mine();
    if (reader == NULL)
        return 0;
    size_t len = cw_decide(program, request, &owners, out, out_size, outcome);
    if (len != 0 && seen.met_nobody &&
        cw_asking_take(&map->asking, cw_now_ms(), seen.met_owner)) {
        cw_count(reader, CW_ASKED_NEW);
        outcome->why = CW_WHY_ASKED;
        len = 0;
    }
    cw_count_outcome(reader, outcome->rule, outcome->why, len != 0);
    return len;
}
