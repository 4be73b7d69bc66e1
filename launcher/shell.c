#include "launcher/shell.h"

#include "launcher/log.h"

#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

bool pye_is_shell(const char *name)
{
    static const char *const shells[] = {"sh", "dash", "bash", "ash", "busybox", "ksh", "mksh", "zsh"};
    for (size_t i = 0; i < sizeof shells / sizeof *shells; i++) {
        if (strcmp(shells[i], name) == 0)
            return true;
    }
    return false;
}

void pye_first_process(char name[PYE_COMM_BYTES])
{
    int fd = open("/proc/1/comm", O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? 0 : read(fd, name, PYE_COMM_BYTES - 1);
    if (fd >= 0)
        close(fd);
    name[length > 0 ? length : 0] = '\0';
    name[strcspn(name, "\n")] = '\0';
}

static bool shell_is_first(void)
{
    char name[PYE_COMM_BYTES];
    pye_first_process(name);
    return pye_is_shell(name);
}

void pye_warn_of_shell(void)
{
    if (getppid() == 1 && !isatty(STDIN_FILENO) && !isatty(STDERR_FILENO) && shell_is_first())
        pye_log_as(PYE_WARNING, "process 1 is a shell, which does not pass SIGTERM on: at a stop this Python is "
                                "killed. Write ENTRYPOINT [\"pyentry\", ...], without a shell, or `exec pyentry "
                                "...` in the script");
}
