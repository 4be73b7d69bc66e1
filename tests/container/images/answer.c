/* The least that can be a service: answers HTTP requests, one after the other. What a container takes with it is what
 * podman and the kernel take. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void)
{
    static const char answer[] = "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nok\n";
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(8080)};
    int on = 1, server = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(server, (struct sockaddr *)&address, sizeof address) != 0 || listen(server, 8) != 0)
        return 1;
    for (;;) {
        char request[4096];
        int client = accept(server, NULL, NULL);
        if (client >= 0 && read(client, request, sizeof request) > 0 && write(client, answer, sizeof answer - 1) < 0)
            return 1;
        close(client);
    }
}
