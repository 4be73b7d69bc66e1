#include "embed/snapshot/process.h"

#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

/* As os.environ has it: of two variables with one name the first counts. */
PyObject *pye_process_environment(PyObject *module, PyObject *unused)
{
    PyObject *all = PyDict_New();
    (void)module;
    (void)unused;
    for (char **variable = environ; all != NULL && *variable != NULL; variable++) {
        const char *end = strchr(*variable, '=');
        if (end == NULL)
            continue;
        PyObject *name = PyBytes_FromStringAndSize(*variable, end - *variable);
        PyObject *value = PyBytes_FromString(end + 1);
        if (name == NULL || value == NULL || PyDict_SetDefault(all, name, value) == NULL)
            Py_CLEAR(all);
        Py_XDECREF(name);
        Py_XDECREF(value);
    }
    return all;
}

/* As whoever fills the epoll had it: select.epoll's own function loses a half of data, where libev counts. */
PyObject *pye_process_watch(PyObject *module, PyObject *args)
{
    int epoll, fd;
    unsigned events;
    unsigned long long data;
    (void)module;
    if (!PyArg_ParseTuple(args, "iiIK", &epoll, &fd, &events, &data))
        return NULL;
    struct epoll_event event = {.events = events, .data.u64 = data};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}
