#include "settings.h"

#include <string.h>

#include "asking.h"

#define KEY_BYTES 16

static int hex_digit(char one)
{
    const char *digits = "0123456789abcdef", *at = strchr(digits, one);
    return at != NULL && one != 0 ? (int)(at - digits) : -1;
}

static bool read_key(const char *text, size_t len, cw_key *key)
{
    uint8_t bytes[KEY_BYTES];
    if (len != 2 * KEY_BYTES)
        return false;
    for (size_t at = 0; at < KEY_BYTES; at++) {
        int high = hex_digit(text[2 * at]), low = hex_digit(text[2 * at + 1]);
        if (high < 0 || low < 0)
            return false;
        bytes[at] = (uint8_t)(high << 4 | low);
    }
    *key = cw_key_of(bytes);
    return true;
}

static bool read_name(const char *text, size_t len, char name[CW_NAME_MAX + 1])
{
    if (len > CW_NAME_MAX || memchr(text, 0, len) != NULL)
        return false;
    memcpy(name, text, len);
    name[len] = 0;
    return true;
}

static bool read_number(const char *text, size_t len, uint32_t *number)
{
    *number = 0;
    for (size_t at = 0; at < len; at++) {
        if (text[at] < '0' || text[at] > '9' || *number > CW_ASK_MOST)
            return false;
        *number = *number * 10 + (uint32_t)(text[at] - '0');
    }
    return len != 0 && *number <= CW_ASK_MOST;
}

static bool starts(const char *line, size_t len, const char *with)
{
    return len >= strlen(with) && memcmp(line, with, strlen(with)) == 0;
}

static bool read_line(const char *line, size_t len, cw_settings *settings)
{
    const char *value = memchr(line, '=', len);
    if (value == NULL)
        return true;
    size_t value_len = len - (size_t)(++value - line);
    if (starts(line, len, "key=")) {
        settings->has_key = true;
        return read_key(value, value_len, &settings->key);
    }
    if (starts(line, len, "ask="))
        return read_number(value, value_len, &settings->ask);
    if (starts(line, len, "cluster="))
        return read_name(value, value_len, settings->cluster);
    if (starts(line, len, "node="))
        return read_name(value, value_len, settings->node);
    return true;
}

bool cw_settings_read(const char *text, size_t len, cw_settings *settings)
{
    const char *end = text + len;
    memset(settings, 0, sizeof(*settings));
    while (text < end) {
        const char *line_end = memchr(text, '\n', (size_t)(end - text));
        if (line_end == NULL)
            line_end = end;
        if (!read_line(text, (size_t)(line_end - text), settings))
            return false;
        text = line_end < end ? line_end + 1 : end;
    }
    return !settings->has_key || settings->cluster[0] != 0;
}
