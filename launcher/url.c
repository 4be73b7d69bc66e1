#include "launcher/url.h"

#include "launcher/values.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/un.h>

enum { HTTP_PORT = 80 };

/* Letters and words are looked for by hand, here and in options.c: strcasecmp and strcspn lie on pages of the C library
 * that a health check touches for nothing else. */
static char lower(char letter)
{
    return letter >= 'A' && letter <= 'Z' ? (char)(letter - 'A' + 'a') : letter;
}

/* What follows a prefix in lower case; NULL where the text begins otherwise. */
static const char *behind(const char *text, const char *prefix)
{
    for (; *prefix != '\0'; text++, prefix++) {
        if (lower(*text) != *prefix)
            return NULL;
    }
    return text;
}

static bool copy(char *out, size_t room, const char *text, size_t length)
{
    if (length >= room)
        return false;
    memcpy(out, text, length);
    out[length] = '\0';
    return true;
}

/* Path and query, up to a fragment. Anything that could end the request's first line is refused. */
static const char *parse_target(const char *text, struct pye_url *url)
{
    size_t length = 0;
    for (; text[length] != '\0' && text[length] != '#'; length++) {
        if (text[length] <= ' ' || text[length] >= 0x7f)
            return "its path holds a character that must be written as %XX";
    }
    bool slash = text[0] == '/';
    if (!copy(url->target + !slash, sizeof url->target - !slash, text, length))
        return "its path is too long";
    url->target[0] = '/';
    return NULL;
}

static const char *parse_port(const char *text, size_t length, struct pye_url *url)
{
    char digits[8];
    long port;
    if (!copy(digits, sizeof digits, text, length) || !pye_parse_number(digits, 1, 65535, &port))
        return "its port is not a number from 1 to 65535";
    url->port = (in_port_t)port;
    return NULL;
}

/* Letters, digits, and what stands between them; the names of containers may hold underscores. */
static bool is_name(const char *host)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789-._";
    for (const char *letter = host; *letter != '\0'; letter++) {
        if (strchr(allowed, *letter) == NULL)
            return false;
    }
    return *host != '\0';
}

static size_t authority_length(const char *text)
{
    size_t length = 0;
    while (text[length] != '\0' && strchr("/?#", text[length]) == NULL)
        length++;
    return length;
}

/* host, host:port, [address] or [address]:port, in length bytes; the port stays as it is where none is given. */
static const char *parse_authority(const char *text, size_t length, struct pye_url *url)
{
    struct in6_addr address;
    if (memchr(text, '@', length) != NULL)
        return "it holds a user name or a password, and none is sent";
    bool bracket = length > 0 && text[0] == '[';
    const char *begin = text + bracket, *end = memchr(text, bracket ? ']' : ':', length);
    if (end == NULL && bracket)
        return "its [ has no ]";
    if (end == NULL)
        end = text + length;
    if (!copy(url->host, sizeof url->host, begin, (size_t)(end - begin)))
        return "its host is too long";
    for (char *letter = url->host; *letter != '\0'; letter++)
        *letter = lower(*letter);
    if (bracket ? inet_pton(AF_INET6, url->host, &address) != 1 : !is_name(url->host))
        return bracket ? "between [ and ] is no IPv6 address" : "its host is neither a name nor an address";
    const char *rest = end + bracket;
    size_t left = (size_t)(text + length - rest);
    if (left == 0)
        return NULL;
    return *rest == ':' ? parse_port(rest + 1, left - 1, url) : "between ] and the path is no :port";
}

static const char *parse_http(const char *rest, struct pye_url *url)
{
    size_t length = authority_length(rest);
    url->scheme = PYE_HTTP;
    url->port = HTTP_PORT;
    const char *why = parse_authority(rest, length, url);
    if (why != NULL)
        return why;
    size_t shown = url->port == HTTP_PORT ? strlen(url->host) + (*rest == '[' ? strlen("[]") : 0) : length;
    copy(url->authority, sizeof url->authority, rest, shown);
    return parse_target(rest + length, url);
}

static const char *parse_tcp(const char *rest, struct pye_url *url)
{
    size_t length = authority_length(rest);
    url->scheme = PYE_TCP;
    const char *why = parse_authority(rest, length, url);
    if (why != NULL)
        return why;
    if (url->port == 0)
        return "it has no port";
    return rest[length] == '\0' ? NULL : "behind the port of tcp:// nothing may follow";
}

/* unix:/run/app.sock:/path: a colon and a slash begin the path, as for nginx; unix:///run/app.sock, as for gunicorn. */
static const char *parse_unix(const char *rest, struct pye_url *url)
{
    url->scheme = PYE_UNIX;
    if (strncmp(rest, "//", 2) == 0)
        rest += 2;
    const char *target = strstr(rest, ":/");
    size_t length = target == NULL ? strlen(rest) : (size_t)(target - rest);
    if (length == 0)
        return "it names no socket";
    if (!copy(url->host, sizeof ((struct sockaddr_un *)NULL)->sun_path, rest, length))
        return "the socket's path is longer than the 107 bytes that Linux takes";
    copy(url->authority, sizeof url->authority, "localhost", strlen("localhost"));
    return parse_target(target == NULL ? "/" : target + 1, url);
}

static const char *refuse_tls(const char *rest, struct pye_url *url)
{
    (void)rest;
    (void)url;
    return "pyentry speaks no TLS. Ask the server's http:// port or unix: socket, or use tcp://host:port to see whether "
           "it accepts connections";
}

const char *pye_url_parse(const char *text, struct pye_url *url)
{
    static const struct {
        const char *prefix;
        const char *(*parse)(const char *rest, struct pye_url *url);
    } schemes[] = {{"http://", parse_http}, {"tcp://", parse_tcp}, {"unix:", parse_unix}, {"https://", refuse_tls}};

    memset(url, 0, sizeof *url);
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        const char *rest = behind(text, schemes[i].prefix);
        if (rest != NULL)
            return schemes[i].parse(rest, url);
    }
    return "it begins with none of http://, unix:, tcp:// and /";
}
