#include "launcher/terminal.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

void pye_terminal_prepare(struct pye_terminal *terminal, bool first)
{
    /* Standard input may be anything: this is the controlling terminal, or fails. It must not become one of the
     * standard streams, where those came closed. */
    int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    terminal->fd = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (fd >= 0)
        close(fd);
    terminal->first = first || getsid(0) == getpid();
    terminal->foreground = terminal->fd >= 0 && tcgetpgrp(terminal->fd) == getpgrp();
    terminal->own_group = terminal->fd < 0 || terminal->first || (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO));
}

/* All signals are blocked in the init, so SIGTTOU does not stop it here. */
static void give(const struct pye_terminal *terminal, pid_t group)
{
    tcsetpgrp(terminal->fd, group); /* it fails when the terminal has gone, and then nobody needs it */
}

void pye_terminal_enter(const struct pye_terminal *terminal, pid_t child)
{
    if (!terminal->own_group)
        return;
    setpgid(child, child);
    if (terminal->foreground)
        give(terminal, child);
}

void pye_terminal_forget(const struct pye_terminal *terminal)
{
    if (terminal->fd >= 0)
        close(terminal->fd);
}

bool pye_terminal_suspend(const struct pye_terminal *terminal, pid_t child)
{
    if (terminal->first || terminal->fd < 0)
        return false;
    sigset_t pending;
    /* The stop would take it away. One that comes between here and there is as one before Python stopped. */
    if (sigpending(&pending) == 0 && sigismember(&pending, SIGCONT))
        return true;
    pye_terminal_leave(terminal, child);
    kill(getpid(), SIGSTOP);
    return true;
}

bool pye_terminal_resume(const struct pye_terminal *terminal, pid_t child)
{
    if (terminal->fd < 0 || !terminal->own_group || tcgetpgrp(terminal->fd) != getpgrp())
        return false;
    give(terminal, child);
    return true;
}

void pye_terminal_leave(const struct pye_terminal *terminal, pid_t child)
{
    if (terminal->fd >= 0 && terminal->own_group && !terminal->first && tcgetpgrp(terminal->fd) == child)
        give(terminal, getpgrp());
}
