/* The address that a health check is given: http://host[:port][/path], tcp://host:port, unix:/socket[:/path]. */
#ifndef PYE_URL_H
#define PYE_URL_H

#include <netinet/in.h>

enum {
    PYE_HOST_BYTES = 256, /* a name has at most 253 characters, a socket's path at most 107 */
    PYE_TARGET_BYTES = 2048,
};

enum pye_scheme { PYE_HTTP, PYE_TCP, PYE_UNIX };

struct pye_url {
    enum pye_scheme scheme;
    char host[PYE_HOST_BYTES];                /* a name or an address in lower case, without brackets; a socket's path */
    in_port_t port;                           /* of unix: 0 */
    char authority[PYE_HOST_BYTES + 8];       /* host and port as the Host header wants them */
    char target[PYE_TARGET_BYTES];            /* path and query */
};

/* NULL, or why the text is no such address: the end of a line that begins with the text. */
const char *pye_url_parse(const char *text, struct pye_url *url);

#endif
