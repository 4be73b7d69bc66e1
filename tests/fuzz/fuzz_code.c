/* embed/bundle/code: whatever a bundle has in place of code and its words, what comes out is a code object or an
 * exception. Nothing is executed, and marshal's part is the interpreter's own affair.
 *
 * An input is the size of the words in two bytes, the words behind their magic number, and the code. */
#include <Python.h>

#include "tests/fuzz/fuzz.h"

#include "embed/bundle/code.h"
#include "embed/bundle/lasting.h"

const char *__asan_default_options(void);
int LLVMFuzzerInitialize(int *argc, char ***argv);
PyObject *unmarshal(const char *data, Py_ssize_t size);

static PyObject *filename;

const char *__asan_default_options(void)
{
    return "detect_leaks=0"; /* the interpreter's */
}

/* In place of the interpreter's. */
PyObject *unmarshal(const char *data, Py_ssize_t size)
{
    return PyBytes_FromStringAndSize(data, size);
}

/* --- objects that do not last, each in a piece of memory of its own --- */

PyObject *pye_lasting_bytes(const char *bytes, size_t size)
{
    return PyBytes_FromStringAndSize(bytes, (Py_ssize_t)size);
}

PyObject *pye_lasting_tuple(Py_ssize_t length)
{
    return PyTuple_New(length);
}

PyObject *pye_lasting_copy(PyObject *sample, size_t beginning, const void *rest, size_t size)
{
    PyObject *object = PyObject_Malloc(beginning + size);
    MUST(object != NULL);
    memcpy(object, sample, beginning);
    memcpy((char *)object + beginning, rest, size);
    Py_SET_REFCNT(object, 1);
    return object;
}

/* --- the fuzzer --- */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    PyConfig config;
    (void)argc, (void)argv;
    setenv("PYTHONMALLOC", "malloc", 1); /* so that the sanitizer sees each object */
    PyConfig_InitPythonConfig(&config);
    config.site_import = 0;
    MUST(!PyStatus_Exception(Py_InitializeFromConfig(&config)));
    PyConfig_Clear(&config);
    filename = PyUnicode_FromString("module.py");
    return filename == NULL;
}

static void must_have_failed(void)
{
    MUST(PyErr_Occurred());
    PyErr_Clear();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned char *words; /* the reader's, until it gets others */
    long magic = PyImport_GetMagicNumber();
    size_t words_size = size < 2 ? 0 : data[0] | (size_t)data[1] << 8;
    if (size < 2 || words_size > size - 2)
        return 0;
    unsigned char *fresh = malloc(4 + words_size);
    MUST(fresh != NULL);
    for (size_t i = 0; i < 4; i++)
        fresh[i] = (unsigned char)(magic >> i * 8 & 0xff);
    memcpy(fresh + 4, data + 2, words_size);
    if (pye_code_set_words(fresh, 4 + words_size) == 0) {
        free(words);
        words = fresh;
    } else {
        must_have_failed();
        free(fresh);
    }
    PyObject *code = pye_code_read(data + 2 + words_size, size - 2 - words_size, filename);
    MUST(code == NULL || PyCode_Check(code));
    if (code == NULL)
        must_have_failed();
    Py_XDECREF(code);
    return 0;
}
