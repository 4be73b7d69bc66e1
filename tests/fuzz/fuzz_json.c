/* launcher/json and log: whatever bytes a message holds, its entry is one line that fits, valid JSON and UTF-8; what is
 * ASCII comes back as it was. */
#include "tests/fuzz/fuzz.h"

#include "launcher/json.h"
#include "launcher/log.h"

#include <stdbool.h>
#include <string.h>

/* Reads one character of a JSON string. Returns how many bytes it is of, 0 where it is not valid; *code is the character. */
static size_t read_character(const unsigned char *text, size_t length, unsigned *code)
{
    static const char names[] = "\"\\/bfnrt", named[] = "\"\\/\b\f\n\r\t", hex[] = "0123456789abcdef";
    *code = text[0];
    if (text[0] == '\\') {
        const char *name = length < 2 || text[1] == '\0' ? NULL : strchr(names, text[1]);
        if (name != NULL)
            *code = (unsigned char)named[name - names];
        if (name != NULL || length < 6 || memcmp(text, "\\u00", 4) != 0)
            return name != NULL ? 2 : 0;
        const char *high = strchr(hex, text[4]), *low = strchr(hex, text[5]);
        if (high == NULL || low == NULL)
            return 0;
        *code = (unsigned)((high - hex) * 16 + (low - hex));
        return 6;
    }
    if (text[0] < ' ' || text[0] == '"')
        return 0;
    size_t more = text[0] < 0x80 ? 0 : text[0] < 0xe0 ? 1 : text[0] < 0xf0 ? 2 : 3;
    static const unsigned least[] = {0, 0x80, 0x800, 0x10000};
    if (more >= length || (more > 0 && (text[0] < 0xc0 || text[0] > 0xf4)))
        return 0;
    if (more > 0)
        *code &= 0x3fU >> more;
    for (size_t i = 1; i <= more; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
        *code = *code << 6 | (text[i] & 0x3fU);
    }
    bool surrogate = *code >= 0xd800 && *code <= 0xdfff;
    return *code < least[more] || surrogate || *code > 0x10ffff ? 0 : more + 1;
}

static void escape(const char *bytes, size_t size)
{
    struct pye_json measure = {.out = NULL};
    pye_json_escape(&measure, bytes, size);
    char *out = malloc(measure.length + 1);
    MUST(out != NULL);
    struct pye_json json = {.out = out, .room = measure.length};
    pye_json_escape(&json, bytes, size);
    MUST(json.length == measure.length && json.length <= size * PYE_JSON_WIDEST);
    size_t at = 0;
    bool ascii = true;
    for (size_t i = 0; i < json.length;) {
        unsigned code;
        size_t taken = read_character((unsigned char *)out + i, json.length - i, &code);
        MUST(taken > 0);
        ascii = ascii && code < 0x80;
        MUST(!ascii || (at < size && code == (unsigned char)bytes[at++]));
        i += taken;
    }
    MUST(!ascii || at == size);
    free(out);
}

static void make(const char *bytes, size_t size, size_t room)
{
    struct pye_log_entry entry = {.severity = PYE_ERROR, .exception = size % 2 != 0, .text = bytes, .length = size};
    char *out = malloc(room);
    MUST(out != NULL);
    size_t length = pye_log_make(out, room, &entry);
    MUST(length <= room && length > 3 && memcmp(out + length - 3, "\"}\n", 3) == 0);
    MUST(memchr(out, '\n', length) == out + length - 1);
    unsigned code;
    const char *message = memmem(out, length, "\"message\":\"", 11);
    MUST(message != NULL);
    for (message += 11; message < out + length - 3;) {
        size_t taken = read_character((const unsigned char *)message, (size_t)(out + length - 3 - message), &code);
        MUST(taken > 0);
        message += taken;
    }
    free(out);
}

/* The first two bytes are how often the others are repeated, and how much room there is. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { TIMES = 64, MOST_BYTES = 4 * PYE_LOG_LINE_BYTES }; /* longer texts only take longer */
    if (size < 3)
        return 0;
    size_t times = 1 + data[0] % TIMES, length = size - 2;
    if (times * length > MOST_BYTES)
        times = length < MOST_BYTES ? MOST_BYTES / length : 1;
    char *text = malloc(times * length);
    MUST(text != NULL);
    for (size_t i = 0; i < times; i++)
        memcpy(text + i * length, data + 2, length);
    escape(text, times * length);
    size_t half = pye_json_prefix(text, times * length, length);
    struct pye_json prefix = {.out = NULL};
    pye_json_escape(&prefix, text, half);
    MUST(half <= times * length && prefix.length <= length);
    make(text, times * length, (size_t)PYE_LOG_LINE_BYTES + data[1] % 8);
    free(text);
    return 0;
}
