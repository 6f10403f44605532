/* The parts of a request that matches look at, and whether a match holds. */
#ifndef CW_SUBJECTS_H
#define CW_SUBJECTS_H

#include "run.h"

/* Forget everything: the run is a new request's. */
void cw_run_begin(cw_run *run, const cw_program *program, const cw_request *request);

/* Whether a text certainly lacks what a rule needs. */
int cw_lacks(cw_run *run, cw_need need);

/* Whether a match holds, without its inversion; if so, the texts that it holds for. */
cw_truth cw_probe_holds(cw_run *run, const cw_probe *probe, cw_text *value, cw_text *name);

#endif
