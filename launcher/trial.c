#include "launcher/trial.h"

#include "launcher/image.h"

#include <stdlib.h>

#if PYE_SNAPSHOTS

#include "launcher/restore.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* How long a start, and then the warm-up, may take: by far more than they do. The warm-up was a part of the build. */
enum { PATIENCE_MS = 60 * 1000, PATIENCE_BUILDS = 3, MOST_PATIENCE_MS = 24 * 60 * 60 * 1000 };

/* Of a word of /proc/PID/pagemap. */
enum { PAGES_AT_ONCE = 512, PRESENT = 63, SWAPPED = 62, OF_A_FILE = 61 };

struct touched {
    struct pye_image_range ranges[PYE_IMAGE_TOUCHED];
    uint32_t count;
};

/* --- the process that starts --- */

static void begin(const char *path, uint64_t base, char *program, const struct pye_options *options, int line,
                  int output)
{
    char *argv[] = {program, NULL};
    struct pye_options wanted = *options;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct sigaction now;
    for (int number = 1; number < NSIG; number++) {
        if (sigaction(number, NULL, &now) == 0 && now.sa_handler != SIG_IGN)
            signal(number, SIG_DFL); /* the builder's handlers are not in the snapshot */
    }
    int nowhere = open("/dev/null", O_RDONLY | O_CLOEXEC);
    dup2(nowhere, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    close(nowhere);
    wanted.restore = path;
    wanted.restore_or_fail = PYE_ON;
    pye_restore_watched(argv, &wanted, base, line);
    _exit(EXIT_FAILURE);
}

/* --- the process that watches --- */

enum heard { NOTHING, BYTE, END };

/* One byte comes on the line when the program would begin, one when the warm-up has ended. What comes before on its
 * output, a pipe as most have it, is for nobody. */
static enum heard hear(int line, int output, int patience_ms)
{
    struct pollfd ready[] = {{.fd = line, .events = POLLIN}, {.fd = output, .events = POLLIN}};
    char bytes[PYE_IMAGE_PAGE];
    for (;;) {
        int count = poll(ready, sizeof ready / sizeof *ready, patience_ms);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return NOTHING;
        if (ready[0].revents != 0)
            return read(line, bytes, 1) == 1 ? BYTE : END;
        if (read(output, bytes, sizeof bytes) <= 0)
            ready[1].fd = -1;
    }
}

static void add(struct touched *touched, uint64_t page)
{
    struct pye_image_range *last = &touched->ranges[touched->count - 1];
    if (touched->count > 0 && last->end == page)
        last->end += PYE_IMAGE_PAGE;
    else if (touched->count < PYE_IMAGE_TOUCHED)
        touched->ranges[touched->count++] = (struct pye_image_range){page, page + PYE_IMAGE_PAGE};
}

/* A page of the file that was written to is a copy, and none of a file's any more. */
static void look_at(struct touched *touched, const struct pye_image_area *area, int pagemap)
{
    uint64_t words[PAGES_AT_ONCE];
    for (uint64_t page = area->start; page < area->end;) {
        ssize_t got = pread(pagemap, words, sizeof words, (off_t)(page / PYE_IMAGE_PAGE * sizeof *words));
        if (got < (ssize_t)sizeof *words)
            return;
        size_t count = (size_t)got / sizeof *words;
        for (size_t i = 0; i < count && page < area->end; i++, page += PYE_IMAGE_PAGE) {
            if ((words[i] >> PRESENT & 1 && !(words[i] >> OF_A_FILE & 1)) || words[i] >> SWAPPED & 1)
                add(touched, page);
        }
    }
}

static void look(struct touched *touched, const struct pye_image *image, pid_t pid)
{
    char name[64];
    snprintf(name, sizeof name, "/proc/%d/pagemap", (int)pid);
    int pagemap = open(name, O_RDONLY | O_CLOEXEC);
    for (uint32_t i = 0; pagemap >= 0 && i < image->header.areas; i++) {
        const struct pye_image_area *area = &image->areas[i];
        bool is_copy = area->kind == PYE_AREA_COPIED && area->end - area->start == PYE_IMAGE_PAGE;
        if (area->protection & PROT_WRITE && area->kind != PYE_AREA_SHARED && !is_copy)
            look_at(touched, area, pagemap);
    }
    if (pagemap >= 0)
        close(pagemap);
}

/* The tables again, with one more. */
static bool note(const struct touched *touched, const struct pye_image *image, int file)
{
    struct pye_image_header header = image->header;
    header.touched = touched->count;
    size_t bytes = pye_image_tables_bytes(&header), before = (size_t)((const char *)image->touched - (const char *)image->areas);
    size_t ranges = touched->count * sizeof *touched->ranges;
    char *tables = malloc(bytes);
    if (tables == NULL)
        return false;
    memcpy(tables, image->areas, before);
    memcpy(tables + before, touched->ranges, ranges);
    memcpy(tables + before + ranges, image->words, header.words_bytes);
    pye_image_seal(&header, tables);
    off_t base = (off_t)image->base;
    bool well = pwrite(file, tables, bytes, base + (off_t)sizeof header) == (ssize_t)bytes
                && pwrite(file, &header, sizeof header, base) == (ssize_t)sizeof header;
    free(tables);
    return well;
}

static bool fail(const char *what)
{
    pye_log("the snapshot was not taken: a first start from it: %s", what);
    return false;
}

/* Ends the process, if it is still there. Whether it had started, and has not crashed since; if not, a line says how it
 * ended. A warm-up may raise or exit: it saw another process than at the build. */
static bool end(pid_t pid, bool started)
{
    int status = 0;
    char text[64];
    kill(pid, SIGKILL); /* after a crash it is too late to change the status */
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    int number = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    if (started && (number == 0 || number == SIGKILL))
        return true;
    snprintf(text, sizeof text, number != 0 ? "ended by signal %d%s" : "ended with status %d%s",
             number != 0 ? number : WEXITSTATUS(status), started ? ", in the warm-up" : "");
    return fail(text);
}

static int patience_for(int64_t build_ms)
{
    int64_t patience = PATIENCE_MS + PATIENCE_BUILDS * build_ms;
    return patience < MOST_PATIENCE_MS ? (int)patience : MOST_PATIENCE_MS;
}

bool pye_trial(const char *path, int file, uint64_t base, char *program, const struct pye_options *options,
               int64_t build_ms)
{
    static struct touched touched;
    struct pye_image image;
    struct stat now;
    int line[2], output[2];
    if (fstat(file, &now) < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, line) < 0
        || pipe2(output, O_CLOEXEC) < 0)
        return fail(strerror(errno));
    const char *wrong = pye_image_read(&image, file, base, (uint64_t)now.st_size - base);
    if (wrong != NULL)
        return fail(wrong);
    pid_t pid = fork();
    if (pid == 0)
        begin(path, base, program, options, line[1], output[1]);
    close(line[1]);
    close(output[1]);
    if (pid < 0)
        return fail(strerror(errno));
    int patience_ms = patience_for(build_ms);
    bool started = hear(line[0], output[0], patience_ms) == BYTE;
    bool stuck = started && hear(line[0], output[0], patience_ms) == NOTHING;
    if (started)
        look(&touched, &image, pid);
    close(line[0]);
    close(output[0]);
    if (!end(pid, started))
        return false;
    if (stuck)
        return fail("its warm-up comes to no end, as that of every start might");
    return note(&touched, &image, file) || fail(strerror(errno));
}

#endif
