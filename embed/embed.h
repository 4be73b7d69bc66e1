/* The interpreter inside: the only door that the launcher may use.
 *
 *     pye_stop_guard();                      first in main: no SIGTERM is lost from here on
 *     pye_bundle_begin(&argc, &argv, "");    whether this executable is a bundle
 *     pye_signals_configure(&settings);      once the options are known
 *     return pye_run_python(argc, argv, &settings);
 */
#ifndef PYE_EMBED_H
#define PYE_EMBED_H

#include "launcher/machine.h"
#include "launcher/values.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Who else gets the SIGTERM that Terminated is raised for. */
enum pye_forward {
    PYE_FORWARD_AUTO, /* the direct children, before it is raised */
    PYE_FORWARD_MAIN, /* nobody */
    PYE_FORWARD_GROUP /* the process group, where this process leads one; else as AUTO */
};

enum pye_switch { PYE_ON, PYE_OFF };

enum {
    PYE_BY_SIGNAL = -1,         /* in the place of an exit status: end by the signal itself */
    PYE_STATUS_BY_SIGNAL = 128, /* and the signal's number: how an exit status says it */
};

/* An init asks Python for the stop report with this signal, and this value, which says how long the stop has
 * lasted. The kernel never sends SIGSTKFLT by itself. */
#define PYE_REPORT_SIGNAL SIGSTKFLT
#define PYE_REPORT_MARK 0x70000000
#define PYE_REPORT_REQUEST(milliseconds) (PYE_REPORT_MARK | ((int)((milliseconds) / 100) & 0x0fffffff))
#define PYE_REPORT_ELAPSED(request) ((int64_t)((request) & 0x0fffffff) * 100)

struct pye_settings {
    enum pye_forward forward;
    struct pye_signal_map signal_map;
    int64_t stop_report; /* milliseconds after SIGTERM; 0: never */
    bool supervised;     /* an init asks for the report when it is time */
    int term_status;     /* exit status after a SIGTERM; PYE_BY_SIGNAL: end by the signal itself */
    enum pye_switch faulthandler; /* Python tracebacks on a crash */
    enum pye_switch fast_exit;    /* nothing is taken apart at the end */
    int cpus;            /* what os.cpu_count() says; 0: what the container leaves */
};

/* The default action of a signal; where it ends a process that the kernel spares, as it does PID 1, that exits with
 * PYE_STATUS_BY_SIGNAL and its number. Async-signal-safe. */
void pye_signal_act_by_default(int number);

/* From here on SIGTERM ends the process at once, also as PID 1, until Python's handler takes over. */
void pye_stop_guard(void);

/* Remembers what SIGTERM should end in, and puts the signal map in force. */
void pye_signals_configure(const struct pye_settings *settings);

/* Looks whether an archive is behind this executable. If so, what the archive's builder wrote down is in force from here
 * on, and the command line is the app's or python's: see embed/bundle/commandline.h. False, with its line printed, where
 * the bundle is damaged.
 *
 * at is "", or where a bundle will lie that takes its snapshot: then Python is the app's, and the command line ours. */
bool pye_bundle_begin(int *argc, char ***argv, const char *at);

/* This executable is a bundle. */
bool pye_is_bundle(void);

/* The same, as far as the file's own mark goes. Can be asked before there is a C library. */
bool pye_mark_is_set(void);

/* Where in the executable the snapshot is that this command line can start from, which is the app's. False: there is none. */
bool pye_bundle_snapshot(uint64_t *base, uint64_t *bytes);

/* The executable, opened to be read; -1 with errno. */
int pye_bundle_open(void);

/* Whether the command line is the app's or python's, and none of its words is ours. */
bool pye_bundle_has_command_line(void);

/* The next of the bundle's own options, "NAME=VALUE", to be freed; at starts at 0. 1, 0 behind the last one, -1 with its
 * line printed. */
int pye_bundle_option(size_t *at, char **text);

/* Makes the command line of --bundle one for Python, which does the rest. */
bool pye_bundle_build(int *argc, char ***argv);

/* Runs Python with this command line, pyentry's own options taken out. Returns the exit status, or
 * leaves through exit(3), as Py_RunMain does. */
int pye_run_python(int argc, char **argv, const struct pye_settings *settings);

/* --- snapshots --- */

/* What is to be taken, in a process whose memory lies in one arena: launcher/arena.h. */
struct pye_taking {
    const char *preload; /* modules, with commas between them; "": TARGET is run, and says when */
    const char *warm_up; /* MODULE:FUNCTION, or "" */
    enum pye_level level;
    uint64_t arena_start, arena_end;
    uint64_t stack_start, stack_end;
    int file;
    uint64_t base; /* where in the file the image begins */
    const char *words; /* for the image, as they are */
    size_t words_bytes;
    const struct pye_clock *clocks; /* where the loader keeps the kernel's functions: this process has none */
    size_t clocks_count;
};

/* Runs Python up to the point of the snapshot, where another process writes it. Returns the exit status, or leaves through
 * exit(3): it says whether the snapshot is whole. */
int pye_take_snapshot(int argc, char **argv, const struct pye_settings *settings, const struct pye_taking *taking);

/* What a process that starts from a snapshot brings along; it lies outside of the snapshot's memory. */
struct pye_start {
    int argc;
    char **argv, **environment;
    struct pye_settings settings;
    int log_format;   /* enum pye_log_format */
    int file;         /* the snapshot's, to be closed */
    int watcher;      /* a descriptor; -1: nobody watches, and the program runs */
    sigset_t signals; /* those that were blocked; all are now */
    uint64_t code_start, code_end; /* a pyentry that is not needed any more; 0: none */
    uint64_t vdso; /* the kernel's own functions; 0: there are none */
    const struct pye_image *unconfirmed; /* what nobody has asked yet whether it fits: launcher/quick.h; NULL */
    const char *name; /* then: of the file */
};

/* Where the process goes on, on the snapshot's stack and with its C library. */
void pye_resume(struct pye_start *start) __attribute__((noreturn));

/* "3.11.2" */
const char *pye_python_version(void);

#endif
