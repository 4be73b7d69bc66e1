#include "launcher/json.h"

#include <stdbool.h>
#include <string.h>

enum { NUMBER_BYTES = 20 };

void pye_json_raw_bytes(struct pye_json *json, const char *text, size_t length)
{
    if (json->length < json->room) {
        size_t left = json->room - json->length;
        memcpy(json->out + json->length, text, length < left ? length : left);
    }
    json->length += length;
}

void pye_json_raw(struct pye_json *json, const char *text)
{
    pye_json_raw_bytes(json, text, strlen(text));
}

void pye_json_number(struct pye_json *json, int64_t number)
{
    char digits[NUMBER_BYTES];
    size_t at = sizeof digits;
    uint64_t left = number < 0 ? -(uint64_t)number : (uint64_t)number;
    do
        digits[--at] = (char)('0' + left % 10);
    while ((left /= 10) != 0);
    if (number < 0)
        digits[--at] = '-';
    pye_json_raw_bytes(json, digits + at, sizeof digits - at);
}

/* The bytes of the character that text begins with; where it is none, of as much of one as there is. */
static size_t character(const unsigned char *text, size_t length, bool *valid)
{
    unsigned char lead = text[0], low = 0x80, high = 0xbf;
    size_t more = lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;

    *valid = lead < 0x80;
    if (lead < 0xc2 || lead > 0xf4)
        return 1;
    if (lead == 0xe0) /* not what has a shorter form, */
        low = 0xa0;
    else if (lead == 0xf0)
        low = 0x90;
    else if (lead == 0xed) /* no surrogate, */
        high = 0x9f;
    else if (lead == 0xf4) /* and nothing above U+10FFFF */
        high = 0x8f;
    for (size_t i = 1; i <= more; i++) {
        if (i == length || text[i] < low || text[i] > high)
            return i;
        low = 0x80;
        high = 0xbf;
    }
    *valid = true;
    return more + 1;
}

/* What the character that text begins with becomes. Returns the number of bytes in out; *taken those of text. */
static size_t escape(const char *text, size_t length, size_t *taken, char out[PYE_JSON_WIDEST])
{
    static const char hex[] = "0123456789abcdef", named[] = "\"\\\b\f\n\r\t", names[] = "\"\\bfnrt";
    static const char unicode[] = {'\\', 'u', '0', '0'}, replacement[] = {'\xef', '\xbf', '\xbd'};
    const char *name = *text == '\0' ? NULL : strchr(named, *text);
    unsigned char byte = (unsigned char)*text;
    bool valid;

    *taken = character((const unsigned char *)text, length, &valid);
    if (name != NULL) {
        out[0] = '\\';
        out[1] = names[name - named];
        return 2;
    }
    if (byte < ' ') {
        memcpy(out, unicode, sizeof unicode);
        out[sizeof unicode] = hex[byte >> 4];
        out[sizeof unicode + 1] = hex[byte & 15];
        return PYE_JSON_WIDEST;
    }
    if (!valid) {
        memcpy(out, replacement, sizeof replacement);
        return sizeof replacement;
    }
    memcpy(out, text, *taken);
    return *taken;
}

void pye_json_escape(struct pye_json *json, const char *text, size_t length)
{
    char out[PYE_JSON_WIDEST];
    for (size_t taken; length > 0; text += taken, length -= taken) {
        size_t made = escape(text, length, &taken, out);
        pye_json_raw_bytes(json, out, made);
    }
}

void pye_json_string(struct pye_json *json, const char *text, size_t length)
{
    pye_json_raw(json, "\"");
    pye_json_escape(json, text, length);
    pye_json_raw(json, "\"");
}

size_t pye_json_prefix(const char *text, size_t length, size_t room)
{
    char out[PYE_JSON_WIDEST];
    size_t done = 0;
    for (size_t taken; done < length; done += taken) {
        size_t made = escape(text + done, length - done, &taken, out);
        if (made > room)
            break;
        room -= made;
    }
    return done;
}
