/* options -> PyConfig -> Py_RunMain */
#include "config.h"

#include <Python.h>

#include "embed/bundle/bundle.h"
#include "embed/bundle/importer.h"
#include "embed/crash.h"
#include "embed/dispositions.h"
#include "embed/embed.h"
#include "embed/interpreter.h"
#include "embed/module.h"
#include "embed/pages.h"
#include "embed/signals.h"
#include "embed/startup.h"
#include "embed/terminate.h"
#include "launcher/log.h"

#include <stdio.h>
#include <string.h>

enum { VERSION_BYTES = 32 };

const char *pye_python_version(void)
{
    /* Of the libpython that is loaded; its headers may have been another's. */
    static char version[VERSION_BYTES];
    snprintf(version, sizeof version, "%.*s", (int)strcspn(Py_GetVersion(), " "), Py_GetVersion());
    return version;
}

/* A bundle is sys.executable, its files are the program (as a zip file would be) and the home of its standard library. */
static PyStatus configure_bundle(PyConfig *config, const struct pye_bundle *bundle)
{
    char home[PATH_MAX + sizeof PYE_BUNDLE_HOME];
    PyStatus status = PyConfig_SetBytesString(config, &config->executable, bundle->executable);
    config->site_import = 0;
    config->optimization_level = bundle->optimize;
    if (!PyStatus_Exception(status) && bundle->has_stdlib) {
        snprintf(home, sizeof home, "%s/%s", bundle->root, PYE_BUNDLE_HOME);
        status = PyConfig_SetBytesString(config, &config->home, home);
    }
    if (!PyStatus_Exception(status) && bundle->runs_app) {
        config->parse_argv = 0;
        status = PyConfig_SetBytesString(config, &config->run_filename, bundle->root);
    }
    return status;
}

static PyStatus configure(PyConfig *config, int argc, char **argv, const struct pye_settings *settings)
{
    PyConfig_InitPythonConfig(config);
    config->buffered_stdio = 0;
    config->_init_main = 0;
    if (settings->faulthandler == PYE_ON)
        config->faulthandler = 1;
#if PY_VERSION_HEX >= 0x030D0000
    if (settings->cpus > 0) /* for subinterpreters, which have none of our functions */
        config->cpu_count = settings->cpus;
#endif
    PyStatus status = PyConfig_SetBytesArgv(config, argc, argv);
    if (!PyStatus_Exception(status) && pye_bundle() != NULL)
        status = configure_bundle(config, pye_bundle());
    return status;
}

/* Ours failed, with an exception set. */
static PyStatus failed(const char *what)
{
    if (!pye_terminated_is_set())
        PyErr_Print();
    return PyStatus_Error(what);
}

PyStatus pye_interpreter_begin(int argc, char **argv, const struct pye_settings *settings)
{
    PyPreConfig preconfig;
    PyConfig config;

    pye_pages_prepare();
    if (strcmp(PYE_LIBPYTHON, "static") == 0) /* a shared one asks the C library itself */
        pye_dispositions_read();
    if (pye_module_register() < 0)
        return PyStatus_NoMemory();
    if (settings->faulthandler == PYE_ON && pye_log_is_json())
        pye_crash_prepare();
    PyPreConfig_InitPythonConfig(&preconfig);
    if (pye_bundle() != NULL && pye_bundle()->runs_app)
        preconfig.parse_argv = 0;
    PyStatus status = Py_PreInitializeFromBytesArgs(&preconfig, argc, argv);
    if (PyStatus_Exception(status))
        return status;
    status = configure(&config, argc, argv, settings);
    if (!PyStatus_Exception(status))
        status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    if (PyStatus_Exception(status))
        return status;
    /* stdin is python's affair, and buffered: only what goes out does so at once. */
    setvbuf(stdin, NULL, _IOFBF, BUFSIZ);
    if (pye_startup_begin(settings) < 0 || (pye_bundle() != NULL && pye_importer_install() < 0))
        return failed("pyentry could not prepare the interpreter");
    status = _Py_InitializeMain();
    if (PyStatus_Exception(status))
        return status;
    if (pye_startup_finish() < 0 || (pye_bundle() != NULL && pye_importer_finish() < 0))
        return failed("pyentry could not set up the interpreter");
    return status;
}

void pye_interpreter_fail(PyStatus status)
{
    /* A SIGTERM during the import of site is no failure. */
    if (PyStatus_IsError(status) && Py_IsInitialized() && pye_terminated_is_set())
        pye_sigterm_end();
    Py_ExitStatusException(status);
}

int pye_run_python(int argc, char **argv, const struct pye_settings *settings)
{
    PyStatus status = pye_interpreter_begin(argc, argv, settings);
    if (PyStatus_Exception(status))
        pye_interpreter_fail(status);
    return Py_RunMain();
}
