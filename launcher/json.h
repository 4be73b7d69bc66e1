/* JSON text, made in a buffer that may be too small: what does not fit is only counted, as snprintf does.
 *
 *     struct pye_json json = {.out = line, .room = sizeof line};
 *     pye_json_raw(&json, "{\"message\":");
 *     pye_json_string(&json, text, strlen(text));
 *     if (json.length <= json.room) ...       it is all there; no zero byte follows
 *
 * Whatever bytes a string holds, its JSON is valid and UTF-8: what is no UTF-8 becomes U+FFFD, as where Python decodes
 * with "replace". Pure, and async-signal-safe. */
#ifndef PYE_JSON_H
#define PYE_JSON_H

#include <stddef.h>
#include <stdint.h>

struct pye_json {
    char *out;
    size_t room, length;
};

enum { PYE_JSON_WIDEST = 6 }; /* the most bytes that one character of a string becomes */

/* As it is: punctuation, and what is JSON already. */
void pye_json_raw(struct pye_json *json, const char *text);
void pye_json_raw_bytes(struct pye_json *json, const char *text, size_t length);

void pye_json_number(struct pye_json *json, int64_t number);

/* In quotes. */
void pye_json_string(struct pye_json *json, const char *text, size_t length);

/* Without quotes. */
void pye_json_escape(struct pye_json *json, const char *text, size_t length);

/* How many bytes of text become at most room bytes, in whole characters. */
size_t pye_json_prefix(const char *text, size_t length, size_t room);

#endif
