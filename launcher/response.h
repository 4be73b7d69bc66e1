/* The header of an HTTP/1 answer, as it comes in, byte by byte if need be. Nothing is kept but the beginning of the
 * status line; the body is not looked at.
 *
 *     struct pye_response response = {.status = 0};
 *     while (pye_response_feed(&response, bytes, length) == PYE_ANSWER_MORE) ...read more...
 */
#ifndef PYE_RESPONSE_H
#define PYE_RESPONSE_H

#include <stdbool.h>
#include <stddef.h>

enum {
    PYE_HEADER_BYTES = 64 * 1024, /* of all headers before the body; servers and proxies stop at 8 to 64 KB */
    PYE_STATUS_LINE_BYTES = 100,  /* of it that are kept */
    PYE_STATUS_COLUMN = 9,        /* where the status begins in it */
};

enum pye_answer {
    PYE_ANSWER_MORE,     /* the header has not ended yet */
    PYE_ANSWER_COMPLETE, /* it has: status and line tell */
    PYE_ANSWER_NOT_HTTP, /* line is how it begins */
    PYE_ANSWER_ENDLESS,  /* past the ceiling */
};

struct pye_response {
    int status;
    char line[PYE_STATUS_LINE_BYTES]; /* without its end; a NUL closes it */
    size_t kept;                      /* bytes in line */
    size_t seen;                      /* bytes of headers */
    size_t column;                    /* bytes of the header's present line */
    bool in_header;                   /* past the status line */
};

/* Not to be called again once it said anything but MORE. */
enum pye_answer pye_response_feed(struct pye_response *response, const char *bytes, size_t length);

#endif
