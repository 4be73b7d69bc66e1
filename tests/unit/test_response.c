/* launcher/response: the header of an answer, in pieces of every size. */
#include "tests/unit/check.h"

#include "launcher/response.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OK "HTTP/1.1 200 OK\r\n"

static struct pye_response response;

static enum pye_answer feed(const char *bytes, size_t length, size_t step)
{
    enum pye_answer answer = PYE_ANSWER_MORE;
    memset(&response, 0, sizeof response);
    for (size_t at = 0; at < length && answer == PYE_ANSWER_MORE; at += step)
        answer = pye_response_feed(&response, bytes + at, length - at < step ? length - at : step);
    return answer;
}

static void answers(void **state)
{
    static const struct {
        const char *bytes;
        enum pye_answer answer;
        int status;
    } cases[] = {
        {OK "\r\n", PYE_ANSWER_COMPLETE, 200},
        {OK "Content-Length: 2\r\n\r\nok", PYE_ANSWER_COMPLETE, 200},
        {"HTTP/1.0 204 No Content\r\nServer: x\r\n\r\n", PYE_ANSWER_COMPLETE, 204},
        {"HTTP/1.1 404 Not Found\n\n", PYE_ANSWER_COMPLETE, 404},
        {"HTTP/1.1 302\r\nLocation: /elsewhere\r\n\r\n", PYE_ANSWER_COMPLETE, 302},
        {"HTTP/1.1 302 \r\n\r\n", PYE_ANSWER_COMPLETE, 302},
        {"HTTP/1.1 500 \xff\xfe\x01\r\n\r\n", PYE_ANSWER_COMPLETE, 500},
        {"HTTP/1.1 999 \r\n\r\n", PYE_ANSWER_COMPLETE, 999},
        {OK "no colon\r\n folded\r\n\r\n", PYE_ANSWER_COMPLETE, 200},
        /* interim answers */
        {"HTTP/1.1 100 Continue\r\n\r\n" OK "\r\n", PYE_ANSWER_COMPLETE, 200},
        {"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 102\r\n\r\nHTTP/1.1 503 No\r\n\r\n", PYE_ANSWER_COMPLETE,
         503},
        {"HTTP/1.1 101 Switching Protocols\r\n\r\n", PYE_ANSWER_COMPLETE, 101},
        {"HTTP/1.1 100 Continue\r\n\r\n", PYE_ANSWER_MORE, 100},
        /* cut short */
        {"", PYE_ANSWER_MORE, 0},
        {"HTTP", PYE_ANSWER_MORE, 0},
        {"HTTP/1.1 200 OK", PYE_ANSWER_MORE, 0},
        {OK, PYE_ANSWER_MORE, 200},
        {OK "Content-Length: 2\r\n", PYE_ANSWER_MORE, 200},
        /* something else */
        {"<html>hello</html>", PYE_ANSWER_NOT_HTTP, 0},
        {"\r\n" OK "\r\n", PYE_ANSWER_NOT_HTTP, 0},
        {"http/1.1 200 OK\r\n\r\n", PYE_ANSWER_NOT_HTTP, 0},
        {"HTTP/2 200\r\n\r\n", PYE_ANSWER_NOT_HTTP, 0},
        {"HTTP/1.x 200 OK\r\n\r\n", PYE_ANSWER_NOT_HTTP, 0},
        {"HTTP/1.1\r\n\r\n", PYE_ANSWER_NOT_HTTP, 0},
        {"HTTP/1.1 OK\r\n\r\n", PYE_ANSWER_NOT_HTTP, 0},
        {"HTTP/1.1 20 OK\r\n\r\n", PYE_ANSWER_NOT_HTTP, 0},
        {"HTTP/1.1 2000 OK\r\n\r\n", PYE_ANSWER_NOT_HTTP, 0},
        {"HTTP/1.1 2xx OK\r\n\r\n", PYE_ANSWER_NOT_HTTP, 0},
        {"HTTP/1.1 -20 OK\r\n\r\n", PYE_ANSWER_NOT_HTTP, 0},
        {"HTTP/1.1 099 OK\r\n\r\n", PYE_ANSWER_NOT_HTTP, 0},
        {"HTTP/1.1  200 OK\r\n\r\n", PYE_ANSWER_NOT_HTTP, 0},
        {"HTTP/1.10 200 OK\r\n\r\n", PYE_ANSWER_NOT_HTTP, 0},
        {"HTTP/1.1 100\r\n\r\nhello", PYE_ANSWER_NOT_HTTP, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t step = 1; step <= 40; step++) {
            enum pye_answer answer = feed(cases[i].bytes, strlen(cases[i].bytes), step);
            if (answer != cases[i].answer
                || (cases[i].answer != PYE_ANSWER_NOT_HTTP && response.status != cases[i].status))
                fail_msg("'%s' by %zu: %d, status %d", cases[i].bytes, step, (int)answer, response.status);
        }
    }
}

/* What is shown of an answer. */
static void lines(void **state)
{
    (void)state;
    assert_int_equal(feed("HTTP/1.1 503 Too busy\r\n\r\n", 25, 25), PYE_ANSWER_COMPLETE);
    assert_string_equal(response.line, "HTTP/1.1 503 Too busy");
    assert_int_equal(feed("<html>\nhello", 12, 12), PYE_ANSWER_NOT_HTTP);
    assert_string_equal(response.line, "<html>");
    assert_int_equal(feed("HTTP/1.1 200\0OK\r\n\r\n", 19, 19), PYE_ANSWER_COMPLETE);
    assert_string_equal(response.line, "HTTP/1.1 200");
    assert_int_equal(feed("HTTP/1.1 103\r\n\r\nHTTP/1.1 200\r\n\r\n", 32, 32), PYE_ANSWER_COMPLETE);
    assert_string_equal(response.line, "HTTP/1.1 200");
}

/* Without an end of the status line, of a header line, of the header, of interim answers. */
static void ceilings(void **state)
{
    static const struct {
        const char *begin, *again;
    } cases[] = {
        {"HTTP/1.1 200 ", "x"}, {OK "X: ", "x"}, {OK, "X: y\r\n"}, {"", "HTTP/1.1 100 Continue\r\n\r\n"}, {OK, "\r"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t fed = strlen(cases[i].begin), length = strlen(cases[i].again);
        enum pye_answer answer = PYE_ANSWER_MORE;
        memset(&response, 0, sizeof response);
        pye_response_feed(&response, cases[i].begin, fed);
        for (; answer == PYE_ANSWER_MORE && fed <= 2UL * PYE_HEADER_BYTES; fed += length)
            answer = pye_response_feed(&response, cases[i].again, length);
        assert_int_equal(answer, PYE_ANSWER_ENDLESS);
        assert_in_range(fed, PYE_HEADER_BYTES + 1, PYE_HEADER_BYTES + length);
    }
}

/* The last byte that fits ends the header, and a long first line is kept in part. */
static void just_fits(void **state)
{
    char *bytes = malloc(PYE_HEADER_BYTES);
    (void)state;
    assert_non_null(bytes);
    snprintf(bytes, PYE_HEADER_BYTES, "HTTP/1.1 200 %0*d\r\n\r", PYE_HEADER_BYTES - 17, 0);
    bytes[PYE_HEADER_BYTES - 1] = '\n';
    assert_int_equal(feed(bytes, PYE_HEADER_BYTES, 1000), PYE_ANSWER_COMPLETE);
    assert_int_equal(response.status, 200);
    assert_int_equal(strlen(response.line), PYE_STATUS_LINE_BYTES - 1);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers),
        cmocka_unit_test(lines),
        cmocka_unit_test(ceilings),
        cmocka_unit_test(just_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
