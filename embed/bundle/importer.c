#include <Python.h>

#include "embed/bundle/importer.h"

#include "embed/bundle/bundle.h"
#include "embed/bundle/code.h"
#include "embed/bundle/pace.h"
#include "embed/bundle/patterns.h"
#include "embed/bundle/runner.h"
#include "embed/bundle/shortcut.h"
#include "embed/bundle/tree.h"
#include "embed/subtype.h"

#include <marshal.h>
#include <stdbool.h>
#include <string.h>

/* What precedes the code in a .pyc: magic number, flags, hash of the source. */
enum { PYC_HEADER_BYTES = 16, PYC_FLAGS = 4, UNCHECKED_HASH = 1 };

static struct {
    PyObject *module_spec, *call_with_frames_removed, *exec;                  /* of importlib and builtins */
    PyObject *suffixes;                                                       /* of extension modules, as bytes */
    PyObject *source_loader, *sourceless_loader, *finder;                     /* ours: types */
    PyObject *plain_source_loader, *extension_loader;                         /* importlib's: types */
    PyObject *known;                                                          /* code, by the path of its source */
    PyObject *importer;                                                       /* of the bundle, on sys.meta_path */
    unsigned char magic[4];                                                   /* of a .pyc for this Python */
} types;

/* --- paths --- */

/* The entry's path in the file system. */
static PyObject *path_of(const char *name, size_t length)
{
    const struct pye_bundle *bundle = pye_bundle();
    char path[PATH_MAX * 2];
    size_t size = bundle->root_length;
    memcpy(path, bundle->root, size);
    if (length > 0)
        path[size++] = '/';
    memcpy(path + size, name, length);
    path[size + length] = '\0'; /* until there are codecs, the C library decodes */
    return PyUnicode_DecodeFSDefaultAndSize(path, (Py_ssize_t)(size + length));
}

/* What path names in the bundle. Paths that cannot be encoded are none of ours. */
static enum pye_node_kind find_node(PyObject *path, struct pye_node *node)
{
    if (!PyUnicode_Check(path))
        return PYE_OUTSIDE;
    const char *text = PyUnicode_AsUTF8(path); /* kept in the object, unlike the other */
    if (text != NULL)
        return pye_tree_find(text, node);
    PyErr_Clear();
    PyObject *bytes = PyUnicode_EncodeFSDefault(path); /* a directory's name may be no UTF-8 */
    enum pye_node_kind kind = bytes == NULL ? PYE_OUTSIDE : pye_tree_find(PyBytes_AS_STRING(bytes), node);
    Py_XDECREF(bytes);
    PyErr_Clear();
    return kind;
}

static bool kind_is_directory(enum pye_node_kind kind)
{
    return kind == PYE_TOP || kind == PYE_DIRECTORY;
}

static bool find_directory(PyObject *path, struct pye_node *node)
{
    return kind_is_directory(find_node(path, node));
}

/* --- code --- */

PyObject *pye_importer_damaged(void)
{
    PyObject *status = PyLong_FromLong(1);
    if (status != NULL)
        PyErr_SetObject(PyExc_SystemExit, status);
    Py_XDECREF(status);
    return NULL;
}

static const char *read_entry(const struct pye_entry *entry)
{
    const char *data = pye_tree_read(entry);
    return data == NULL ? (const char *)pye_importer_damaged() : data;
}

/* What the code of all modules has in common, before the first is read. */
static int read_words(void)
{
    static bool done;
    const struct pye_entry *entry = done ? NULL : pye_archive_find(&pye_bundle()->archive, PYE_BUNDLE_WORDS,
                                                                   sizeof PYE_BUNDLE_WORDS - 1);
    const char *data = entry == NULL ? NULL : read_entry(entry);
    if (data != NULL)
        done = pye_code_set_words(data, entry->size) == 0;
    return done || entry == NULL ? 0 : -1;
}

/* It lasts as long as the process: who asks again gets the same. */
static PyObject *read_code(const struct pye_entry *entry, PyObject *source)
{
    PyObject *code = PyDict_GetItemWithError(types.known, source);
    if (code != NULL || PyErr_Occurred()) {
        Py_XINCREF(code);
        return code;
    }
    const char *data = read_words() < 0 ? NULL : read_entry(entry);
    code = data == NULL ? NULL : pye_code_read(data, entry->size, source);
    if (code != NULL && PyDict_SetItem(types.known, source, code) < 0)
        Py_CLEAR(code);
    return code;
}

/* Of a .pyc that came without its source. Tracebacks name the source's path nevertheless. */
static PyObject *read_pyc(const struct pye_entry *entry, PyObject *source)
{
    const char *data = read_entry(entry);
    if (data == NULL)
        return NULL;
    if (entry->size < PYC_HEADER_BYTES || (unsigned char)data[PYC_FLAGS] != UNCHECKED_HASH
        || memcmp(data, types.magic, sizeof types.magic) != 0) {
        PyErr_Format(PyExc_ImportError, "%R was compiled by another Python than this one", source);
        return NULL;
    }
    PyObject *code =
        PyMarshal_ReadObjectFromString(data + PYC_HEADER_BYTES, (Py_ssize_t)entry->size - PYC_HEADER_BYTES);
    return code == NULL ? NULL : pye_code_put_filename(code, source);
}

static const struct pye_entry *find_code(const char *name, size_t length)
{
    static const char home[] = PYE_BUNDLE_CODE;
    char path[sizeof home + PATH_MAX];
    if (length >= PATH_MAX)
        return NULL;
    memcpy(path, home, sizeof home - 1);
    memcpy(path + sizeof home - 1, name, length);
    return pye_archive_find(&pye_bundle()->archive, path, sizeof home - 1 + length);
}

static PyObject *loader_code(PyObject *self)
{
    struct pye_node node;
    PyObject *path = PyObject_GetAttrString(self, "path"), *code = NULL;
    if (path == NULL)
        return NULL;
    bool has_source = PyObject_TypeCheck(self, (PyTypeObject *)types.source_loader);
    const struct pye_entry *entry = NULL;
    if (find_node(path, &node) == PYE_FILE)
        entry = has_source ? find_code(node.name, node.length) : node.entry;
    PyObject *source = entry == NULL ? NULL : PyUnicode_Substring(path, 0, PyUnicode_GET_LENGTH(path) - !has_source);
    if (source != NULL)
        code = has_source ? read_code(entry, source) : read_pyc(entry, source);
    else if (!PyErr_Occurred())
        PyErr_Format(PyExc_ImportError, "%R is not in the bundle", path);
    Py_XDECREF(source);
    Py_DECREF(path);
    return code;
}

/* As importlib's decorator does it: a loader is for one module. */
static int check_name(PyObject *self, PyObject *name)
{
    PyObject *own = PyObject_GetAttrString(self, "name");
    int same = own == NULL ? -1 : PyObject_RichCompareBool(own, name, Py_EQ);
    if (same == 0)
        PyErr_Format(PyExc_ImportError, "loader for %S cannot handle %S", own, name);
    Py_XDECREF(own);
    return same == 1 ? 0 : -1;
}

static PyObject *get_code(PyObject *self, PyObject *name)
{
    return check_name(self, name) < 0 ? NULL : loader_code(self);
}

static PyObject *exec_module(PyObject *self, PyObject *module)
{
    PyObject *dictionary = PyModule_Check(module) ? PyModule_GetDict(module) : NULL;
    Py_XINCREF(dictionary);
    if (dictionary == NULL)
        dictionary = PyObject_GetAttrString(module, "__dict__");
    PyObject *code = dictionary == NULL ? NULL : loader_code(self);
    PyObject *result = NULL;
    /* Through importlib's function of this name: tracebacks leave the frames above it out. */
    if (code != NULL && pye_pace_slow_down() == 0)
        result = PyObject_CallFunctionObjArgs(types.call_with_frames_removed, types.exec, code, dictionary, NULL);
    if (code != NULL)
        pye_pace_speed_up();
    if (result != NULL && pye_patterns_follow(dictionary) < 0)
        Py_CLEAR(result);
    Py_XDECREF(dictionary);
    Py_XDECREF(code);
    return result;
}

/* --- specs --- */

static PyObject *make_spec(PyObject *fullname, PyObject *loader, PyObject *origin, PyObject *directory, PyObject *cached)
{
    PyObject *arguments = PyTuple_Pack(2, fullname, loader);
    PyObject *keywords = Py_BuildValue("{sOsi}", "origin", origin, "is_package", directory != NULL);
    PyObject *spec = NULL;
    if (arguments != NULL && keywords != NULL)
        spec = PyObject_Call(types.module_spec, arguments, keywords);
    Py_XDECREF(arguments);
    Py_XDECREF(keywords);
    /* What spec_from_file_location sets; `cached` would be guessed, and wrongly. */
    if (spec == NULL || PyObject_SetAttrString(spec, "_set_fileattr", Py_True) < 0
        || (cached != NULL && PyObject_SetAttrString(spec, "cached", cached) < 0))
        Py_CLEAR(spec);
    if (spec != NULL && directory != NULL) {
        PyObject *locations = PyObject_GetAttrString(spec, "submodule_search_locations");
        if (locations == NULL || PyList_Append(locations, directory) < 0)
            Py_CLEAR(spec);
        Py_XDECREF(locations);
    }
    return spec;
}

/* A module's file under construction: "DIRECTORY/TAIL" and whatever is tried behind it. */
struct attempt {
    char name[PATH_MAX];
    size_t length;
    size_t directory; /* of a package: how long its directory's name is; else 0 */
};

static const struct pye_entry *try_suffix(struct attempt *attempt, const char *suffix)
{
    size_t length = strlen(suffix);
    if (attempt->length + length >= sizeof attempt->name)
        return NULL;
    memcpy(attempt->name + attempt->length, suffix, length + 1);
    return pye_archive_find(&pye_bundle()->archive, attempt->name, attempt->length + length);
}

static PyObject *spec_for(PyObject *fullname, const struct attempt *attempt, const struct pye_entry *entry,
                          const struct pye_entry *compiled, PyObject *loader_type)
{
    PyObject *origin = path_of(entry->name, entry->name_length);
    PyObject *cached = compiled == NULL || pye_bundle()->has_files ? NULL : path_of(compiled->name, compiled->name_length);
    PyObject *directory = attempt->directory == 0 ? NULL : path_of(attempt->name, attempt->directory);
    PyObject *loader = NULL, *spec = NULL;
    if (origin != NULL && !PyErr_Occurred())
        loader = PyObject_CallFunctionObjArgs(loader_type, fullname, origin, NULL);
    if (loader != NULL)
        spec = make_spec(fullname, loader, origin, directory, cached);
    Py_XDECREF(loader);
    Py_XDECREF(origin);
    Py_XDECREF(cached);
    Py_XDECREF(directory);
    return spec;
}

/* The spec for the file in attempt with one of the suffixes, in importlib's order. *found says whether there is one. */
static PyObject *try_file(PyObject *fullname, struct attempt *attempt, bool *found)
{
    *found = true;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(types.suffixes); i++) {
        const struct pye_entry *extension = try_suffix(attempt, PyBytes_AS_STRING(PyTuple_GET_ITEM(types.suffixes, i)));
        if (extension != NULL)
            return spec_for(fullname, attempt, extension, NULL, types.extension_loader);
    }
    const struct pye_entry *source = try_suffix(attempt, ".py");
    if (source != NULL) {
        const struct pye_entry *code = find_code(source->name, source->name_length);
        return spec_for(fullname, attempt, source, code, code != NULL ? types.source_loader : types.plain_source_loader);
    }
    const struct pye_entry *compiled = try_suffix(attempt, ".pyc");
    if (compiled != NULL)
        return spec_for(fullname, attempt, compiled, compiled, types.sourceless_loader);
    *found = false;
    return NULL;
}

enum found { NOTHING, PORTION, MODULE };

/* Looks for the last part of fullname in a directory of the bundle. With MODULE *spec is set, or NULL for an exception;
 * with PORTION there is a directory that may be part of a namespace package. */
static enum found find_in(const struct pye_node *node, PyObject *fullname, PyObject **spec, struct attempt *attempt)
{
    Py_ssize_t length;
    const char *name = PyUnicode_AsUTF8AndSize(fullname, &length);
    if (name == NULL) {
        PyErr_Clear();
        return NOTHING;
    }
    const char *dot = memrchr(name, '.', (size_t)length);
    const char *tail = dot == NULL ? name : dot + 1;
    size_t tail_length = (size_t)(name + length - tail);
    if (tail_length == 0 || memchr(tail, '/', tail_length) != NULL
        || node->length + tail_length + 64 >= sizeof attempt->name)
        return NOTHING;
    memcpy(attempt->name, node->name, node->length);
    attempt->length = node->length;
    if (node->length > 0)
        attempt->name[attempt->length++] = '/';
    memcpy(attempt->name + attempt->length, tail, tail_length);
    attempt->length += tail_length;

    bool found = false;
    size_t module = attempt->length;
    bool is_directory = pye_archive_directory(&pye_bundle()->archive, attempt->name, attempt->length) != NULL;
    if (is_directory) {
        attempt->directory = module;
        try_suffix(attempt, "/__init__");
        attempt->length += sizeof "/__init__" - 1;
        *spec = try_file(fullname, attempt, &found);
    }
    if (!found) {
        attempt->directory = 0;
        attempt->length = module;
        *spec = try_file(fullname, attempt, &found);
    }
    return found ? MODULE : is_directory ? PORTION : NOTHING;
}

/* --- the finder of one directory, for sys.path_hooks --- */

static PyObject *namespace_portion(PyObject *fullname, const struct attempt *attempt)
{
    PyObject *directory = path_of(attempt->name, attempt->length);
    PyObject *spec = directory == NULL ? NULL : make_spec(fullname, Py_None, Py_None, directory, NULL);
    if (spec != NULL && PyObject_SetAttrString(spec, "_set_fileattr", Py_False) < 0)
        Py_CLEAR(spec);
    Py_XDECREF(directory);
    return spec;
}

static PyObject *finder_find_spec(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    struct pye_node node;
    struct attempt attempt;
    PyObject *spec = NULL;
    PyObject *path = count < 1 ? NULL : PyObject_GetAttrString(self, "path");
    if (path == NULL) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_TypeError, "find_spec() needs the name of a module");
        return NULL;
    }
    enum found found = NOTHING;
    if (find_directory(path, &node))
        found = find_in(&node, args[0], &spec, &attempt);
    Py_DECREF(path);
    if (found == MODULE)
        return spec;
    if (found == PORTION)
        return namespace_portion(args[0], &attempt);
    Py_RETURN_NONE;
}

/* The path hook: a finder for a directory of the bundle, ImportError for any other path. */
static PyObject *path_hook(PyObject *module, PyObject *path)
{
    struct pye_node node;
    (void)module;
    if (!find_directory(path, &node)) {
        PyErr_SetString(PyExc_ImportError, "only for directories in the bundle");
        return NULL;
    }
    /* The bundle's own path is a file to the kernel; with a slash behind it, it is our directory to everyone. */
    PyObject *directory = PyUnicode_FromFormat(node.kind == PYE_TOP ? "%U/" : "%U", path);
    PyObject *finder = directory == NULL ? NULL : PyObject_CallFunctionObjArgs(types.finder, directory, NULL);
    Py_XDECREF(directory);
    return finder;
}

/* --- the importer on sys.meta_path --- */

static PyMethodDef path_hook_definition = {"bundle_path_hook", path_hook, METH_O, NULL};

static PyMethodDef loader_methods[] = {
    {"exec_module", exec_module, METH_O, PyDoc_STR("Execute the module.")},
    {"get_code", get_code, METH_O, PyDoc_STR("Return the module's code object.")},
    {NULL, NULL, 0, NULL},
};

static PyMethodDef finder_methods[] = {
    {"find_spec", (PyCFunction)(void (*)(void))finder_find_spec, METH_FASTCALL,
     PyDoc_STR("Find the spec of a module in this directory of the bundle.")},
    {NULL, NULL, 0, NULL},
};

static PyObject *subtype(PyObject *importlib, const char *base_name, const char *name, PyMethodDef *methods)
{
    PyObject *base = PyObject_GetAttrString(importlib, base_name);
    PyType_Slot slots[] = {{Py_tp_methods, methods}, {0, NULL}};
    PyType_Spec spec = {.name = name, .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, .slots = slots};
    PyObject *type = base == NULL ? NULL : pye_subtype(base, &spec);
    Py_XDECREF(base);
    return type;
}

static PyObject *attribute_of(const char *module_name, const char *name)
{
    PyObject *module = PyImport_ImportModule(module_name);
    PyObject *attribute = module == NULL ? NULL : PyObject_GetAttrString(module, name);
    Py_XDECREF(module);
    return attribute;
}

static int encode_suffixes(void)
{
    PyObject *function = attribute_of("_imp", "extension_suffixes");
    PyObject *list = function == NULL ? NULL : PyObject_CallObject(function, NULL);
    Py_XDECREF(function);
    Py_ssize_t count = list == NULL ? 0 : PyList_GET_SIZE(list);
    types.suffixes = list == NULL ? NULL : PyTuple_New(count);
    for (Py_ssize_t i = 0; types.suffixes != NULL && i < count; i++) {
        PyObject *bytes = PyUnicode_AsASCIIString(PyList_GET_ITEM(list, i));
        if (bytes == NULL)
            Py_CLEAR(types.suffixes);
        else
            PyTuple_SET_ITEM(types.suffixes, i, bytes);
    }
    Py_XDECREF(list);
    return types.suffixes == NULL ? -1 : 0;
}

/* importlib's part for files is only there once the main initialisation runs: so this is done at the first import. */
static int prepare(void)
{
    PyObject *importlib = PyImport_ImportModule("_frozen_importlib_external");
    if (importlib == NULL)
        return -1;
    types.module_spec = attribute_of("_frozen_importlib", "ModuleSpec");
    types.call_with_frames_removed = attribute_of("_frozen_importlib", "_call_with_frames_removed");
    types.exec = attribute_of("builtins", "exec");
    types.known = PyDict_New();
    types.plain_source_loader = PyObject_GetAttrString(importlib, "SourceFileLoader");
    types.extension_loader = PyObject_GetAttrString(importlib, "ExtensionFileLoader");
    types.source_loader = subtype(importlib, "SourceFileLoader", "_pyentry.BundleLoader", loader_methods);
    types.sourceless_loader =
        subtype(importlib, "SourcelessFileLoader", "_pyentry.SourcelessBundleLoader", loader_methods);
    types.finder = subtype(importlib, "FileFinder", "_pyentry.BundleFinder", finder_methods);
    Py_DECREF(importlib);
    if (types.module_spec == NULL || types.call_with_frames_removed == NULL || types.exec == NULL
        || types.known == NULL || types.plain_source_loader == NULL || types.extension_loader == NULL
        || types.source_loader == NULL || types.sourceless_loader == NULL || types.finder == NULL
        || encode_suffixes() < 0 || pye_shortcut_install(types.importer, types.module_spec) < 0)
        return -1;
    long magic = PyImport_GetMagicNumber();
    for (size_t i = 0; i < sizeof types.magic; i++)
        types.magic[i] = (unsigned char)(magic >> i * 8 & 0xff);
    /* Before zipimport's, which would take the bundle for a zip file: it is one. */
    PyObject *hook = PyCFunction_New(&path_hook_definition, NULL);
    PyObject *hooks = PySys_GetObject("path_hooks");
    int result = hook == NULL || hooks == NULL ? -1 : PyList_Insert(hooks, 0, hook);
    Py_XDECREF(hook);
    return result;
}

static PyObject *search(PyObject *fullname, PyObject *path)
{
    static const char home[] = PYE_BUNDLE_HOME "/";
    struct pye_node node;
    struct attempt attempt;
    PyObject *spec = NULL;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(path); i++) {
        enum pye_node_kind kind = find_node(PyList_GET_ITEM(path, i), &node);
        if (kind == PYE_MISSING && strncmp(node.name, home, sizeof home - 1) == 0)
            continue; /* the pythonXY.zip that stands on every sys.path before the standard library */
        if (!kind_is_directory(kind))
            break; /* another's turn, and whoever comes behind it waits */
        enum found found = find_in(&node, fullname, &spec, &attempt);
        if (found == MODULE)
            return spec;
        if (found == PORTION)
            break; /* a namespace package may have more portions: importlib gathers them */
    }
    Py_RETURN_NONE;
}

PyObject *pye_importer_find(PyObject *fullname, PyObject *path)
{
    if (path == Py_None)
        path = PySys_GetObject("path");
    if (path == NULL || !PyList_Check(path))
        Py_RETURN_NONE;
    Py_INCREF(path);
    PyObject *spec = search(fullname, path);
    Py_DECREF(path);
    return spec;
}

bool pye_importer_has_made(PyObject *loader)
{
    return Py_TYPE(loader) == (PyTypeObject *)types.source_loader
           || Py_TYPE(loader) == (PyTypeObject *)types.sourceless_loader;
}

static PyObject *importer_find_spec(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    if (count < 1) {
        PyErr_SetString(PyExc_TypeError, "find_spec() needs the name of a module");
        return NULL;
    }
    if (types.finder == NULL && prepare() < 0)
        return NULL;
    return pye_importer_find(args[0], count > 1 ? args[1] : Py_None);
}

static PyMethodDef importer_methods[] = {
    {"find_spec", (PyCFunction)(void (*)(void))importer_find_spec, METH_FASTCALL,
     PyDoc_STR("Find the spec of a module in the bundle.")},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef importer_definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "pyentry bundle",
    .m_size = -1,
    .m_methods = importer_methods,
};

/* site, which a bundle does without, makes these. */
static int add_quitters(void)
{
    static const char *const names[] = {"quit", "exit"};
    PyObject *quitter = attribute_of("_sitebuiltins", "Quitter"), *builtins = PyEval_GetBuiltins();
    int result = quitter == NULL || builtins == NULL ? -1 : 0;
    for (size_t i = 0; result == 0 && i < sizeof names / sizeof *names; i++) {
        PyObject *function = PyObject_CallFunction(quitter, "ss", names[i], "Ctrl-D (i.e. EOF)");
        result = function == NULL ? -1 : PyDict_SetItemString(builtins, names[i], function);
        Py_XDECREF(function);
    }
    Py_XDECREF(quitter);
    return result;
}

int pye_importer_finish(void)
{
    const struct pye_bundle *bundle = pye_bundle();
    if (add_quitters() < 0)
        return -1;
    if (bundle->runs_app) /* the bundle is the program: as for a zip file, Python puts it there itself */
        return pye_runner_install();
    PyObject *root = path_of("", 0), *path = PySys_GetObject("path");
    int result = root == NULL || path == NULL ? -1 : PyList_Insert(path, 0, root);
    Py_XDECREF(root);
    return result;
}

int pye_importer_install(void)
{
    PyObject *meta_path = PySys_GetObject("meta_path");
    types.importer = PyModule_Create(&importer_definition);
    return types.importer == NULL || meta_path == NULL ? -1 : PyList_Append(meta_path, types.importer);
}
