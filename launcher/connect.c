#include "launcher/connect.h"

#include "launcher/stop.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { ADDRESSES = 8, RETRY_MILLISECONDS = 10 };

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un local;
};

struct addresses {
    union address address[ADDRESSES];
    socklen_t length[ADDRESSES];
    size_t count;
};

bool pye_ready(int fd, short events, int64_t deadline)
{
    struct pollfd poll_fd = {.fd = fd, .events = events};
    int ready;
    do {
        int64_t left = deadline - pye_milliseconds();
        ready = poll(&poll_fd, 1, left > 0 ? (int)left : 0);
    } while (ready < 0 && errno == EINTR);
    return ready != 0;
}

/* --- addresses --- */

static union address *add(struct addresses *list, sa_family_t family, socklen_t length)
{
    union address *address = &list->address[list->count];
    list->length[list->count++] = length;
    address->any.sa_family = family;
    return address;
}

static void add_v4(struct addresses *list, struct in_addr host, in_port_t port)
{
    struct sockaddr_in *v4 = &add(list, AF_INET, sizeof *v4)->v4;
    v4->sin_addr = host;
    v4->sin_port = htons(port);
}

static void add_v6(struct addresses *list, struct in6_addr host, in_port_t port)
{
    struct sockaddr_in6 *v6 = &add(list, AF_INET6, sizeof *v6)->v6;
    v6->sin6_addr = host;
    v6->sin6_port = htons(port);
}

/* What needs no resolver: a socket's path, numbers, and localhost, which is both of its addresses wherever
 * /etc/hosts lacks one, or is missing. */
static void add_known(struct addresses *list, const struct pye_url *url)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (url->scheme == PYE_UNIX) {
        size_t length = strlen(url->host);
        bool abstract = url->host[0] == '@'; /* its name is as long as it is, and a zero byte stands in front */
        size_t size = abstract ? offsetof(struct sockaddr_un, sun_path) + length : sizeof(struct sockaddr_un);
        struct sockaddr_un *local = &add(list, AF_UNIX, (socklen_t)size)->local;
        memcpy(local->sun_path + abstract, url->host + abstract, length - abstract);
    } else if (strcmp(url->host, "localhost") == 0) {
        add_v4(list, (struct in_addr){htonl(INADDR_LOOPBACK)}, url->port);
        add_v6(list, (struct in6_addr)IN6ADDR_LOOPBACK_INIT, url->port);
    } else if (inet_pton(AF_INET, url->host, &v4) == 1) {
        add_v4(list, v4, url->port);
    } else if (inet_pton(AF_INET6, url->host, &v6) == 1) {
        add_v6(list, v6, url->port);
    }
}

/* --- names ---
 *
 * getaddrinfo takes no time limit, and with its own may take half a minute. It runs in a thread of its own, and
 * is left behind there when the time is over: the process ends soon. So what it works on is not on a stack. */

static struct {
    const char *name;
    struct addrinfo *found;
    int error, system_error;
    int done[2]; /* a pipe: closed by the thread at its end */
} lookup;

static void *resolve(void *unused)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    lookup.error = getaddrinfo(lookup.name, NULL, &hints, &lookup.found);
    lookup.system_error = errno;
    close(lookup.done[1]);
    return unused;
}

static void take_found(struct addresses *list, in_port_t port)
{
    for (const struct addrinfo *info = lookup.found; info != NULL && list->count < ADDRESSES; info = info->ai_next) {
        union address address;
        memcpy(&address, info->ai_addr, info->ai_addrlen < sizeof address ? info->ai_addrlen : sizeof address);
        if (info->ai_family == AF_INET)
            add_v4(list, address.v4.sin_addr, port);
        else if (info->ai_family == AF_INET6)
            add_v6(list, address.v6.sin6_addr, port);
    }
}

static bool look_up(struct addresses *list, const struct pye_url *url, const struct pye_patience *patience,
                    char *why, size_t room)
{
    pthread_t thread;
    lookup.name = url->host;
    int error = pipe2(lookup.done, O_CLOEXEC) < 0 ? errno : 0;
    if (error != 0 || (error = pthread_create(&thread, NULL, resolve, NULL)) != 0) {
        snprintf(why, room, "the name cannot be looked up: %s", strerror(error));
        return false;
    }
    if (!pye_ready(lookup.done[0], POLLIN, patience->deadline)) {
        snprintf(why, room, "the look-up of the name has no answer within %s", patience->text);
        return false;
    }
    pthread_join(thread, NULL);
    if (lookup.error == 0)
        take_found(list, url->port);
    if (list->count > 0)
        return true;
    snprintf(why, room, "the name has no address: %s",
             lookup.error == EAI_SYSTEM ? strerror(lookup.system_error) : gai_strerror(lookup.error));
    return false;
}

/* --- connecting --- */

/* 0, or the errno. A unix: socket whose queue is full says EAGAIN, and cannot be polled for. */
static int connect_by(int fd, const union address *address, socklen_t length, int64_t deadline)
{
    int error = 0;
    socklen_t size = sizeof error;
    while (connect(fd, &address->any, length) < 0) {
        if (errno == EINPROGRESS || errno == EINTR) {
            if (!pye_ready(fd, POLLOUT, deadline))
                return ETIMEDOUT;
            return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 ? errno : error;
        }
        if (errno != EAGAIN || address->any.sa_family != AF_UNIX)
            return errno;
        if (pye_milliseconds() >= deadline)
            return ETIMEDOUT;
        poll(NULL, 0, RETRY_MILLISECONDS);
    }
    return 0;
}

static int try_one(const union address *address, socklen_t length, int64_t deadline, int *error)
{
    int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    *error = fd < 0 ? errno : connect_by(fd, address, length, deadline);
    if (*error == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

int pye_connect(const struct pye_url *url, const struct pye_patience *patience, char *why, size_t room)
{
    struct addresses list = {.count = 0};
    int first_error = 0;

    add_known(&list, url);
    if (list.count == 0 && !look_up(&list, url, patience, why, room))
        return -1;
    for (size_t i = 0; i < list.count; i++) {
        /* An address that swallows everything leaves their share of the time to the others. */
        int64_t now = pye_milliseconds();
        int64_t share = (patience->deadline - now) / (int64_t)(list.count - i);
        int error, fd = try_one(&list.address[i], list.length[i], now + share, &error);
        if (fd >= 0)
            return fd;
        if (first_error == 0)
            first_error = error;
    }
    if (first_error == ETIMEDOUT)
        snprintf(why, room, "no connection within %s", patience->text);
    else
        snprintf(why, room, "no connection: %s", strerror(first_error));
    return -1;
}
