#include "normalise.h"

#include <string.h>

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }
static int is_digit(char c) { return c >= '0' && c <= '9'; }

static cw_text strip(cw_text text, char what) {
    while (text.len && text.ptr[0] == what) {
        text.ptr++;
        text.len--;
    }
    while (text.len && text.ptr[text.len - 1] == what) {
        text.len--;
    }
    return text;
}

static size_t write_lower(cw_text text, char *out) {
    for (size_t i = 0; i < text.len; i++) {
        out[i] = lower(text.ptr[i]);
    }
    return text.len;
}

/* Whether a label is a number, by which a host would be an IPv4 address. */
static int is_number(const char *label, size_t len) {
    size_t at = 0;
    if (len >= 2 && label[0] == '0' && label[1] == 'x') {
        for (at = 2; at < len && (is_digit(label[at]) || (label[at] >= 'a' && label[at] <= 'f'));) {
            at++;
        }
        return at == len;
    }
    while (at < len && is_digit(label[at])) {
        at++;
    }
    return at == len;
}

/* Write a domain name in lower case, without a dot at its end; 0 if it is not plainly one. */
static size_t write_domain(cw_text name, char *out) {
    name = strip(name, ' ');
    if (name.len && name.ptr[name.len - 1] == '.') {
        name.len--;
    }
    size_t label = 0, len = write_lower(name, out);
    for (size_t i = 0; i < len; i++) {
        char c = out[i];
        if (c == '.') {
            if (i == label) {
                return 0;
            }
            label = i + 1;
        } else if (!(is_digit(c) || (c >= 'a' && c <= 'z') || c == '-' || c == '_')) {
            return 0;
        }
    }
    return label == len || is_number(out + label, len - label) ? 0 : len;
}

static enum cw_normal write_email(cw_text value, char *out, size_t *out_len) {
    value = strip(value, ' ');
    size_t at = value.len;
    while (at && value.ptr[at - 1] != '@') {
        at--;
    }
    if (at == 0) {
        return CW_NOBODYS;
    }
    cw_text local = strip((cw_text){value.ptr, at - 1}, ' ');
    cw_text domain = strip((cw_text){value.ptr + at, value.len - at}, ' ');
    if (local.len == 0 || domain.len == 0) {
        return CW_NOBODYS;
    }
    int quoted = local.ptr[0] == '"' && local.ptr[local.len - 1] == '"';
    for (size_t i = 0; i < local.len; i++) {
        if (strchr(" \"()@\\", local.ptr[i]) != NULL) {
            return quoted ? CW_NOT_PLAIN : CW_NOBODYS;
        }
    }
    size_t len = write_lower(local, out);
    out[len++] = '@';
    size_t more = write_domain(domain, out + len);
    *out_len = len + more;
    return more ? CW_NORMAL : CW_NOT_PLAIN;
}

/* A positive number below 2^63, without zeros before it. */
static enum cw_normal write_number(cw_text value, char *out, size_t *out_len) {
    value = strip(value, ' ');
    if (value.len == 0 || value.len > 19) {
        return CW_NOBODYS;
    }
    uint64_t number = 0;
    for (size_t i = 0; i < value.len; i++) {
        if (!is_digit(value.ptr[i])) {
            return CW_NOBODYS;
        }
        number = number * 10 + (uint64_t)(value.ptr[i] - '0');
    }
    if (number == 0 || number > INT64_MAX) {
        return CW_NOBODYS;
    }
    while (value.ptr[0] == '0') {
        value.ptr++;
        value.len--;
    }
    memcpy(out, value.ptr, value.len);
    *out_len = value.len;
    return CW_NORMAL;
}

enum cw_normal cw_normalise(uint8_t form, cw_text value, char *out, size_t *out_len) {
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        if (c > 0x7e) {
            return c == 0x7f && form != CW_FORM_EXACT ? CW_NOBODYS : CW_NOT_PLAIN;
        }
        if (c < 0x20) {
            return form == CW_FORM_EXACT ? CW_NOT_PLAIN : CW_NOBODYS;
        }
    }
    switch (form) {
    case CW_FORM_EMAIL:
        return write_email(value, out, out_len);
    case CW_FORM_HOST:
        *out_len = write_domain(value, out);
        return *out_len ? CW_NORMAL : CW_NOT_PLAIN;
    case CW_FORM_NUMBER:
        return write_number(value, out, out_len);
    case CW_FORM_PATH:
        *out_len = write_lower(strip(value, '/'), out);
        break;
    case CW_FORM_NAME:
        *out_len = write_lower(strip(value, ' '), out);
        break;
    case CW_FORM_PLAIN:
        value = strip(value, ' ');
        /* fall through */
    default:
        memcpy(out, value.ptr, value.len);
        *out_len = value.len;
    }
    return *out_len ? CW_NORMAL : CW_NOBODYS;
}
