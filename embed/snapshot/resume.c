/* A process that starts from a snapshot, from its first instruction to the program's. */
#include <Python.h>

#include "embed/cpus.h"
#include "embed/crash.h"
#include "embed/embed.h"
#include "embed/report.h"
#include "embed/signals.h"
#include "embed/snapshot/kernel.h"
#include "embed/snapshot/program.h"
#include "embed/snapshot/take.h"
#include "embed/stdio.h"
#include "embed/teardown.h"
#include "launcher/confirm.h"
#include "launcher/descendants.h"
#include "launcher/log.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#if PYE_SNAPSHOTS

/* What of ours depends on the process, as the launcher of this one read it. */
static int renew_ours(const struct pye_start *start, uint64_t ignored)
{
    const struct pye_settings *settings = &start->settings;
    pye_children_note();
    pye_signals_resume(settings, pye_kernel_ignored(ignored, SIGTERM));
    pye_teardown_configure(settings->fast_exit == PYE_ON, true);
    pye_report_resume(settings->stop_report, settings->supervised);
    if (pye_stdio_resume(false) < 0 || pye_cpus_resume(settings->cpus) < 0)
        return -1;
    return pye_crash_resume(settings->faulthandler == PYE_ON, pye_log_is_json());
}

/* The signals that were ignored, for Python's table. */
static PyObject *list_signals(uint64_t ignored)
{
    PyObject *list = PyList_New(0);
    for (int number = 1; list != NULL && number < PYE_SIGNALS; number++) {
        PyObject *item = pye_kernel_ignored(ignored, number) ? PyLong_FromLong(number) : NULL;
        if (item != NULL && PyList_Append(list, item) < 0)
            Py_CLEAR(list);
        Py_XDECREF(item);
    }
    return list;
}

/* Which was imported before the snapshot: the import system need not be asked. */
static PyObject *find_module(void)
{
    PyObject *module = PyDict_GetItemString(PyImport_GetModuleDict(), "pyentry._restored");
    if (module == NULL)
        PyErr_SetString(PyExc_ImportError, "pyentry._restored is no longer in sys.modules");
    Py_XINCREF(module);
    return module;
}

/* The part in Python: what modules keep, and the hooks. Where somebody watches, that ends us. */
static int renew_modules(const struct pye_start *start, uint64_t ignored)
{
    PyObject *signals = list_signals(ignored);
    PyObject *module = find_module();
    PyObject *result = NULL;
    if (signals != NULL && module != NULL)
        result = start->watcher < 0 ? PyObject_CallMethod(module, "begin", "O", signals)
                                    : PyObject_CallMethod(module, "show", "Oi", signals, start->watcher);
    Py_XDECREF(signals);
    Py_XDECREF(module);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* Whoever watches is to see what reading a command line touches. */
static int choose_program(const struct pye_start *start)
{
    static char program[] = "pyentry", option[] = "-c", code[] = "pass", *words[] = {program, option, code, NULL};
    return start->watcher < 0 ? pye_program_choose(start->argc, start->argv) : pye_program_choose(3, words);
}

static int renew(const struct pye_start *start, uint64_t ignored)
{
    if (renew_ours(start, ignored) < 0)
        return -1;
    sigprocmask(SIG_SETMASK, &start->signals, NULL);
    if (choose_program(start) < 0)
        return -1;
    return renew_modules(start, ignored);
}

static void go_on(struct pye_start *start, uint64_t ignored) __attribute__((noreturn, noinline));
static void go_on(struct pye_start *start, uint64_t ignored)
{
    if (start->unconfirmed != NULL && !pye_confirm(start)) {
        pye_kernel_give_back(ignored);
        pye_begin_anew(start);
    }
    close(start->file);
    if (start->code_end != 0) /* NOLINTNEXTLINE(performance-no-int-to-ptr): addresses of this process */
        munmap((void *)start->code_start, start->code_end - start->code_start);
    pye_log_configure((enum pye_log_format)start->log_format);
    pye_program_forget_frames();
    PyOS_AfterFork_Child();
    if (renew(start, ignored) < 0) {
        PyErr_Print(); /* does not return from a SystemExit */
        exit(Py_FinalizeEx() < 0 ? 120 : EXIT_FAILURE);
    }
    exit(Py_RunMain());
}

bool pye_resume_keeps_canary;

/* Never returns, so that the canary of the C frames can change. The one that is written down stays in the file. */
__attribute__((no_stack_protector)) void pye_resume(struct pye_start *start)
{
    uint64_t ignored, canary;
    /* Here ends the stack for debuggers; below are frames of the process that was written down. */
    ((void *volatile *)__builtin_frame_address(0))[1] = NULL;
    pye_kernel_renew(start, &ignored);
    if (!pye_resume_keeps_canary && getrandom(&canary, sizeof canary, 0) == sizeof canary) {
        canary &= ~(uint64_t)0xff; /* as the C library has it: a string ends before it */
        __asm__ volatile("mov %0, %%fs:0x28" : : "r"(canary));
    }
    go_on(start, ignored);
}

#endif
