/* Loads whatever bytes there are as a program, and decides a request by it; for sanitizers.
 *
 * An input is u32, so many bytes of a program, and a request as batch_host.c packs it. libFuzzer calls
 * LLVMFuzzerTestOneInput. Without libFuzzer (-DFUZZ_MAIN), `fuzz SEED ROUNDS FILE…` changes the inputs
 * in the files by itself. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "program.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
    const uint8_t *at;
    size_t left;
} request;

static size_t header(void *ctx, cw_text name, cw_text *first) {
    request r = *(request *)ctx;
    size_t found = 0;
    while (r.left >= 4) {
        size_t key = r.at[0] | (size_t)r.at[1] << 8, value = r.at[2] | (size_t)r.at[3] << 8;
        if (key + value > r.left - 4) {
            break;
        }
        if (key == name.len && memcmp(r.at + 4, name.ptr, key) == 0 && found++ == 0) {
            *first = (cw_text){(const char *)r.at + 4 + key, value};
        }
        r.at += 4 + key + value;
        r.left -= 4 + key + value;
    }
    return found;
}

static int owner(void *ctx, cw_text bucket, cw_text value, uint32_t *cell) {
    uint32_t sum = *(uint32_t *)ctx;
    for (size_t i = 0; i < bucket.len; i++) sum = sum * 31 + (uint8_t)bucket.ptr[i];
    for (size_t i = 0; i < value.len; i++) sum = sum * 31 + (uint8_t)value.ptr[i];
    *cell = sum % 7;
    return (int)(sum / 7 % 8 < 6 ? CW_OWNED : sum % 2 ? CW_UNKNOWN : CW_ASK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 4) {
        return 0;
    }
    size_t len = data[0] | (size_t)data[1] << 8 | (size_t)data[2] << 16 | (size_t)data[3] << 24;
    len = len < size - 4 ? len : size - 4;
    /* Copies of their own, so that a read beyond the end is seen. */
    size_t rest = size - 4 - len;
    uint8_t *bytes = malloc(len + 1), *packed = malloc(rest + 1);
    memcpy(bytes, data + 4, len);
    memcpy(packed, data + 4 + len, rest);
    char error[200] = "";
    cw_program *program = cw_program_load(bytes, len, error, sizeof error);
    free(bytes);
    if (program == NULL ? error[0] == 0 : error[0] != 0) {
        abort();
    }
    if (program != NULL) {
        size_t skipped = rest < 2 ? rest : 2;
        request r = {packed + skipped, rest - skipped};
        uint32_t seed = (uint32_t)rest;
        cw_request asked = {&r, header};
        cw_owners owners = {&seed, owner};
        cw_outcome outcome;
        char out[CW_ANSWER_BYTES];
        size_t answer = cw_decide(program, &asked, &owners, out, sizeof out, &outcome);
        if (answer >= sizeof out || outcome.why == 0 || outcome.why > CW_WHY_NO_RULE) {
            abort();
        }
        cw_program_free(program);
    }
    free(packed);
    return 0;
}

#ifdef FUZZ_MAIN
static uint64_t state;

static uint64_t next(uint64_t below) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % below;
}

static size_t change(uint8_t *bytes, size_t size, size_t room) {
    for (uint64_t changes = 1 + next(4); changes--;) {
        size_t at = next(size), more = 1 + next(8);
        switch (next(6)) {
        case 0:
            bytes[at] ^= (uint8_t)(1 << next(8));
            break;
        case 1:
            bytes[at] = (uint8_t)next(256);
            break;
        case 2:
            bytes[at] = (uint8_t)(next(2) ? 0 : 255);
            break;
        case 3:
            bytes[at] = (uint8_t)(bytes[at] + 1 - 2 * next(2));
            break;
        case 4:
            if (size + more < room) {
                memmove(bytes + at + more, bytes + at, size - at);
                size += more;
            }
            break;
        default:
            if (at + more < size && size > 8) {
                memmove(bytes + at, bytes + at + more, size - at - more);
                size -= more;
            }
        }
    }
    return size;
}

int main(int argc, char **argv) {
    if (argc < 4) {
        return 2;
    }
    state = strtoull(argv[1], NULL, 10) * 2654435761u + 1;
    for (uint64_t rounds = strtoull(argv[2], NULL, 10); rounds--;) {
        FILE *file = fopen(argv[3 + next((uint64_t)argc - 3)], "rb");
        if (file == NULL) {
            return 2;
        }
        static uint8_t bytes[1 << 20], changed[1 << 20];
        size_t size = fread(bytes, 1, sizeof bytes / 2, file);
        fclose(file);
        for (int i = 0; i < 200; i++) {
            memcpy(changed, bytes, size);
            size_t now = next(10) ? change(changed, size, sizeof changed) : size;
            LLVMFuzzerTestOneInput(changed, now);
        }
    }
    return 0;
}
#endif
