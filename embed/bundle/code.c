#include <Python.h>

#include "embed/bundle/code.h"

#include "embed/bundle/lasting.h"
#include "embed/bundle/little.h"
#include "embed/bundle/parts.h"

#include <marshal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Containers in containers: more than the compiler makes, less than the stack has. */
enum { DEPTH = 1000 };

static struct {
    const unsigned char *bytes;
    size_t size;
    uint32_t count;
    PyObject **made; /* NULL where nobody has asked yet */
} words;

struct reader {
    const unsigned char *at, *end;
    PyObject *filename;
    PyObject **kept; /* what may be meant again, in the order in which it came */
    size_t kept_count, kept_size;
    int depth;
};

static PyObject *read_object(struct reader *reader);

static void *malformed(void)
{
    if (!PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, "this is not the code of a bundle");
    return NULL;
}

static PyObject *new_reference(PyObject *object)
{
    Py_INCREF(object);
    return object;
}

/* --- numbers and bytes --- */

/* Seven bits in each byte, the lowest first; the highest bit says that more follow. */
static bool read_number(struct reader *reader, uint32_t *number)
{
    uint32_t value = 0;
    for (unsigned shift = 0; shift < 32 && reader->at < reader->end; shift += 7) {
        unsigned char byte = *reader->at++;
        value |= (uint32_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *number = value;
            return true;
        }
    }
    return false;
}

/* A number of bytes, or of objects, which have a byte at least. */
static bool read_length(struct reader *reader, uint32_t *length)
{
    return read_number(reader, length) && *length <= (size_t)(reader->end - reader->at);
}

/* The bytes behind their length. */
static const char *read_bytes(struct reader *reader, uint32_t *length)
{
    if (!read_length(reader, length))
        return malformed();
    const char *bytes = (const char *)reader->at;
    reader->at += *length;
    return bytes;
}

/* --- words --- */

static bool is_ascii(const char *bytes, size_t length)
{
    uint64_t all = 0, eight;
    size_t i = 0;
    for (; i + sizeof eight <= length; i += sizeof eight) {
        memcpy(&eight, bytes + i, sizeof eight);
        all |= eight;
    }
    for (; i < length; i++)
        all |= (unsigned char)bytes[i];
    return (all & 0x8080808080808080) == 0;
}

/* The decoder is not asked about what is ASCII, which nearly all is: it takes twice the time. */
static PyObject *make_string(const char *bytes, uint32_t length)
{
    if (length == 0 || !is_ascii(bytes, length))
        return PyUnicode_DecodeUTF8(bytes, length, "surrogatepass");
    PyObject *string = PyUnicode_New(length, 0x7f);
    if (string != NULL)
        memcpy(PyUnicode_1BYTE_DATA(string), bytes, length);
    return string;
}

/* Where the offsets begin, and of those one more than words the text. */
enum { OFFSETS = 8 };

static const unsigned char *offset_of(uint32_t number)
{
    return words.bytes + OFFSETS + (size_t)number * sizeof number;
}

int pye_code_set_words(const void *data, size_t size)
{
    const unsigned char *bytes = data;
    if (size < OFFSETS || pye_get32(bytes) != (uint32_t)PyImport_GetMagicNumber()) {
        PyErr_SetString(PyExc_ImportError, "the bundle's code was compiled by another Python than this one");
        return -1;
    }
    uint32_t count = pye_get32(bytes + 4);
    if (count >= (size - OFFSETS) / sizeof count) {
        malformed();
        return -1;
    }
    PyObject **made = PyMem_Calloc(count + 1, sizeof(PyObject *));
    if (made == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (uint32_t i = 0; i < words.count; i++)
        Py_XDECREF(words.made[i]);
    PyMem_Free(words.made);
    words.made = made;
    words.bytes = bytes;
    words.size = size;
    words.count = count;
    return 0;
}

static PyObject *make_word(uint32_t number)
{
    const unsigned char *text = offset_of(words.count + 1);
    uint32_t begin = pye_get32(offset_of(number)), end = pye_get32(offset_of(number + 1));
    if (begin > end || end > (size_t)(words.bytes + words.size - text))
        return malformed();
    PyObject *word = make_string((const char *)text + begin, end - begin);
    if (word != NULL)
        PyUnicode_InternInPlace(&word);
    return words.made[number] = word;
}

static PyObject *read_word(struct reader *reader)
{
    uint32_t number;
    if (!read_number(reader, &number) || number >= words.count)
        return malformed();
    PyObject *word = words.made[number] != NULL ? words.made[number] : make_word(number);
    Py_XINCREF(word);
    return word;
}

/* --- plain objects --- */

/* Takes a new reference, or NULL, and gives it back. */
static PyObject *keep(struct reader *reader, PyObject *object)
{
    if (object == NULL)
        return NULL;
    if (reader->kept_count == reader->kept_size) {
        size_t size = reader->kept_size * 2 + 64;
        PyObject **kept = PyMem_Realloc(reader->kept, size * sizeof(PyObject *));
        if (kept == NULL) {
            Py_DECREF(object);
            return PyErr_NoMemory();
        }
        reader->kept = kept;
        reader->kept_size = size;
    }
    Py_INCREF(object);
    return reader->kept[reader->kept_count++] = object;
}

static PyObject *read_kept(struct reader *reader)
{
    uint32_t number;
    if (!read_number(reader, &number) || number >= reader->kept_count)
        return malformed();
    return new_reference(reader->kept[number]);
}

static PyObject *read_string(struct reader *reader, bool is_name)
{
    uint32_t length;
    const char *bytes = read_bytes(reader, &length);
    PyObject *string = bytes == NULL ? NULL : make_string(bytes, length);
    if (string != NULL && is_name)
        PyUnicode_InternInPlace(&string);
    return keep(reader, string);
}

static PyObject *read_bytestring(struct reader *reader)
{
    uint32_t length;
    const char *bytes = read_bytes(reader, &length);
    return keep(reader, bytes == NULL ? NULL : pye_lasting_bytes(bytes, length));
}

static PyObject *read_integer(struct reader *reader)
{
    uint32_t number;
    return keep(reader, read_number(reader, &number) ? PyLong_FromUnsignedLong(number) : malformed());
}

PyObject *pye_code_put_filename(PyObject *code, PyObject *filename)
{
    static PyObject *fix;
    PyObject *imp = fix != NULL ? NULL : PyImport_ImportModuleLevel("_imp", NULL, NULL, NULL, 0);
    if (imp != NULL)
        fix = PyObject_GetAttrString(imp, "_fix_co_filename");
    Py_XDECREF(imp);
    PyObject *none = fix == NULL ? NULL : PyObject_CallFunctionObjArgs(fix, code, filename, NULL);
    if (none == NULL)
        Py_CLEAR(code);
    Py_XDECREF(none);
    return code;
}

/* What is rare: marshal's own words for it. */
static PyObject *read_marshalled(struct reader *reader)
{
    uint32_t length;
    const char *bytes = read_bytes(reader, &length);
    PyObject *object = bytes == NULL ? NULL : PyMarshal_ReadObjectFromString(bytes, length);
    if (object == NULL || !PyCode_Check(object))
        return keep(reader, object);
    return pye_code_put_filename(object, reader->filename);
}

/* --- containers --- */

static PyObject *read_items(struct reader *reader, PyObject *tuple, uint32_t length)
{
    for (uint32_t i = 0; tuple != NULL && i < length; i++) {
        PyObject *item = read_object(reader);
        if (item == NULL)
            Py_CLEAR(tuple);
        else
            PyTuple_SET_ITEM(tuple, i, item);
    }
    return tuple;
}

static PyObject *read_tuple(struct reader *reader)
{
    uint32_t length;
    return read_length(reader, &length) ? read_items(reader, pye_lasting_tuple(length), length) : malformed();
}

static PyObject *read_frozenset(struct reader *reader)
{
    uint32_t length;
    if (!read_length(reader, &length))
        return malformed();
    PyObject *items = read_items(reader, PyTuple_New(length), length);
    PyObject *set = items == NULL ? NULL : PyFrozenSet_New(items);
    Py_XDECREF(items);
    return set;
}

static bool read_parts(struct reader *reader, struct pye_parts *parts)
{
    for (size_t i = 0; i < PYE_NUMBERS; i++) {
        uint32_t number;
        if (!read_number(reader, &number) || number > INT32_MAX)
            return false;
        parts->numbers[i] = (int)number;
    }
    uint32_t size;
    parts->instructions = read_bytes(reader, &size);
    if (parts->instructions == NULL)
        return false;
    parts->size = size;
    for (size_t i = 0; i < PYE_OBJECTS; i++) {
        parts->objects[i] = read_object(reader);
        if (parts->objects[i] == NULL || !pye_parts_are_right(parts->objects[i], i))
            return false;
    }
    return true;
}

static PyObject *read_code(struct reader *reader)
{
    struct pye_parts parts = {.filename = reader->filename};
    PyObject *code = read_parts(reader, &parts) ? pye_parts_assemble(&parts) : malformed();
    for (size_t i = 0; i < PYE_OBJECTS; i++)
        Py_XDECREF(parts.objects[i]);
    return code;
}

static PyObject *read_container(struct reader *reader, unsigned char kind)
{
    PyObject *object = NULL;
    if (++reader->depth > DEPTH)
        return malformed();
    switch (kind) {
    case '(':
        object = read_tuple(reader);
        break;
    case '[': /* that has no code in it */
        object = keep(reader, read_tuple(reader));
        break;
    case '{':
        object = keep(reader, read_frozenset(reader));
        break;
    default:
        object = read_code(reader);
        break;
    }
    reader->depth--;
    return object;
}

static PyObject *read_object(struct reader *reader)
{
    if (reader->at == reader->end)
        return malformed();
    unsigned char kind = *reader->at++;
    switch (kind) {
    case 'w':
        return read_word(reader);
    case 'k':
        return read_kept(reader);
    case 'n':
    case 's':
        return read_string(reader, kind == 'n');
    case 'b':
        return read_bytestring(reader);
    case 'i':
        return read_integer(reader);
    case 'm':
        return read_marshalled(reader);
    case '(':
    case '[':
    case '{':
    case 'c':
        return read_container(reader, kind);
    case 'N':
        return new_reference(Py_None);
    case 'T':
        return new_reference(Py_True);
    case 'F':
        return new_reference(Py_False);
    default:
        return malformed();
    }
}

PyObject *pye_code_read(const void *data, size_t size, PyObject *filename)
{
    struct reader reader = {.at = data, .end = (const unsigned char *)data + size, .filename = filename};
    PyObject *code = read_object(&reader);
    if (code != NULL && (!PyCode_Check(code) || reader.at != reader.end)) {
        Py_CLEAR(code);
        malformed();
    }
    while (reader.kept_count > 0)
        Py_DECREF(reader.kept[--reader.kept_count]);
    PyMem_Free(reader.kept);
    return code;
}
