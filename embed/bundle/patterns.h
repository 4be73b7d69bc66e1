/* Regular expressions that were compiled when the bundle was built (pyentry/bundler/patterns.py).
 *
 * The function that compiles one in Python gets ours in front of it, which looks the text and the flags up; whatever is
 * not there, it compiles. */
#ifndef PYE_PATTERNS_H
#define PYE_PATTERNS_H

#include <Python.h>

#define PYE_BUNDLE_PATTERNS ".pyentry/patterns"

/* To be called with the dictionary of each module that was executed: does its part when that is re's compiler. 0, or -1
 * with an exception. */
int pye_patterns_follow(PyObject *dictionary);

#endif
