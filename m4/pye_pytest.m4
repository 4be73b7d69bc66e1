# PYE_PYTEST: PYTEST becomes the command that runs pytest, or stays empty. The tests are black-box ones: any
# Python's pytest will do, so the one of the Python to embed is only the first to be asked.
AC_DEFUN([PYE_PYTEST], [
  AC_ARG_VAR([PYTEST], [command that runs pytest])
  AC_MSG_CHECKING([for pytest])
  for pye_python in "$PYTHON" /usr/bin/python3; do
    AS_IF([test -z "$PYTEST" && "$pye_python" -m pytest --version >/dev/null 2>&1], [PYTEST="$pye_python -m pytest"])
  done
  AS_IF([test -z "$PYTEST" && pytest --version >/dev/null 2>&1], [PYTEST=pytest])
  AC_MSG_RESULT([${PYTEST:-no}])
])
