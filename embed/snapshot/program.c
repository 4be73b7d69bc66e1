#include "embed/snapshot/program.h"

#include "embed/bundle/bundle.h"
#include "embed/bundle/runner.h"

/* Exported by 3.9 and all since; not every version's headers have it. */
extern const PyConfig *_Py_GetConfig(void); /* NOLINT(bugprone-reserved-identifier,readability-redundant-declaration) */

/* The program that asked for the snapshot may be running still. */
static void forget_program(void)
{
#if PY_VERSION_HEX >= 0x030C0000
    extern void _PyInterpreterState_SetNotRunningMain(PyInterpreterState *); /* NOLINT(bugprone-reserved-identifier) */
    _PyInterpreterState_SetNotRunningMain(PyInterpreterState_Get());
#endif
}

/* No depth is left of those frames. */
static void renew_recursion(PyThreadState *thread)
{
#if PY_VERSION_HEX >= 0x030C0000
    thread->py_recursion_remaining = thread->py_recursion_limit;
#if PY_VERSION_HEX >= 0x030D0000
    thread->c_recursion_remaining = Py_C_RECURSION_LIMIT;
#else
    thread->c_recursion_remaining = C_RECURSION_LIMIT;
#endif
#elif PY_VERSION_HEX >= 0x030B0000
    thread->recursion_remaining = thread->recursion_limit;
#else
    thread->recursion_depth = 0;
#endif
#if PY_VERSION_HEX >= 0x030A0000
    thread->recursion_headroom = 0;
#else
    thread->overflowed = 0;
    thread->recursion_critical = 0;
#endif
}

static void leave_contexts(PyThreadState *thread)
{
    int left = 0;
    while (left == 0 && thread->context != NULL) {
        PyObject *context = thread->context;
        Py_INCREF(context); /* PyContext_Exit goes on with it */
        left = PyContext_Exit(context);
        Py_DECREF(context);
    }
    PyErr_Clear(); /* the last one was not entered */
}

void pye_program_leave(void)
{
    PyThreadState *thread = PyThreadState_Get();
    thread->exc_info = &thread->exc_state;
    PyErr_SetExcInfo(NULL, NULL, NULL);
    leave_contexts(thread);
}

void pye_program_forget_frames(void)
{
    PyThreadState *thread = PyThreadState_Get();
#if PY_VERSION_HEX >= 0x030D0000
    thread->current_frame = NULL;
#elif PY_VERSION_HEX >= 0x030B0000
    thread->cframe->current_frame = NULL;
#else
    thread->frame = NULL;
#endif
    renew_recursion(thread);
    forget_program();
}

/* --- the command line --- */

static int fail(PyStatus status)
{
    if (PyStatus_IsExit(status))
        Py_ExitStatusException(status);
    PyErr_SetString(PyExc_RuntimeError, status.err_msg == NULL ? "the command line" : status.err_msg);
    return -1;
}

static PyStatus take_target(PyConfig *config, const PyConfig *wanted)
{
    PyStatus status = PyConfig_SetString(config, &config->run_command, wanted->run_command);
    if (!PyStatus_Exception(status))
        status = PyConfig_SetString(config, &config->run_module, wanted->run_module);
    if (!PyStatus_Exception(status))
        status = PyConfig_SetString(config, &config->run_filename, wanted->run_filename);
    if (!PyStatus_Exception(status))
        status = PyConfig_SetWideStringList(config, &config->argv, wanted->argv.length, wanted->argv.items);
#if PY_VERSION_HEX >= 0x030A0000
    if (!PyStatus_Exception(status))
        status = PyConfig_SetWideStringList(config, &config->orig_argv, wanted->orig_argv.length,
                                            wanted->orig_argv.items);
#endif
    return status;
}

static PyStatus read_command_line(PyConfig *config, int argc, char **argv)
{
    PyConfig wanted;
    PyConfig_InitPythonConfig(&wanted);
    PyStatus status = PyConfig_SetBytesArgv(&wanted, argc, argv);
    if (!PyStatus_Exception(status))
        status = PyConfig_Read(&wanted);
    if (!PyStatus_Exception(status))
        status = take_target(config, &wanted);
    PyConfig_Clear(&wanted);
    return status;
}

/* The list itself stays: modules hold it. */
static int fill_list(const char *name, const PyWideStringList *words)
{
    PyObject *list = PySys_GetObject(name), *new = PyList_New(words->length);
    for (Py_ssize_t i = 0; new != NULL && i < words->length; i++) {
        PyObject *word = PyUnicode_FromWideChar(words->items[i], -1);
        if (word == NULL)
            Py_CLEAR(new);
        else
            PyList_SET_ITEM(new, i, word);
    }
    if (new == NULL)
        return -1;
    int result = list != NULL && PyList_Check(list) ? PyList_SetSlice(list, 0, PyList_GET_SIZE(list), new)
                                                    : PySys_SetObject(name, new);
    Py_DECREF(new);
    return result;
}

/* A bundle's app: all words are its own, and the program stays what it is. */
static PyStatus take_arguments(PyConfig *config, int argc, char **argv)
{
    PyConfig wanted;
    PyConfig_InitPythonConfig(&wanted);
    PyStatus status = PyConfig_SetBytesArgv(&wanted, argc, argv);
    if (!PyStatus_Exception(status))
        status = PyConfig_SetWideStringList(config, &config->argv, wanted.argv.length, wanted.argv.items);
#if PY_VERSION_HEX >= 0x030A0000
    if (!PyStatus_Exception(status))
        status = PyConfig_SetWideStringList(config, &config->orig_argv, wanted.argv.length, wanted.argv.items);
#endif
    PyConfig_Clear(&wanted);
    return status;
}

int pye_program_choose(int argc, char **argv)
{
    /* The public API has no way to change it, and Py_RunMain reads it there. */
    PyConfig *config = (PyConfig *)_Py_GetConfig();
    PyStatus status = PyStatus_Ok();
    if (pye_bundle() != NULL)
        status = take_arguments(config, argc, argv);
    else if (argc > 1)
        status = read_command_line(config, argc, argv);
    if (PyStatus_Exception(status))
        return fail(status);
    if (pye_bundle() != NULL && pye_runner_install() < 0)
        return -1;
#if PY_VERSION_HEX >= 0x030A0000
    if (fill_list("orig_argv", &config->orig_argv) < 0)
        return -1;
#endif
    return fill_list("argv", &config->argv);
}
