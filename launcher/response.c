#include "launcher/response.h"

#include <string.h>

static const char PREFIX[] = "HTTP/1.";
static const char PATTERN[] = "HTTP/1.0 000"; /* a 0 stands for any digit */

enum { PREFIX_BYTES = sizeof PREFIX - 1, PATTERN_BYTES = sizeof PATTERN - 1, SWITCHING_PROTOCOLS = 101 };

_Static_assert(PATTERN_BYTES == PYE_STATUS_COLUMN + 3, "the status ends the pattern");

static void keep(struct pye_response *response, char byte)
{
    if (response->kept + 1 < sizeof response->line)
        response->line[response->kept++] = byte;
}

/* The status in a whole status line, 0 where it has none. The text behind it may be missing, and often is. */
static int status_of(const struct pye_response *response)
{
    const char *line = response->line;
    int status = 0;
    for (size_t i = 0; i < PATTERN_BYTES; i++) {
        bool digit = line[i] >= '0' && line[i] <= '9';
        if (PATTERN[i] == '0' ? !digit : line[i] != PATTERN[i])
            return 0;
        if (i >= PYE_STATUS_COLUMN)
            status = status * 10 + (line[i] - '0');
    }
    if (line[PATTERN_BYTES] != '\0' && line[PATTERN_BYTES] != ' ')
        return 0;
    return status >= 100 ? status : 0;
}

static enum pye_answer end_status_line(struct pye_response *response)
{
    if (response->kept > 0 && response->line[response->kept - 1] == '\r')
        response->line[--response->kept] = '\0';
    response->status = status_of(response);
    response->in_header = true;
    response->column = 0;
    return response->status == 0 ? PYE_ANSWER_NOT_HTTP : PYE_ANSWER_MORE;
}

/* An interim answer (100 Continue, 103 Early Hints) is followed by another one; a switch of protocols is not. */
static enum pye_answer end_header(struct pye_response *response)
{
    if (response->status >= 200 || response->status == SWITCHING_PROTOCOLS)
        return PYE_ANSWER_COMPLETE;
    memset(response->line, 0, sizeof response->line);
    response->kept = 0;
    response->in_header = false;
    return PYE_ANSWER_MORE;
}

static enum pye_answer take(struct pye_response *response, char byte)
{
    if (!response->in_header) {
        if (byte == '\n')
            return end_status_line(response);
        keep(response, byte);
        size_t kept = response->kept;
        return kept <= PREFIX_BYTES && byte != PREFIX[kept - 1] ? PYE_ANSWER_NOT_HTTP : PYE_ANSWER_MORE;
    }
    if (byte == '\n' && response->column == 0)
        return end_header(response);
    if (byte == '\n')
        response->column = 0;
    else if (byte != '\r')
        response->column++;
    return PYE_ANSWER_MORE;
}

enum pye_answer pye_response_feed(struct pye_response *response, const char *bytes, size_t length)
{
    enum pye_answer answer = PYE_ANSWER_MORE;
    size_t i = 0;
    while (i < length && answer == PYE_ANSWER_MORE) {
        if (response->seen++ == PYE_HEADER_BYTES)
            return PYE_ANSWER_ENDLESS;
        answer = take(response, bytes[i++]);
    }
    if (answer == PYE_ANSWER_NOT_HTTP && !response->in_header) { /* the rest of the line, for whoever is to read it */
        while (i < length && bytes[i] != '\n')
            keep(response, bytes[i++]);
    }
    return answer;
}
