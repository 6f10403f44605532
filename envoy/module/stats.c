#include "stats.h"

#include "program.h"

const cw_stat_name cw_outcome_names[] = {
    {CW_COUNTED_WHY + CW_WHY_KEY, "key"},
    {CW_COUNTED_WHY + CW_WHY_UNKNOWN, "unknown"},
    {CW_COUNTED_WHY + CW_WHY_INVALID, "invalid"},
    {CW_COUNTED_WHY + CW_WHY_FIXED, "fixed"},
    {CW_COUNTED_WHY + CW_WHY_NOT_PLAIN, "not_plain"},
    {CW_COUNTED_WHY + CW_WHY_ASKED, "not_certain"},
    {CW_COUNTED_WHY + CW_WHY_OPAQUE, "opaque_rule"},
    {CW_COUNTED_WHY + CW_WHY_ANSWERS, "too_many_answers"},
    {CW_COUNTED_WHY + CW_WHY_NO_CELL, "no_such_cell"},
    {CW_COUNTED_WHY + CW_WHY_NO_RULE, "no_rule"},
    {0, NULL},
};

const cw_stat_name cw_doubt_names[] = {
    {CW_ASKED_OFF, "off"},
    {CW_ASKED_EMPTY, "no_table"},
    {CW_ASKED_VOID, "older_than_epoch"},
    {CW_ASKED_MARKED, "same_fingerprint"},
    {CW_ASKED_LATE, "not_recent"},
    {CW_ASKED_NEW, "unknown_asked"},
    {0, NULL},
};

void cw_count_outcome(cw_reader *reader, unsigned rule, unsigned why, int answered)
{
    if (why < 32)
        cw_count(reader, CW_COUNTED_WHY + why);
    if (answered)
        cw_count(reader, CW_COUNTED_RULE + (rule < CW_RULES_COUNTED ? rule : CW_RULES_COUNTED - 1));
}
