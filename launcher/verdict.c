#include "launcher/verdict.h"

#include "launcher/log.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

enum { TEXT_BYTES = 200 };

void pye_verdict_prepare(struct pye_verdict *verdict)
{
    verdict->started = pye_milliseconds();
    verdict->has_memory = pye_memory_group_find(&verdict->memory);
    verdict->oom_kills = verdict->has_memory ? pye_memory_oom_kills(&verdict->memory) : 0;
}

static void append_size(char *out, size_t room, const char *name, int64_t bytes)
{
    size_t length = strlen(out);
    if (bytes >= 0)
        snprintf(out + length, room - length, ", %s %lld MiB", name, (long long)(bytes >> 20));
}

/* What the kernel's OOM killer has to do with it; empty where it has nothing. */
static void explain_memory(const struct pye_verdict *verdict, char *out, size_t room)
{
    struct pye_memory_state state;
    out[0] = '\0';
    if (!verdict->has_memory)
        return;
    pye_memory_state_read(&verdict->memory, &state);
    if (verdict->oom_kills < 0 || state.oom_kills <= verdict->oom_kills)
        return;
    snprintf(out, room, ": out of memory, by the kernel's OOM killer");
    append_size(out, room, "limit", state.limit);
    append_size(out, room, "peak", state.peak);
}

static void say(const struct pye_verdict *verdict, int number, bool core)
{
    char memory[TEXT_BYTES] = "";
    double lived = pye_seconds(pye_milliseconds() - verdict->started);
    if (number == SIGKILL)
        explain_memory(verdict, memory, sizeof memory);
    pye_log_as(PYE_CRITICAL, "Python was ended by signal %d (%s) after %.1f s%s%s", number, strsignal(number), lived,
               core ? ", core dumped" : "", memory);
}

int pye_verdict_give(const struct pye_verdict *verdict, int wait_status, const struct pye_stop *stop,
                     const struct pye_options *options)
{
    if (WIFEXITED(wait_status))
        return WEXITSTATUS(wait_status);
    int number = WTERMSIG(wait_status);
    if (number == SIGTERM && stop->began != 0)
        return options->python.term_status;
    if (number == SIGINT) /* its traceback is out */
        return PYE_BY_SIGNAL;
    if (!(number == SIGKILL && stop->killed)) /* that line is out, too */
        say(verdict, number, WCOREDUMP(wait_status));
    return PYE_STATUS_BY_SIGNAL + number;
}
