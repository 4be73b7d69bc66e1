#include "embed/snapshot/take.h"

#include "embed/embed.h"
#include "embed/interpreter.h"
#include "embed/snapshot/heap.h"
#include "embed/snapshot/kernel.h"
#include "embed/snapshot/memory.h"
#include "embed/snapshot/program.h"
#include "embed/stdio.h"
#include "launcher/log.h"

#if PYE_SNAPSHOTS

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RED_ZONE = 256, MOST_DESCRIPTORS = 4096 };

static const struct pye_taking *current; /* NULL: not in a process that takes one */

/* Which descriptors are open. */
struct descriptors {
    bool open[MOST_DESCRIPTORS];
};

static void look_at_descriptors(struct descriptors *found)
{
    for (int fd = 0; fd < MOST_DESCRIPTORS; fd++)
        found->open[fd] = fcntl(fd, F_GETFD) >= 0;
}

static bool is_one_thread(void)
{
    struct stat tasks;
    return stat("/proc/self/task", &tasks) == 0 && tasks.st_nlink == 3; /* a directory of one directory */
}

/* Functions that C libraries gave to pthread_atfork(3) have run in this process, and run in no start. Most only forget;
 * what some make for themselves would not be there. */
static bool is_as_before(const struct descriptors *before)
{
    struct descriptors now;
    look_at_descriptors(&now);
    bool same = memcmp(before, &now, sizeof now) == 0 && is_one_thread();
    if (!same)
        pye_log("the snapshot was not taken: a function for forks, of a C library (libuv, pocketfft) or of "
                "os.register_at_fork(before=), starts threads, opens or closes files: use what gave it in a function given "
                "to pyentry.after_restore, and not before");
    return same;
}

/* Everything from here up is written; what starts from it goes on below. */
static int write_down(const char *words, size_t bytes)
{
    uint64_t frame = (uint64_t)__builtin_frame_address(0);
    uint64_t stack_pointer = ((frame - RED_ZONE) & ~(uint64_t)15) - sizeof(uint64_t); /* as behind a call */
    bool well = pye_kernel_note() && pye_memory_write(current, stack_pointer, words, bytes);
    return well ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* Whoever waits for this process waits for the writer, and for nobody else. */
static int wait_for(pid_t writer)
{
    int status;
    pid_t ended;
    while ((ended = waitpid(writer, &status, 0)) < 0 && errno == EINTR)
        ;
    if (ended == writer && WIFSIGNALED(status))
        pye_log("the snapshot was not taken: its writer ended by signal %d", WTERMSIG(status));
    return ended == writer && WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE;
}

/* What a module did about the ends of children is for those of the starts. */
static pid_t fork_writer(void)
{
    struct sigaction kept, fallback = {.sa_handler = SIG_DFL};
    sigaction(SIGCHLD, &fallback, &kept);
    PyOS_BeforeFork();
    pid_t writer = fork();
    if (writer == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        sigaction(SIGCHLD, &kept, NULL);
    }
    return writer;
}

/* The file that malloc is from, if that is not the C library: such allocators (jemalloc, tcmalloc, mimalloc) rely on
 * zeros where they gave memory back by madvise(2), and would find what the snapshot holds. */
static const char *foreign_malloc(void)
{
    Dl_info allocator, library;
    /* The next: at a fixed address, pyentry itself has a malloc that leads there. */
    bool known = dladdr(dlsym(RTLD_NEXT, "malloc"), &allocator) != 0
                 && dladdr(dlsym(RTLD_NEXT, "gnu_get_libc_version"), &library) != 0;
    return known && allocator.dli_fbase != library.dli_fbase ? allocator.dli_fname : NULL;
}

/* Most processes that start have their output where nobody can seek, for which nothing is to be renewed then. */
static int put_on_pipe(void)
{
    int ends[2], kept[PYE_STREAMS];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return 0;
    for (int i = 0; i < PYE_STREAMS; i++) {
        kept[i] = fcntl(STDOUT_FILENO + i, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        if (kept[i] >= 0)
            dup2(ends[1], STDOUT_FILENO + i);
    }
    int result = pye_stdio_resume(true);
    for (int i = 0; i < PYE_STREAMS; i++) {
        if (kept[i] < 0)
            continue;
        dup2(kept[i], STDOUT_FILENO + i);
        close(kept[i]);
    }
    close(ends[0]);
    close(ends[1]);
    return result;
}

PyObject *pye_snapshot_take(PyObject *module, PyObject *args)
{
    PyObject *words;
    char *text;
    Py_ssize_t bytes;
    int keeps_frames;
    (void)module;
    if (!PyArg_ParseTuple(args, "Sp", &words, &keeps_frames) || PyBytes_AsStringAndSize(words, &text, &bytes) < 0)
        return NULL;
    if (current == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "this process does not take a snapshot");
        return NULL;
    }
    const char *file = foreign_malloc();
    if (file != NULL)
        return PyErr_Format(PyExc_SystemExit, "pyentry: the snapshot was not taken: malloc is that of %s, whose memory "
                            "cannot be carried: take it without LD_PRELOAD", file);
    pye_program_leave();
    fflush(NULL);
    if (put_on_pipe() < 0)
        return NULL;
    pye_kernel_prepare(current);
    pye_resume_keeps_canary = keeps_frames;
    pye_heap_fill();
    static struct descriptors before;
    look_at_descriptors(&before);
    pid_t writer = fork_writer();
    if (writer == 0)
        _exit(is_as_before(&before) ? write_down(text, (size_t)bytes) : EXIT_FAILURE);
    if (writer < 0)
        pye_log("the snapshot was not taken: fork: %s", strerror(errno));
    _exit(writer < 0 ? EXIT_FAILURE : wait_for(writer));
}

/* Imports, and the point of the snapshot behind them; where nothing is to be imported, the program says when. */
static int prepare(void)
{
    PyObject *module = PyImport_ImportModule("pyentry._snapshot");
    PyObject *result = module == NULL ? NULL
                                      : PyObject_CallMethod(module, "begin", "ssi", current->preload, current->warm_up,
                                                            current->file);
    Py_XDECREF(module);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

int pye_take_snapshot(int argc, char **argv, const struct pye_settings *settings, const struct pye_taking *taking)
{
    static struct pye_taking copy;
    PyStatus status = pye_interpreter_begin(argc, argv, settings);
    if (PyStatus_Exception(status))
        pye_interpreter_fail(status);
    copy = *taking;
    current = &copy;
    if (prepare() < 0) {
        PyErr_Print();
        pye_log("the snapshot was not taken: see above");
        return EXIT_FAILURE;
    }
    int result = Py_RunMain();
    pye_log("the snapshot was not taken: the program has ended (%d) without pyentry.checkpoint()", result);
    return EXIT_FAILURE;
}

#else

PyObject *pye_snapshot_take(PyObject *module, PyObject *args)
{
    (void)module;
    (void)args;
    PyErr_SetString(PyExc_RuntimeError, "snapshots are for x86-64 with glibc");
    return NULL;
}

int pye_take_snapshot(int argc, char **argv, const struct pye_settings *settings, const struct pye_taking *taking)
{
    (void)argc;
    (void)argv;
    (void)settings;
    (void)taking;
    return 1;
}

#endif
