/* The code of a module, as the builder writes it (pyentry/bundler/codes.py).
 *
 * It says what marshal says, and is read in half the time: an entry for each module, and one with the words that several
 * of them have, each of which becomes an object once. Whatever the bytes are, reading them is safe; that they are the
 * builder's, instructions above all, is what their checksum is for. */
#ifndef PYE_CODE_H
#define PYE_CODE_H

#include <Python.h>

#define PYE_BUNDLE_WORDS ".pyentry/words"
#define PYE_BUNDLE_CODE ".pyentry/code/"

/* The code object, with the file name in it and in all that it contains; NULL with an exception, a ValueError where the
 * bytes are no code. The caller answers for their checksum. */
PyObject *pye_code_read(const void *data, size_t size, PyObject *filename);

/* For code that marshal has read: takes the reference and gives it back, with this file name in it and in all that it
 * contains; NULL with an exception. */
PyObject *pye_code_put_filename(PyObject *code, PyObject *filename);

/* The words for all that is read from now on: Python's magic number, how many they are, where each begins and the last
 * ends, their text. They stay the caller's. 0, or -1 with an exception. */
int pye_code_set_words(const void *data, size_t size);

#endif
