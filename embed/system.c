#include "embed/system.h"

#include "embed/replace.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { KEYS = 2, NO_SHELL = 127 << 8 };

static const int keys[KEYS] = {SIGINT, SIGQUIT}; /* those of the terminal, which are for the command while it runs */

/* Only with the GIL. */
static struct {
    int calls; /* that wait, in all threads */
    struct sigaction before[KEYS];
} waiting;

static void ignore_keys(void)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    if (waiting.calls++ > 0)
        return;
    for (int i = 0; i < KEYS; i++)
        sigaction(keys[i], &ignore, &waiting.before[i]);
}

static void regard_keys(void)
{
    if (--waiting.calls > 0)
        return;
    for (int i = 0; i < KEYS; i++) {
        struct sigaction now;
        /* A Python handler that ran meanwhile may have set another. */
        if (sigaction(keys[i], NULL, &now) == 0 && now.sa_handler == SIG_IGN)
            sigaction(keys[i], &waiting.before[i], NULL);
    }
}

static int spawn(pid_t *child, const char *command, const sigset_t *mask)
{
    const char *argv[] = {"sh", "-c",
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 38) /* its system() takes commands that begin with a dash */
                          "--",
#endif
                          command, NULL};
    posix_spawnattr_t attributes;
    sigset_t defaults;
    sigemptyset(&defaults);
    for (int i = 0; i < KEYS; i++) {
        if (waiting.before[i].sa_handler != SIG_IGN)
            sigaddset(&defaults, keys[i]);
    }
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, mask);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    int error = posix_spawn(child, "/bin/sh", NULL, &attributes, (char *const *)argv, environ);
    posix_spawnattr_destroy(&attributes);
    return error;
}

static void *reap(void *child)
{
    waitpid(*(pid_t *)child, NULL, 0);
    free(child);
    return NULL;
}

/* Nobody else knows the child of a call that was left by an exception. It may go on, as any other child may, but not
 * stay as a zombie, and a later look by process id could find another child that has got the same. */
static void leave(pid_t child)
{
    sigset_t all, before;
    pthread_t thread;
    pid_t *argument = malloc(sizeof *argument);
    if (argument == NULL)
        return;
    *argument = child;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before); /* signals are for the other threads */
    if (pthread_create(&thread, NULL, reap, argument) == 0)
        pthread_detach(thread);
    else
        free(argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* The wait status, or -1: without an exception where somebody else has reaped the child. */
static int wait_for(pid_t child)
{
    for (;;) {
        pid_t ended;
        int status;
        Py_BEGIN_ALLOW_THREADS
        ended = waitpid(child, &status, 0);
        Py_END_ALLOW_THREADS
        if (ended == child)
            return status;
        if (errno != EINTR)
            return -1;
        if (PyErr_CheckSignals() < 0) {
            leave(child);
            return -1;
        }
    }
}

static int run(const char *command)
{
    sigset_t one, before;
    pid_t child = 0;
    int error;
    sigemptyset(&one);
    sigaddset(&one, SIGCHLD);
    ignore_keys();
    pthread_sigmask(SIG_BLOCK, &one, &before);
    Py_BEGIN_ALLOW_THREADS
    error = spawn(&child, command, &before);
    Py_END_ALLOW_THREADS
    int status = error != 0 ? NO_SHELL : wait_for(child);
    regard_keys();
    if (!sigismember(&before, SIGCHLD)) /* no more than that: a Python handler may have changed the mask */
        pthread_sigmask(SIG_UNBLOCK, &one, NULL);
    return status;
}

static PyObject *system_(PyObject *module, PyObject *args, PyObject *keywords)
{
    static const char *names[] = {"command", NULL};
    PyObject *command = NULL, *result = NULL; /* command: bytes */
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O&:system", (char **)names, PyUnicode_FSConverter, &command))
        return NULL;
    if (PySys_Audit("os.system", "(O)", command) == 0) {
        int status = run(PyBytes_AS_STRING(command));
        result = PyErr_Occurred() ? NULL : PyLong_FromLong(status);
    }
    Py_DECREF(command);
    return result;
}

int pye_system_install(void)
{
    static PyMethodDef definition = {
        .ml_meth = (PyCFunction)(void (*)(void))system_,
        .ml_flags = METH_VARARGS | METH_KEYWORDS,
    };
    PyObject *python_system = pye_replace("posix", "system", &definition);
    Py_XDECREF(python_system);
    return python_system == NULL ? -1 : 0;
}
