#include "launcher/shell.h"

#include "launcher/log.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

/* TASK_COMM_LEN, the newline and the end included. */
enum { COMM_BYTES = 17 };

static bool is_shell(const char *comm)
{
    static const char *const shells[] = {"sh", "dash", "bash", "ash", "busybox", "ksh", "mksh", "zsh"};
    size_t length = strcspn(comm, "\n");
    for (size_t i = 0; i < sizeof shells / sizeof *shells; i++) {
        if (strlen(shells[i]) == length && strncmp(comm, shells[i], length) == 0)
            return true;
    }
    return false;
}

static bool shell_is_first(void)
{
    char comm[COMM_BYTES];
    int fd = open("/proc/1/comm", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t length = read(fd, comm, sizeof comm - 1);
    close(fd);
    comm[length > 0 ? length : 0] = '\0';
    return is_shell(comm);
}

void pye_warn_of_shell(void)
{
    if (getppid() == 1 && !isatty(STDIN_FILENO) && !isatty(STDERR_FILENO) && shell_is_first())
        pye_log_as(PYE_WARNING, "process 1 is a shell, which does not pass SIGTERM on: at a stop this Python is "
                                "killed. Write ENTRYPOINT [\"pyentry\", ...], without a shell, or `exec pyentry "
                                "...` in the script");
}
