#include "config.h"

#include "launcher/info.h"
#include "launcher/variables.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LABEL_WIDTH = 10, MEBIBYTE_BITS = 20, TEXT_BYTES = 64 };

/* One line, its label in front; what variables and files hold does not make two of it, or colour a terminal. */
static void row(FILE *out, const char *label, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void row(FILE *out, const char *label, const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int length = vasprintf(&text, format, args);
    va_end(args);
    if (length < 0)
        return;
    for (char *byte = text; *byte != '\0'; byte++) {
        if ((unsigned char)*byte < ' ' || *byte == 0x7f)
            *byte = '?';
    }
    fprintf(out, "%-*s  %s\n", LABEL_WIDTH, label, text);
    free(text);
}

static void show_python(const struct pye_info *info, FILE *out)
{
    bool shared = *info->python.library != '\0';
    row(out, "python", "%s, libpython %s%s%s", pye_python_version(), PYE_LIBPYTHON, shared ? ": " : "",
        info->python.library);
    row(out, "", "%s", info->python.executable);
    row(out, "", "prefix %s%s%s", info->python.prefix, *PYE_BUILT_FOR == '\0' ? "" : ", built for ", PYE_BUILT_FOR);
    for (char **entry = environ; *entry != NULL; entry++) {
        if (pye_is_pythons(*entry))
            row(out, "", "%s", *entry);
    }
}

static void show_process(const struct pye_info *info, FILE *out)
{
    row(out, "process", "%d, %s init around Python (%s)", (int)info->process.pid, info->process.init ? "an" : "no",
        info->process.because);
    if (*info->process.first != '\0')
        row(out, "", "process 1 is %s", info->process.first);
}

static void show_platform(const struct pye_platform *platform, FILE *out)
{
    static const char *const generations[] = {"", ", first generation", ", second generation"};
    row(out, "platform", "%s%s%s%s (%s)", platform->title, platform->name == NULL ? "" : " ",
        platform->name == NULL ? "" : platform->name, generations[platform->generation],
        platform->told_by == NULL ? "no sign of a container" : platform->told_by);
    if (platform->revision != NULL)
        row(out, "", "%s", platform->revision);
}

static void show_limits(const struct pye_info *info, FILE *out)
{
    char host[TEXT_BYTES] = "";
    bool all = strcmp(info->cpus.source, PYE_BY_HOST) == 0;
    if (!all)
        snprintf(host, sizeof host, "; the host has %d", info->host_cpus);
    row(out, "cpus", "%lld (%s%s%s)", (long long)info->cpus.value, all ? "all of the host's" : info->cpus.source, host,
        info->quota_seen ? "" : "; no CPU control group is visible");
    if (info->memory.value == PYE_NO_LIMIT)
        row(out, "memory", "no limit; the host has %lld MiB", (long long)(info->host_memory >> MEBIBYTE_BITS));
    else if (info->memory.value >> MEBIBYTE_BITS == 0)
        row(out, "memory", "%lld bytes (%s)", (long long)info->memory.value, info->memory.source);
    else
        row(out, "memory", "%lld MiB (%s)", (long long)(info->memory.value >> MEBIBYTE_BITS), info->memory.source);
}

static void show_streams(const struct pye_stream streams[3], FILE *out)
{
    for (int fd = 0; fd < 3; fd++) {
        const struct pye_stream *stream = &streams[fd];
        bool named = *stream->path != '\0' && strcmp(stream->path, stream->kind) != 0;
        row(out, pye_stream_names[fd], "%s%s%s%s%s%s", stream->kind, named ? " " : "", named ? stream->path : "",
            stream->nonblocking ? ", non-blocking" : "", stream->same_as < 0 ? "" : ", the same as ",
            stream->same_as < 0 ? "" : pye_stream_names[stream->same_as]);
    }
}

/* What decided the form of the log. */
static void show_log(const struct pye_info *info, FILE *out)
{
    bool json = pye_log_is_json();
    const char *because = json ? info->platform.told_by : "this is not Cloud Run";
    struct pye_option_report report = {.name = ""};
    for (size_t i = 0; strcmp(report.name, "log-format") != 0 && pye_options_report(info->options, i, &report);)
        i++;
    if (info->options->log_format != PYE_LOG_AUTO)
        because = report.from == PYE_FROM_VARIABLE ? report.variable : "--log-format";
    row(out, "log", "%s (%s)", json ? "json" : "text", because);
}

static void show_options(const struct pye_options *options, FILE *out)
{
    static const char *const origins[] = {"default", "", "command line"};
    struct pye_option_report report;
    size_t names = 0, values = 0;
    for (size_t i = 0; pye_options_report(options, i, &report); i++) {
        size_t name = strlen(report.name), value = report.value == NULL ? 0 : strlen(report.value);
        names = name > names ? name : names;
        values = value > values && value < TEXT_BYTES ? value : values;
    }
    fputs("\noptions\n", out);
    for (size_t i = 0; pye_options_report(options, i, &report); i++) {
        const char *origin = report.from == PYE_FROM_VARIABLE ? report.variable : origins[report.from];
        row(out, "", "%-*s  %-*s  %s", (int)names, report.name, (int)values, report.value == NULL ? "-" : report.value,
            origin);
    }
}

static void show_warnings(const struct pye_info *info, FILE *out)
{
    fprintf(out, "\nwarnings%s\n", info->warnings == 0 ? "    none" : "");
    for (int i = 0; i < info->warnings; i++)
        row(out, "", "%s", info->warning[i]);
}

void pye_info_text(const struct pye_info *info, FILE *out)
{
    fprintf(out, "pyentry %s\n\n", PACKAGE_VERSION);
    show_python(info, out);
    show_process(info, out);
    show_platform(&info->platform, out);
    show_limits(info, out);
    show_streams(info->streams, out);
    show_log(info, out);
    show_options(info->options, out);
    show_warnings(info, out);
}
