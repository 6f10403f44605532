/* Envoy's matcher asks here what a request is decided to be: the program of its configuration runs
 * over the request's headers and the process's map. No result lets the matcher go on to what stands
 * behind this input.
 */
#include <stdio.h>

#include "answer.h"
#include "envoy_abi.h"
#include "envoy_process.h"

#pragma GCC visibility push(default) /* hooks: Envoy finds them by their names */
#define ON(name) envoy_dynamic_module_on_matcher_data_input_##name

const void *ON(config_new)(void *envoy, cw_envoy_text name, cw_envoy_text config);
void ON(config_destroy)(void *config);
void ON(get)(const void *config, void *input);

const void *ON(config_new)(void *envoy, cw_envoy_text name, cw_envoy_text config)
{
    (void)envoy, (void)name;
    char error[160] = "", line[240];
    cw_program *program =
        cw_program_load((const uint8_t *)config.ptr, config.length, error, sizeof(error));
    if (program == NULL) {
        snprintf(line, sizeof(line), "cellway edge: the program can't be used: %s", error);
        cw_log(CW_ENVOY_WARN, line);
    }
    return program; /* without one, Envoy refuses the configuration */
}

void ON(config_destroy)(void *config)
{
    cw_program_free(config);
}

static size_t header(void *input, cw_text name, cw_text *first)
{
    cw_envoy_text value = {0};
    size_t count = 0;
    cw_envoy_text wanted = {name.ptr, name.len};
    CW_ENVOY(matcher_data_input_get_header_value)
    (input, CW_ENVOY_REQUEST_HEADERS, wanted, &value, 0, &count);
    *first = (cw_text){value.ptr, value.length};
    return count;
}

void ON(get)(const void *config, void *input)
{
    char answer[CW_ANSWER_BYTES];
    cw_request request = {input, header};
    cw_outcome outcome = {0};
    size_t len =
        cw_answer(config, &request, cw_process_map(), answer, sizeof(answer), &outcome);
    if (len != 0)
        CW_ENVOY(matcher_data_input_set_result)(input, (cw_envoy_text){answer, len});
}
