/* launcher/response: the answer of a server that --healthcheck asks. However the bytes come in, whole or in pieces,
 * the verdict is the same; and a server that says the same again and again comes to the ceiling. */
#include "tests/fuzz/fuzz.h"

#include "launcher/response.h"

enum { AGAIN = 0x80, AGAIN_BYTES = 16 }; /* a flag in the first byte, whose last bits are the length of the pieces */

static enum pye_answer feed(struct pye_response *response, const char *bytes, size_t size, size_t step)
{
    enum pye_answer answer = PYE_ANSWER_MORE;
    for (size_t at = 0; at < size && answer == PYE_ANSWER_MORE; at += step)
        answer = pye_response_feed(response, bytes + at, size - at < step ? size - at : step);
    return answer;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pye_response whole = {.status = 0}, pieces = {.status = 0};
    const char *bytes = (const char *)data + 1;
    if (size < 2)
        return 0;
    bool again = (data[0] & AGAIN) != 0 && size > AGAIN_BYTES; /* shorter ones would take long */
    enum pye_answer answer = feed(&whole, bytes, size - 1, size);
    while (answer == PYE_ANSWER_MORE && again) {
        MUST(whole.seen <= PYE_HEADER_BYTES);
        answer = feed(&whole, bytes, size - 1, size);
    }
    MUST(whole.seen <= PYE_HEADER_BYTES + 1);
    MUST(memchr(whole.line, '\0', sizeof whole.line) != NULL);
    MUST(strchr(whole.line, '\n') == NULL);
    if (answer == PYE_ANSWER_COMPLETE) {
        MUST(whole.status == 101 || (whole.status >= 200 && whole.status <= 999));
        MUST(strlen(whole.line) >= PYE_STATUS_COLUMN + 3);
    }
    if (again)
        return 0;
    MUST(feed(&pieces, bytes, size - 1, 1 + data[0] % 8) == answer);
    MUST(pieces.status == whole.status);
    MUST(answer == PYE_ANSWER_NOT_HTTP || strcmp(whole.line, pieces.line) == 0);
    return 0;
}
