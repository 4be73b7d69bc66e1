#include "launcher/terminal.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

void pye_terminal_prepare(struct pye_terminal *terminal, bool first)
{
    /* Standard input may be anything: this is the controlling terminal, or fails. */
    terminal->fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    terminal->first = first;
    terminal->foreground = terminal->fd >= 0 && tcgetpgrp(terminal->fd) == getpgrp();
    terminal->own_group = terminal->fd < 0 || first || (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO));
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

bool pye_terminal_suspend(const struct pye_terminal *terminal)
{
    if (terminal->first || terminal->fd < 0)
        return false;
    if (terminal->own_group && tcgetpgrp(terminal->fd) != getpgrp())
        pye_terminal_leave(terminal);
    kill(getpid(), SIGSTOP);
    return true;
}

void pye_terminal_resume(const struct pye_terminal *terminal, pid_t child)
{
    if (terminal->fd >= 0 && terminal->own_group && tcgetpgrp(terminal->fd) == getpgrp())
        give(terminal, child);
}

void pye_terminal_leave(const struct pye_terminal *terminal)
{
    if (terminal->fd >= 0 && terminal->own_group && terminal->foreground && !terminal->first)
        give(terminal, getpgrp());
}
