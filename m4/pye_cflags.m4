# PYE_CFLAGS(VARIABLE, FLAGS): append to VARIABLE those of FLAGS that the compiler knows.
# -Werror, because clang only warns about a warning flag that it does not know.
AC_DEFUN([PYE_CFLAGS], [
  AC_LANG_ASSERT([C])
  for pye_flag in m4_normalize([$2]); do
    AC_MSG_CHECKING([whether $CC knows $pye_flag])
    pye_save_CFLAGS=$CFLAGS
    CFLAGS="-Werror $pye_flag"
    AC_COMPILE_IFELSE([AC_LANG_SOURCE([[int pye_probe; ]])],
      [AC_MSG_RESULT([yes]); $1="$$1 $pye_flag"], [AC_MSG_RESULT([no])])
    CFLAGS=$pye_save_CFLAGS
  done
])
