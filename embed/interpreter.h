/* The interpreter's beginning, with everything of ours in it. */
#ifndef PYE_INTERPRETER_H
#define PYE_INTERPRETER_H

#include <Python.h>

#include "embed/embed.h"

PyStatus pye_interpreter_begin(int argc, char **argv, const struct pye_settings *settings);

/* Ends the process as a failed beginning asks for. */
void pye_interpreter_fail(PyStatus status) __attribute__((noreturn));

#endif
