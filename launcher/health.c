#include "config.h"

#include "launcher/health.h"

#include "launcher/connect.h"
#include "launcher/log.h"
#include "launcher/response.h"
#include "launcher/stop.h"
#include "launcher/values.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define USAGE "pyentry --healthcheck [--timeout DURATION] [URL]"

enum { UNHEALTHY = 1, WHY_BYTES = 200, READ_BYTES = 4096, HEALTHY_FROM = 200, HEALTHY_TO = 399 };

/* Of a URL in the line: the reason behind it must have room. */
enum { LONGEST_URL = 1000, LONGEST_GUESS = 100 };

/* How long, and how much of, a body is heard out. */
enum { COURTESY_MILLISECONDS = 200, COURTESY_BYTES = 1024 * 1024 };

struct check {
    const char *url;
    const char *timeout;
    struct pye_url parsed;
    struct pye_patience patience;
    char why[WHY_BYTES];
};

/* What does not fit is left out. snprintf would do, and take 200 KB of the C library into memory. */
static size_t join(char *out, size_t room, const char *const *texts)
{
    size_t length = 0;
    for (; *texts != NULL; texts++) {
        for (const char *byte = *texts; *byte != '\0' && length < room - 1; byte++)
            out[length++] = *byte;
    }
    out[length] = '\0';
    return length;
}

/* --- the conversation --- */

static bool send_request(struct check *check, int fd)
{
    char request[PYE_TARGET_BYTES + PYE_HOST_BYTES + 256];
    size_t length = join(request, sizeof request, (const char *const[]){
        "GET ", check->parsed.target, " HTTP/1.1\r\n"
        "Host: ", check->parsed.authority, "\r\n"
        "User-Agent: pyentry-healthcheck/" PACKAGE_VERSION "\r\n"
        "Accept: */*\r\n"
        "Connection: close\r\n\r\n", NULL});
    for (size_t sent = 0; sent < length;) {
        ssize_t more = send(fd, request + sent, length - sent, 0);
        if (more >= 0)
            sent += (size_t)more;
        else if (errno == EPIPE || errno == ECONNRESET)
            return true; /* it may have answered before it hung up */
        else if (errno != EINTR && (errno != EAGAIN || !pye_ready(fd, POLLOUT, check->patience.deadline))) {
            snprintf(check->why, sizeof check->why, "the request could not be sent: %s", strerror(errno));
            return false;
        }
    }
    return true;
}

/* Why no whole header came; an error of 0 is the end of the connection. */
static bool incomplete(struct check *check, const struct pye_response *response, int error)
{
    const char *when = response->seen == 0 ? "before it answered" : "within the header of its answer";
    if (error == 0)
        snprintf(check->why, sizeof check->why, "the server closed the connection %s", when);
    else if (error == ETIMEDOUT)
        snprintf(check->why, sizeof check->why, "%s within %s",
                 response->seen == 0 ? "no answer" : "the header of the answer did not end", check->patience.text);
    else
        snprintf(check->why, sizeof check->why, "%s %s", strerror(error), when);
    return false;
}

static bool judge(struct check *check, const struct pye_response *response, enum pye_answer answer)
{
    if (answer == PYE_ANSWER_NOT_HTTP)
        snprintf(check->why, sizeof check->why, "the answer is not HTTP/1, it begins with '%s'", response->line);
    else if (answer == PYE_ANSWER_ENDLESS)
        snprintf(check->why, sizeof check->why, "the header of the answer is longer than %d KB",
                 PYE_HEADER_BYTES / 1024);
    else if (response->status < HEALTHY_FROM || response->status > HEALTHY_TO)
        snprintf(check->why, sizeof check->why, "it answered %s", response->line + PYE_STATUS_COLUMN);
    else
        return true;
    return false;
}

/* The verdict is made. But a server that is hung up on within its answer may log an error, or not log the request at
 * all (gunicorn, on a unix: socket): it may come to its end, if that is near. */
static void hear_out(int fd, int64_t deadline)
{
    char bytes[READ_BYTES];
    int64_t patience = pye_milliseconds() + COURTESY_MILLISECONDS;
    for (ssize_t heard = 0, length; heard < COURTESY_BYTES; heard += length) {
        if (!pye_ready(fd, POLLIN, patience < deadline ? patience : deadline))
            return;
        length = recv(fd, bytes, sizeof bytes, 0);
        if (length <= 0)
            return;
    }
}

static bool read_answer(struct check *check, int fd)
{
    struct pye_response response = {.status = 0};
    char bytes[READ_BYTES];
    for (;;) {
        if (!pye_ready(fd, POLLIN, check->patience.deadline))
            return incomplete(check, &response, ETIMEDOUT);
        ssize_t length = recv(fd, bytes, sizeof bytes, 0);
        if (length < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (length <= 0)
            return incomplete(check, &response, length < 0 ? errno : 0);
        enum pye_answer answer = pye_response_feed(&response, bytes, (size_t)length);
        if (answer == PYE_ANSWER_COMPLETE)
            hear_out(fd, check->patience.deadline);
        if (answer != PYE_ANSWER_MORE)
            return judge(check, &response, answer);
    }
}

/* A port alone, or a host with one, lacks the scheme only. */
static void guess_url(struct check *check)
{
    char guess[LONGEST_GUESS];
    size_t digits = strspn(check->url, "0123456789");
    bool port = check->url[digits] == '\0' || check->url[digits] == '/', path = strchr(check->url, '/') != NULL;
    if (strchr(check->url, ':') == NULL && (digits == 0 || !port))
        return;
    int length = snprintf(guess, sizeof guess, "http://%s%s%s", port ? "localhost:" : "", check->url, path ? "" : "/");
    if (length < (int)sizeof guess && pye_url_parse(guess, &check->parsed) == NULL)
        snprintf(check->why, sizeof check->why, "did you mean %s?", guess);
}

/* Docker keeps the line, and what is no URL may hold a password anywhere in front of an @. */
static bool parse(struct check *check)
{
    const char *wrong = pye_url_parse(check->url, &check->parsed);
    if (wrong == NULL)
        return true;
    snprintf(check->why, sizeof check->why, "%s", wrong);
    guess_url(check);
    if (strchr(check->url, '@') != NULL && strncasecmp(check->url, "unix:", strlen("unix:")) != 0)
        check->url = "the URL";
    return false;
}

static bool is_healthy(struct check *check)
{
    if (!parse(check))
        return false;
    int fd = pye_connect(&check->parsed, &check->patience, check->why, sizeof check->why);
    if (fd < 0)
        return false;
    bool healthy = check->parsed.scheme == PYE_TCP || (send_request(check, fd) && read_answer(check, fd));
    close(fd);
    return healthy;
}

/* --- the command line --- */

/* A path alone, or nothing, is meant for the server that listens where platforms want it. */
static bool complete_url(struct check *check, char *out, size_t room)
{
    const char *port = getenv("PORT"), *path = check->url == NULL ? "/" : check->url;
    long number;
    if (*path != '/')
        return true;
    if (port == NULL || *port == '\0')
        port = "8080";
    if (!pye_parse_number(port, 1, 65535, &number)) {
        pye_log("unhealthy: PORT='%s' is not valid: it takes a number from 1 to 65535", port);
        return false;
    }
    while (*port == '0')
        port++;
    join(out, room, (const char *const[]){"http://127.0.0.1:", port, path, NULL});
    check->url = out;
    return true;
}

static bool read_arguments(struct check *check, char **argv)
{
    static const char name[] = "--timeout";
    int64_t milliseconds = 0;
    for (argv++; *argv != NULL; argv++) {
        bool timeout = strncmp(*argv, name, sizeof name - 1) == 0;
        char after = timeout ? (*argv)[sizeof name - 1] : '\0';
        if (timeout && after == '=') {
            check->timeout = *argv + sizeof name;
        } else if (timeout && after == '\0' && argv[1] != NULL) {
            check->timeout = *++argv;
        } else if (**argv == '-' || check->url != NULL) {
            pye_log("unhealthy: cannot do anything with '%.*s': " USAGE, LONGEST_URL, *argv);
            return false;
        } else {
            check->url = *argv;
        }
    }
    if (!pye_parse_duration(check->timeout, &milliseconds) || milliseconds == 0) {
        pye_log("unhealthy: --timeout='%s' is not valid: it takes a duration like 500ms, 3s or 2m", check->timeout);
        return false;
    }
    check->patience = (struct pye_patience){.deadline = pye_milliseconds() + milliseconds, .text = check->timeout};
    return true;
}

int pye_healthcheck(int argc, char **argv)
{
    char url[PYE_TARGET_BYTES + 64];
    struct check check = {.timeout = "3s"};

    (void)argc;
    signal(SIGPIPE, SIG_IGN); /* whoever hangs up, server or reader of our line: the status is 0 or 1 */
    if (!read_arguments(&check, argv) || !complete_url(&check, url, sizeof url))
        return UNHEALTHY;
    if (is_healthy(&check))
        return EXIT_SUCCESS;
    bool whole = strlen(check.url) <= LONGEST_URL;
    pye_log("unhealthy: %.*s%s: %s", LONGEST_URL, check.url, whole ? "" : "...", check.why);
    return UNHEALTHY;
}
