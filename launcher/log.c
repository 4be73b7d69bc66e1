#include "launcher/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PREFIX "pyentry: "

/* A line never grows past one pipe buffer, so that the kernel keeps it whole. */
enum { LINE_MAX_BYTES = 4096 };

void pye_log(const char *format, ...)
{
    int saved = errno;
    char line[LINE_MAX_BYTES] = PREFIX;
    size_t room = sizeof line - sizeof PREFIX;
    va_list args;

    va_start(args, format);
    int wanted = vsnprintf(line + sizeof PREFIX - 1, room, format, args);
    va_end(args);

    size_t length = strlen(line);
    if (wanted >= (int)room)
        memcpy(line + length - 3, "...", 3);
    for (size_t i = 0; i < length; i++) { /* a value from outside does not make two lines of one */
        if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
            line[i] = '?';
    }
    line[length++] = '\n';
    /* There is nobody to tell when stderr does not take the line. */
    if (write(STDERR_FILENO, line, length) < 0)
        errno = saved;
    errno = saved;
}
