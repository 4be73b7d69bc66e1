#include "config.h"

#include "launcher/info.h"
#include "launcher/json.h"
#include "launcher/variables.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct writer {
    struct pye_json json;
    bool comma; /* a value is in front of what comes next */
};

static void open_with(struct writer *writer, const char *key, const char *bracket)
{
    if (writer->comma)
        pye_json_raw(&writer->json, ",");
    if (key != NULL) {
        pye_json_string(&writer->json, key, strlen(key));
        pye_json_raw(&writer->json, ":");
    }
    pye_json_raw(&writer->json, bracket);
    writer->comma = false;
}

static void close_with(struct writer *writer, const char *bracket)
{
    pye_json_raw(&writer->json, bracket);
    writer->comma = true;
}

static void put_raw(struct writer *writer, const char *key, const char *value)
{
    open_with(writer, key, value);
    writer->comma = true;
}

/* NULL and the empty text: null. */
static void put_text(struct writer *writer, const char *key, const char *value)
{
    bool none = value == NULL || *value == '\0';
    put_raw(writer, key, none ? "null" : "");
    if (!none)
        pye_json_string(&writer->json, value, strlen(value));
}

static void put_number(struct writer *writer, const char *key, int64_t value)
{
    put_raw(writer, key, "");
    pye_json_number(&writer->json, value);
}

static void put_bool(struct writer *writer, const char *key, bool value)
{
    put_raw(writer, key, value ? "true" : "false");
}

static void put_python(struct writer *writer, const struct pye_info *info)
{
    open_with(writer, "python", "{");
    put_text(writer, "version", pye_python_version());
    put_text(writer, "libpython", PYE_LIBPYTHON);
    put_text(writer, "library", info->python.library);
    put_text(writer, "executable", info->python.executable);
    put_text(writer, "prefix", info->python.prefix);
    put_text(writer, "built_for", PYE_BUILT_FOR);
    open_with(writer, "variables", "{");
    for (char **entry = environ; *entry != NULL; entry++) {
        size_t length = strcspn(*entry, "=");
        if (!pye_is_pythons(*entry))
            continue;
        (*entry)[length] = '\0';
        put_raw(writer, *entry, "");
        pye_json_string(&writer->json, *entry + length + 1, strlen(*entry + length + 1));
        (*entry)[length] = '=';
    }
    close_with(writer, "}");
    close_with(writer, "}");
}

static void put_process(struct writer *writer, const struct pye_info *info)
{
    open_with(writer, "process", "{");
    put_number(writer, "pid", info->process.pid);
    put_bool(writer, "init", info->process.init);
    put_text(writer, "because", info->process.because);
    put_text(writer, "process_1", info->process.pid == 1 ? "pyentry" : info->process.first);
    close_with(writer, "}");
}

static void put_platform(struct writer *writer, const struct pye_platform *platform)
{
    open_with(writer, "platform", "{");
    put_text(writer, "id", platform->id);
    put_text(writer, "name", platform->name);
    put_text(writer, "revision", platform->revision);
    if (platform->generation == 0)
        put_raw(writer, "generation", "null");
    else
        put_number(writer, "generation", platform->generation);
    put_text(writer, "told_by", platform->told_by);
    close_with(writer, "}");
}

static void put_limit(struct writer *writer, const struct pye_limit *limit, int64_t host)
{
    if (limit->value == PYE_NO_LIMIT)
        put_raw(writer, "limit", "null");
    else
        put_number(writer, "limit", limit->value);
    put_text(writer, "source", limit->source);
    put_number(writer, "host", host);
}

static void put_limits(struct writer *writer, const struct pye_info *info)
{
    open_with(writer, "cpus", "{");
    put_limit(writer, &info->cpus, info->host_cpus);
    put_bool(writer, "group_visible", info->quota_seen);
    close_with(writer, "}");
    open_with(writer, "memory", "{");
    put_limit(writer, &info->memory, info->host_memory);
    close_with(writer, "}");
}

static void put_streams(struct writer *writer, const struct pye_stream streams[3])
{
    for (int fd = 0; fd < 3; fd++) {
        const struct pye_stream *stream = &streams[fd];
        open_with(writer, pye_stream_names[fd], "{");
        put_text(writer, "kind", stream->kind);
        put_text(writer, "path", stream->path);
        put_bool(writer, "nonblocking", stream->nonblocking);
        put_text(writer, "same_as", stream->same_as < 0 ? NULL : pye_stream_names[stream->same_as]);
        close_with(writer, "}");
    }
}

static void put_options(struct writer *writer, const struct pye_options *options)
{
    static const char *const origins[] = {"default", "variable", "command line"};
    struct pye_option_report report;
    open_with(writer, "options", "{");
    for (size_t i = 0; pye_options_report(options, i, &report); i++) {
        open_with(writer, report.name, "{");
        put_text(writer, "value", report.value);
        put_text(writer, "from", origins[report.from]);
        put_text(writer, "variable", report.variable);
        put_bool(writer, "valid", report.takes == NULL);
        close_with(writer, "}");
    }
    close_with(writer, "}");
}

static void put_all(struct writer *writer, const struct pye_info *info)
{
    open_with(writer, NULL, "{");
    put_text(writer, "pyentry", PACKAGE_VERSION);
    put_python(writer, info);
    put_process(writer, info);
    put_platform(writer, &info->platform);
    put_limits(writer, info);
    put_streams(writer, info->streams);
    put_text(writer, "log", pye_log_is_json() ? "json" : "text");
    put_options(writer, info->options);
    open_with(writer, "warnings", "[");
    for (int i = 0; i < info->warnings; i++)
        put_text(writer, NULL, info->warning[i]);
    close_with(writer, "]");
    close_with(writer, "}\n");
}

void pye_info_json(const struct pye_info *info, FILE *out)
{
    struct writer measure = {.comma = false};
    put_all(&measure, info);
    char *text = malloc(measure.json.length);
    if (text == NULL)
        return;
    struct writer writer = {.json = {.out = text, .room = measure.json.length}};
    put_all(&writer, info);
    fwrite(text, 1, writer.json.length, out);
    free(text);
}
