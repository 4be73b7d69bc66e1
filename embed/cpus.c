#include "embed/cpus.h"

#include "embed/flag.h"
#include "embed/replace.h"
#include "launcher/limits.h"
#include "launcher/log.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBER_BYTES = 24, ARENAS_PER_CPU = sizeof(long) == 4 ? 2 : 8 /* as glibc has it */ };

static struct {
    struct pye_limit chosen; /* the count that somebody asked for */
    struct pye_limit quota;  /* as it was last seen */
} cpus = {.chosen = {.value = PYE_NO_LIMIT}, .quota = {.value = PYE_NO_LIMIT}};

/* --- libraries that count CPUs themselves, and know of no quota --- */

/* A library takes the second or the third word where the first is unset: then that is the user's word, and stays. */
static const struct variable {
    const char *name, *instead, *or_instead;
} variables[] = {
    {"OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS"},
    {"MKL_NUM_THREADS", NULL, "OMP_NUM_THREADS"},
    {"NUMEXPR_MAX_THREADS", "NUMEXPR_NUM_THREADS", "OMP_NUM_THREADS"},
    {"OMP_NUM_THREADS", NULL, NULL}, /* the last: its own presence counts above */
};

static bool is_set(const char *name)
{
    return name != NULL && getenv(name) != NULL;
}

/* os has not taken its environ from this one yet. */
static int set_variable(PyObject *all, const char *name, const char *value)
{
    PyObject *key = PyBytes_FromString(name), *text = PyBytes_FromString(value);
    int result = key == NULL || text == NULL ? -1 : PyDict_SetItem(all, key, text);
    Py_XDECREF(key);
    Py_XDECREF(text);
    if (result == 0 && setenv(name, value, 1) < 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    return result;
}

static int set_variables(int count)
{
    char number[NUMBER_BYTES];
    int result = 0;
    PyObject *posix = PyImport_ImportModule("posix");
    PyObject *all = posix == NULL ? NULL : PyObject_GetAttrString(posix, "environ");
    snprintf(number, sizeof number, "%d", count);
    for (size_t i = 0; all != NULL && result == 0 && i < sizeof variables / sizeof *variables; i++) {
        const struct variable *one = &variables[i];
        if (!is_set(one->name) && !is_set(one->instead) && !is_set(one->or_instead))
            result = set_variable(all, one->name, number);
    }
    Py_XDECREF(posix);
    Py_XDECREF(all);
    return all == NULL ? -1 : result;
}

static void limit_arenas(int count)
{
#ifdef M_ARENA_MAX
    const char *tunables = getenv("GLIBC_TUNABLES");
    if (!is_set("MALLOC_ARENA_MAX") && (tunables == NULL || strstr(tunables, "glibc.malloc.arena_max") == NULL))
        mallopt(M_ARENA_MAX, count > INT_MAX / ARENAS_PER_CPU ? INT_MAX : count * ARENAS_PER_CPU);
#else
    (void)count;
#endif
}

/* --- what was asked for --- */

/* The text of -X cpu_count, borrowed; "" where it has none that can be one, NULL where it was not given. */
static const char *xoption(void)
{
    PyObject *options = PySys_GetXOptions();
    PyObject *value = options == NULL ? NULL : PyDict_GetItemString(options, "cpu_count");
    if (value == NULL)
        return NULL;
    const char *text = PyUnicode_Check(value) ? PyUnicode_AsUTF8(value) : NULL;
    PyErr_Clear(); /* bytes that are no text are no number either */
    return text == NULL ? "" : text;
}

static void choose(int option)
{
    const char *variable = pye_flag("ignore_environment") /* -E, -I */ ? NULL : getenv(PYE_BY_VARIABLE);
    struct pye_cpus_asked asked = {.xoption = xoption(), .option = option, .variable = variable};
    if (pye_cpus_choose(&asked, &cpus.chosen))
        return;
    bool is_variable = strcmp(cpus.chosen.source, PYE_BY_VARIABLE) == 0;
    pye_log("%s='%s' is not valid: it takes a number from 1 on, or default", cpus.chosen.source,
            is_variable ? variable : asked.xoption);
    Py_ExitStatusException(PyStatus_Exit(EXIT_FAILURE));
}

static int tell_libraries(void)
{
    int available = pye_cpus_affinity();
    int64_t count = cpus.chosen.value;
    if (count == PYE_NO_LIMIT && available > 1 && pye_cpus_quota("", &cpus.quota))
        count = cpus.quota.value;
    if (count == PYE_NO_LIMIT || count >= available)
        return 0;
    limit_arenas((int)count);
    return set_variables((int)count);
}

/* --- the functions --- */

static void find(struct pye_limit *count)
{
    if (cpus.chosen.value != PYE_NO_LIMIT)
        *count = cpus.chosen;
    else
        pye_cpus_count(&cpus.quota, count);
}

static PyObject *cpu_count(PyObject *module, PyObject *unused)
{
    struct pye_limit count;
    (void)module;
    (void)unused;
    find(&count);
    return PyLong_FromLongLong(count.value);
}

static PyMethodDef cpu_count_definition = {"cpu_count", cpu_count, METH_NOARGS, NULL};

#if PY_VERSION_HEX >= 0x030D0000
/* Written in Python, and chosen by os when it is imported: it is replaced there. */
static PyMethodDef process_definition = {
    "process_cpu_count", cpu_count, METH_NOARGS,
    PyDoc_STR("process_cpu_count($module, /)\n--\n\nThe number of CPUs that this process may use.")};
#endif

int pye_cpus_install(int option)
{
    choose(option);
    if (tell_libraries() < 0)
        return -1;
    PyObject *theirs = pye_replace("posix", "cpu_count", &cpu_count_definition);
#if PY_VERSION_HEX >= 0x030D0000
    if (theirs != NULL)
        Py_SETREF(theirs, pye_replace("os", "process_cpu_count", &process_definition));
#endif
    Py_XDECREF(theirs);
    return theirs == NULL ? -1 : 0;
}

int pye_cpus_resume(int option)
{
    cpus.quota.value = PYE_NO_LIMIT;
    choose(option);
    return tell_libraries();
}

/* --- pyentry.limits --- */

static PyStructSequence_Field fields[] = {
    {"cpus", "what os.cpu_count() says"},
    {"cpus_source", "the file, option or variable that it comes from; or 'affinity', or 'host'"},
    {"memory", "the memory limit in bytes, or None"},
    {"memory_source", "the file that it comes from, or None"},
    {NULL, NULL},
};

static PyStructSequence_Desc description = {
    .name = "pyentry.Limits",
    .doc = "The limits that this process is under.",
    .fields = fields,
    .n_in_sequence = 4,
};

/* Value and source, None where there is no limit. */
static int put(PyObject *limits, Py_ssize_t place, const struct pye_limit *limit)
{
    PyObject *value = Py_None, *source = Py_None;
    if (limit->value == PYE_NO_LIMIT) {
        Py_INCREF(value);
        Py_INCREF(source);
    } else {
        value = PyLong_FromLongLong(limit->value);
        source = PyUnicode_DecodeFSDefault(limit->source);
    }
    PyStructSequence_SetItem(limits, place, value);
    PyStructSequence_SetItem(limits, place + 1, source);
    return value == NULL || source == NULL ? -1 : 0;
}

PyObject *pye_cpus_limits(PyObject *module, PyObject *unused)
{
    static PyTypeObject *type;
    struct pye_limit limit;
    (void)module;
    (void)unused;
    if (type == NULL)
        type = PyStructSequence_NewType(&description);
    PyObject *limits = type == NULL ? NULL : PyStructSequence_New(type);
    if (limits == NULL)
        return NULL;
    find(&limit);
    int failed = put(limits, 0, &limit);
    pye_memory_limit("", &limit);
    if (put(limits, 2, &limit) < 0 || failed < 0)
        Py_CLEAR(limits);
    return limits;
}
