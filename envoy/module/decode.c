#include "decode.h"

#include <string.h>

#include "crc32.h"

enum { RANDOM = 16, MIN_PAYLOAD = 27, MAX_PAYLOAD = 300, MAX_PREFIX = 64, MAX_ROUTING = 159, MAX_LINES = 10, CRC = 7 };

static int hex(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

enum cw_decoded cw_decode_url(cw_run *run, cw_text raw, int query, cw_text *out) {
    int blanks = query && raw.len && memchr(raw.ptr, '+', raw.len) != NULL;
    int escapes = raw.len && memchr(raw.ptr, '%', raw.len) != NULL;
    *out = raw;
    if (!blanks && !escapes) {
        return CW_DECODED;
    }
    char *decoded = cw_run_room(run, 2 * raw.len), *spelled = decoded + raw.len;
    if (decoded == NULL) {
        return CW_UNCLEAR;
    }
    size_t len = 0;
    int controls = 0;
    for (size_t i = 0; i < raw.len; i++) {
        spelled[i] = query && raw.ptr[i] == '+' ? ' ' : raw.ptr[i];
    }
    for (size_t i = 0; i < raw.len; i++) {
        unsigned char c = (unsigned char)spelled[i];
        int high = c == '%' && i + 2 < raw.len ? hex(spelled[i + 1]) : -1;
        int low = high >= 0 ? hex(spelled[i + 2]) : -1;
        if (low >= 0) {
            c = (unsigned char)(high * 16 + low);
            i += 2;
        }
        if (c > 0x7f) {
            return CW_UNCLEAR;
        }
        controls |= c < 0x20 || c == 0x7f;
        decoded[len++] = (char)c;
    }
    /* What has control characters stays as it is spelled. */
    *out = !escapes || controls ? (cw_text){spelled, raw.len} : (cw_text){decoded, len};
    return CW_DECODED;
}

static int base64_digit(char c) {
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    if (c == '+' || c == '-') {
        return 62;
    }
    return c == '/' || c == '_' ? 63 : -1;
}

enum cw_decoded cw_decode_base64(cw_run *run, cw_text text, cw_text *out) {
    size_t len = text.len;
    while (len && text.ptr[len - 1] == '=') {
        len--;
    }
    if (len % 4 == 1) {
        return CW_INVALID;
    }
    char *decoded = cw_run_room(run, len / 4 * 3 + 3);
    if (decoded == NULL) {
        return CW_UNCLEAR;
    }
    size_t bytes = 0;
    uint32_t bits = 0;
    for (size_t i = 0; i < len; i++) {
        int digit = base64_digit(text.ptr[i]);
        if (digit < 0) {
            return CW_INVALID;
        }
        bits = bits << 6 | (uint32_t)digit;
        if (i % 4 == 3) {
            decoded[bytes++] = (char)(bits >> 16);
            decoded[bytes++] = (char)(bits >> 8);
            decoded[bytes++] = (char)bits;
        }
    }
    if (len % 4 == 3) {
        decoded[bytes++] = (char)(bits >> 10);
        decoded[bytes++] = (char)(bits >> 2);
    } else if (len % 4 == 2) {
        decoded[bytes++] = (char)(bits >> 4);
    }
    *out = (cw_text){decoded, bytes};
    return CW_DECODED;
}

static int base36_digit(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'z' ? c - 'a' + 10 : -1;
}

size_t cw_write_decimal(uint64_t number, char *out) {
    char digits[20];
    size_t count = 0;
    do {
        digits[count++] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    for (size_t i = 0; i < count; i++) {
        out[i] = digits[count - 1 - i];
    }
    return count;
}

size_t cw_decode_base36(cw_text text, char *out) {
    if (text.len == 0 || text.len > 13) {
        return 0;
    }
    uint64_t number = 0; /* of all digits but a thirteenth, which would be beyond 64 bits */
    for (size_t i = 0; i < text.len; i++) {
        int digit = base36_digit(text.ptr[i]);
        if (digit < 0) {
            return 0;
        }
        if (i < 12) {
            number = number * 36 + (uint64_t)digit;
            continue;
        }
        uint64_t low = number % 1000000000 * 36 + (uint64_t)digit;
        uint64_t high = number / 1000000000 * 36 + low / 1000000000;
        low %= 1000000000;
        if (high == 0) {
            return cw_write_decimal(low, out);
        }
        size_t len = cw_write_decimal(high, out);
        for (int place = 8; place >= 0; place--, low /= 10) {
            out[len + (size_t)place] = (char)('0' + low % 10);
        }
        return len + 9;
    }
    return cw_write_decimal(number, out);
}

int cw_routing_key(cw_text key) {
    static const char keys[] = "cgoput";
    const char *at = key.len == 1 && key.ptr[0] ? strchr(keys, key.ptr[0]) : NULL;
    return at == NULL ? -1 : (int)(at - keys);
}

/* Read lines of key:base36. */
static int routing_lines(cw_run *run, cw_text raw, cw_text values[6]) {
    if (raw.len < 3 || raw.len > MAX_ROUTING) {
        return 0;
    }
    memset(values, 0, 6 * sizeof *values);
    const char *at = raw.ptr, *end = raw.ptr + raw.len;
    for (int lines = 1;; lines++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        stop = stop == NULL ? end : stop;
        int key = stop - at >= 2 && at[1] == ':' ? cw_routing_key((cw_text){at, 1}) : -1;
        char *number = cw_run_room(run, CW_DECIMAL_BYTES);
        if (lines > MAX_LINES || key < 0 || values[key].len || number == NULL) {
            return number == NULL ? -1 : 0;
        }
        size_t len = cw_decode_base36((cw_text){at + 2, (size_t)(stop - at - 2)}, number);
        if (len == 0) {
            return 0;
        }
        values[key] = (cw_text){number, len};
        if (stop == end) {
            return values[0].len || values[2].len;
        }
        at = stop + 1;
    }
}

static int is_lower36(cw_text text) {
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z'))) {
            return 0;
        }
    }
    return 1;
}

static uint64_t value36(cw_text text) {
    uint64_t value = 0;
    for (size_t i = 0; i < text.len; i++) {
        value = value * 36 + (uint64_t)base36_digit(text.ptr[i]);
    }
    return value;
}

/* Take the payload out of a whole token, whose length and checksum are compared. */
static int verified_payload(cw_text token, cw_text *payload) {
    if (token.len < 3 + CRC) {
        return 0;
    }
    cw_text length = {token.ptr + token.len - CRC - 2, 2};
    cw_text crc = {token.ptr + token.len - CRC, CRC};
    size_t head = token.len - CRC - 3;
    if (token.ptr[head] != '.' || !is_lower36(length) || !is_lower36(crc)) {
        return 0;
    }
    if (head >= 3 && memcmp(token.ptr + head - 3, ".01", 3) == 0) {
        head -= 3;
    }
    size_t wanted = (size_t)value36(length);
    if (wanted < MIN_PAYLOAD || wanted > head || wanted > MAX_PAYLOAD || head - wanted > MAX_PREFIX) {
        return 0;
    }
    *payload = (cw_text){token.ptr + head - wanted, wanted};
    return cw_crc32(0, token.ptr, token.len - CRC) == value36(crc);
}

enum cw_decoded cw_decode_routable(cw_run *run, cw_text text, cw_text values[6]) {
    cw_text payload = text, raw;
    if (text.len > CW_MAX_TOKEN ||
        (text.len && memchr(text.ptr, '.', text.len) != NULL && !verified_payload(text, &payload))) {
        return CW_INVALID;
    }
    enum cw_decoded decoded = cw_decode_base64(run, payload, &raw);
    if (decoded != CW_DECODED) {
        return decoded;
    }
    if (raw.len < RANDOM + 4) {
        return CW_INVALID;
    }
    size_t length = (unsigned char)raw.ptr[raw.len - 1];
    cw_text tries[3] = {
        {raw.ptr + RANDOM, raw.len == RANDOM + length + 1 ? length : 0}, /* the newer layout */
        {raw.ptr, raw.len - RANDOM - 1},                                 /* the older one */
        {raw.ptr, raw.len - RANDOM},                                     /* without a length */
    };
    for (int i = 0; i < 3; i++) {
        int found = routing_lines(run, tries[i], values);
        if (found) {
            return found > 0 ? CW_DECODED : CW_UNCLEAR;
        }
    }
    return CW_INVALID;
}
