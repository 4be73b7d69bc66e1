# PYE_PYTHON: find the Python to embed, and how to compile and link with it.
#
# Sets, and substitutes:
#   PYTHON              absolute path of that Python (of the base one, when a venv's was given)
#   PYTHON_VERSION      X.Y
#   PYE_PYTHON_CPPFLAGS, PYE_PYTHON_LDFLAGS, PYE_PYTHON_LIBS
#   PYE_PYTHON_ARCHIVE  the static library when it is linked in, else empty (a make dependency)
#   PYE_LIBPYTHON       static or shared
# and defines for --info, which starts no interpreter (empty in a cross build):
#   PYE_BUILT_FOR, PYE_PREFIX, PYE_STDLIB   PYTHON itself, its prefix, the directory of its standard library
#
# A native build asks the Python itself. A cross build cannot run the Python it embeds: there PYTHON is
# one of the same version on the build machine (it compiles the frozen module), and headers and libraries
# come from HOST-pythonX.Y-config (or PYTHON_CONFIG), else from pkg-config.

AC_DEFUN([PYE_PYTHON], [
  AC_ARG_VAR([PYTHON], [the Python to embed, 3.9 to 3.14 (default: the first python3 on PATH with headers)])
  AC_ARG_VAR([PYTHON_CONFIG], [cross builds: the python-config of the Python to embed])
  AC_ARG_WITH([libpython],
    [AS_HELP_STRING([--with-libpython=auto|static|shared], [how to link libpython (auto: static where it works)])],
    [], [with_libpython=auto])
  AS_CASE([$with_libpython], [auto|static|shared], [],
    [AC_MSG_ERROR([--with-libpython=$with_libpython: it takes auto, static or shared])])

  AC_ARG_ENABLE([lean-start],
    [AS_HELP_STRING([--disable-lean-start], [link what a static libpython needs, and lay it out, as any program is])],
    [], [enable_lean_start=yes])

  _PYE_PYTHON_FIND
  _PYE_PYTHON_VERSION
  AS_IF([test "$cross_compiling" = yes], [_PYE_PYTHON_CROSS], [_PYE_PYTHON_ASK])
  _PYE_PYTHON_HEADERS
  _PYE_PYTHON_LINK
  _PYE_PYTHON_FEATURES

  AC_SUBST([PYTHON_VERSION])
  AC_SUBST([PYE_PYTHON_CPPFLAGS])
  AC_SUBST([PYE_PYTHON_LDFLAGS])
  AC_SUBST([PYE_PYTHON_LIBS])
  AC_SUBST([PYE_PYTHON_ARCHIVE])
  AC_SUBST([PYE_LIBPYTHON])
  AC_SUBST([PYE_QUICK_LDFLAGS])
  AM_CONDITIONAL([QUICK], [test -n "$PYE_QUICK_LDFLAGS"])
  AC_DEFINE_UNQUOTED([PYE_LOADER], ["$pye_called"], [the dynamic loader that pyentry calls itself; "": the kernel does])
  AC_DEFINE_UNQUOTED([PYE_LIBPYTHON], ["$PYE_LIBPYTHON"], [how libpython is linked])
  AC_DEFINE_UNQUOTED([PYE_BUILT_FOR], ["$pye_built_for"], [the Python to embed])
  AC_DEFINE_UNQUOTED([PYE_PREFIX], ["$pye_prefix"], [its sys.prefix])
  AC_DEFINE_UNQUOTED([PYE_STDLIB], ["$pye_stdlib"], [the directory of its standard library])
])

# A version manager's shim (pyenv, asdf) runs another Python in another directory: what configure learns
# from it here need not be true where make runs. Name one through PYTHON= to use what it means now.
AC_DEFUN([_PYE_PYTHON_FIND], [
  AC_MSG_CHECKING([for the Python to embed])
  pye_seen=
  pye_want='import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))'
  AC_PATH_PROGS_FEATURE_CHECK([PYTHON], [python3], [
    AS_CASE([$ac_path_PYTHON], [*/shims/*], [], [
      pye_seen="$pye_seen $ac_path_PYTHON"
      AS_IF([test "$cross_compiling" = yes || "$ac_path_PYTHON" -I -c "$pye_want" 2>/dev/null],
        [ac_cv_path_PYTHON=$ac_path_PYTHON ac_path_PYTHON_found=:])])],
    [AC_MSG_ERROR([[no python3 with headers on PATH (seen:${pye_seen:- none}): install python3-dev or set PYTHON]])])
  PYTHON=`"$ac_cv_path_PYTHON" -I -c 'import sys; print(sys._base_executable)' 2>&AS_MESSAGE_LOG_FD`
  AS_IF([test -x "$PYTHON"], [], [AC_MSG_ERROR([PYTHON=$ac_cv_path_PYTHON does not run as a Python 3])])
  AC_MSG_RESULT([$PYTHON])
])

AC_DEFUN([_PYE_PYTHON_VERSION], [
  AC_MSG_CHECKING([the version of $PYTHON])
  PYTHON_VERSION=`"$PYTHON" -I -c 'import sys; print("%d.%d" % sys.version_info@<:@:2@:>@)'`
  AC_MSG_RESULT([$PYTHON_VERSION])
  AS_CASE([$PYTHON_VERSION], [3.9|3.1@<:@0-4@:>@], [],
    [AC_MSG_ERROR([$PYTHON is Python $PYTHON_VERSION; pyentry embeds 3.9 to 3.14: name another through PYTHON=])])
])

# A Python may have been moved since it was built (some installers unpack it anywhere): where a recorded
# directory is not there, the same one below its present prefix is taken.
AC_DEFUN([_PYE_PYTHON_ASK], [
  AC_MSG_CHECKING([what $PYTHON says of its libraries])
  cat >conftest.py <<'PYE_EOF'
[import os, shlex, sys, sysconfig

def var(name):
    return str(sysconfig.get_config_var(name) or "")

def there(*directories):
    return next(filter(os.path.isdir, directories), "")

def once(*lists):
    words = " ".join(lists).split()
    # Archives named relative to Python's own build directory are not in an installation.
    return " ".join(w for w in dict.fromkeys(words) if not w.endswith(".a") or os.path.isabs(w))

libpl = there(var("LIBPL"), os.path.join(sysconfig.get_path("stdlib"), os.path.basename(var("LIBPL"))))
answers = {
    "built_for": sys._base_executable,
    "prefix": sys.base_prefix,
    "stdlib": sysconfig.get_path("stdlib"),
    "includes": once(sysconfig.get_path("include"), sysconfig.get_path("platinclude")),
    "libdir": there(var("LIBDIR"), os.path.join(sys.base_prefix, "lib")),
    "archive": os.path.join(libpl, "libpython%s.a" % (var("LDVERSION") or var("VERSION"))),
    "ldversion": var("LDVERSION") or var("VERSION"),
    "libs": once(var("MODLIBS"), var("LIBS"), var("SYSLIBS")),
    "exports": var("LINKFORSHARED") or "-Xlinker -export-dynamic",
}
for name, value in answers.items():
    print("pye_%s=%s" % (name, shlex.quote(value)))]
PYE_EOF
  AS_IF(["$PYTHON" -I conftest.py >conftest.vars 2>&AS_MESSAGE_LOG_FD], [],
    [AC_MSG_ERROR([$PYTHON cannot tell where its libraries are (see config.log)])])
  . ./conftest.vars
  cat conftest.vars >&AS_MESSAGE_LOG_FD
  rm -f conftest.py conftest.vars
  AC_MSG_RESULT([$pye_libdir])
  pye_shared="-L$pye_libdir -lpython$pye_ldversion"
  PYE_PYTHON_CPPFLAGS=
  for pye_dir in $pye_includes; do PYE_PYTHON_CPPFLAGS="$PYE_PYTHON_CPPFLAGS -isystem $pye_dir"; done
])

AC_DEFUN([_PYE_PYTHON_CROSS], [
  AC_REQUIRE([PKG_PROG_PKG_CONFIG])
  AC_PATH_PROG([PYTHON_CONFIG], [${host_alias}-python${PYTHON_VERSION}-config])
  pye_exports='-Xlinker -export-dynamic'
  pye_archive=
  AS_IF([test -n "$PYTHON_CONFIG"], [
    PYE_PYTHON_CPPFLAGS=`$PYTHON_CONFIG --includes`
    pye_shared=`$PYTHON_CONFIG --ldflags --embed`
    pye_libs=`$PYTHON_CONFIG --libs`
    pye_archive=`$PYTHON_CONFIG --configdir`/libpython$PYTHON_VERSION.a
  ], [test -n "$PKG_CONFIG" && $PKG_CONFIG --exists python-$PYTHON_VERSION-embed], [
    PYE_PYTHON_CPPFLAGS=`$PKG_CONFIG --cflags python-$PYTHON_VERSION-embed`
    pye_shared=`$PKG_CONFIG --libs python-$PYTHON_VERSION-embed`
    pye_libs=`$PKG_CONFIG --libs --static python-$PYTHON_VERSION`
  ], [AC_MSG_ERROR([no ${host_alias}-python${PYTHON_VERSION}-config and no python-$PYTHON_VERSION-embed.pc for the host])])
  PYE_PYTHON_CPPFLAGS=`AS_ECHO([" $PYE_PYTHON_CPPFLAGS"]) | sed 's/ -I/ -isystem /g'`
])

AC_DEFUN([_PYE_PYTHON_HEADERS], [
  AC_LANG_ASSERT([C])
  pye_save_CPPFLAGS=$CPPFLAGS
  CPPFLAGS="$CPPFLAGS $PYE_PYTHON_CPPFLAGS"
  AC_MSG_CHECKING([for Python.h])
  AC_COMPILE_IFELSE([AC_LANG_PROGRAM([[#include <Python.h>]])], [AC_MSG_RESULT([yes])], [
    AC_MSG_RESULT([no])
    AC_MSG_ERROR([$PYTHON has no Python.h that compiles (see config.log): install python$PYTHON_VERSION-dev])])
  CPPFLAGS=$pye_save_CPPFLAGS
])

# _PYE_PYTHON_TRY(IF-IT-LINKS, ELSE): link a program that embeds, with PYE_PYTHON_*. pye_loads: what it loads.
AC_DEFUN([_PYE_PYTHON_TRY], [
  pye_save_CPPFLAGS=$CPPFLAGS pye_save_LDFLAGS=$LDFLAGS pye_save_LIBS=$LIBS
  CPPFLAGS="$CPPFLAGS $PYE_PYTHON_CPPFLAGS" LDFLAGS="$PYE_PYTHON_LDFLAGS $LDFLAGS" LIBS="$PYE_PYTHON_LIBS $LIBS"
  AC_LINK_IFELSE([AC_LANG_PROGRAM([[#include <Python.h>]], [[return Py_RunMain();]])],
    [pye_links=yes; pye_loads=`env -u LD_LIBRARY_PATH ldd ./conftest$EXEEXT 2>/dev/null`], [pye_links=no])
  CPPFLAGS=$pye_save_CPPFLAGS LDFLAGS=$pye_save_LDFLAGS LIBS=$pye_save_LIBS
  AS_IF([test $pye_links = yes], [$1], [$2])
])

AC_DEFUN([_PYE_PYTHON_LINK], [
  AC_MSG_CHECKING([how to link libpython])
  PYE_LIBPYTHON=none
  PYE_PYTHON_ARCHIVE=
  pye_lean=
  pye_called=
  pye_why=
  AS_IF([test "$with_libpython" != shared && test -f "$pye_archive"], [_PYE_PYTHON_STATIC])
  AS_IF([test "$with_libpython-$PYE_LIBPYTHON" = static-none],
    [AC_MSG_ERROR([--with-libpython=static: $PYTHON has no libpython$PYTHON_VERSION.a that links (see config.log)])])
  AS_IF([test $PYE_LIBPYTHON = none], [_PYE_PYTHON_SHARED])
  AS_IF([test $PYE_LIBPYTHON = none],
    [AC_MSG_ERROR([$PYTHON has no libpython that links (see config.log): install libpython$PYTHON_VERSION-dev])])
  AC_MSG_RESULT([$PYE_LIBPYTHON${pye_lean:+ (lean:$pye_lean)}$pye_why])
])

# Static starts faster (no relocations of libpython) and makes one file. Without PIE first: a distribution's
# archive may hold no position-independent code, and an executable at a fixed address starts faster.
# The whole archive goes in: extension modules use more of it than we do.
AC_DEFUN([_PYE_PYTHON_STATIC], [
  PYE_PYTHON_LIBS="-Wl,--whole-archive $pye_archive -Wl,--no-whole-archive $pye_libs"
  for pye_pie in '-no-pie ' ''; do
    PYE_PYTHON_LDFLAGS="$pye_pie$pye_exports"
    _PYE_PYTHON_TRY([PYE_LIBPYTHON=static; PYE_PYTHON_ARCHIVE=$pye_archive; pye_why=; break],
      [pye_why=" (its ${pye_archive@%:@@%:@*/} does not link: see config.log)"])
  done
  AS_IF([test "$PYE_LIBPYTHON-$enable_lean_start" = static-yes], [_PYE_PYTHON_LEAN])
])

# Whatever starts, runs the dynamic loader first: an init, a health check and a restored program, too, which then have no
# Python. Each step is left out where it does not link.
AC_DEFUN([_PYE_PYTHON_LEAN], [
  # The names of archives stay in the executable: a libz.so.1 that an extension module brings is to find its own.
  for pye_lib in z expat; do
    _PYE_PYTHON_REPLACE([-l$pye_lib], [-l:lib$pye_lib.a -Wl,--exclude-libs,lib$pye_lib.a], [lib$pye_lib])
  done
  # What embed/libm.c or libc itself has is not asked of libm, which is linked if anything is left.
  _PYE_PYTHON_REPLACE([-lm], [-Wl,--push-state,--as-needed -lc -lm -Wl,--pop-state], [libm])
  AS_CASE([$pye_lean], [*libm*], [AC_DEFINE([PYE_LOADS_LIBM], [1], [whether libm is loaded with Python only])])
  pye_before=$PYE_PYTHON_LDFLAGS
  PYE_PYTHON_LDFLAGS="$PYE_PYTHON_LDFLAGS -Wl,-T,$srcdir/launcher/layout.ld"
  _PYE_PYTHON_TRY([pye_lean="$pye_lean layout"], [PYE_PYTHON_LDFLAGS=$pye_before])
  AS_CASE(["$PYE_PYTHON_LDFLAGS"], [*-no-pie*], [_PYE_PYTHON_QUICK])
])

# A snapshot is started from before the C library has begun: the kernel is not to call the dynamic loader, which
# launcher/first.c does. Its path is the one that the compiler would have asked for.
AC_DEFUN([_PYE_PYTHON_QUICK], [
  AC_CHECK_TOOL([READELF], [readelf], [false])
  pye_save_LDFLAGS=$LDFLAGS
  pye_request='s/.*program interpreter: \(.*\)@:>@.*/\1/p'
  LDFLAGS="$LDFLAGS -no-pie"
  AC_LINK_IFELSE([AC_LANG_PROGRAM([[#include <stdlib.h>
    #if !defined __x86_64__ || defined __ILP32__ || !defined __GLIBC__
    # error another processor, or another C library
    #endif
    ]])], [pye_loader=`LC_ALL=C $READELF -l conftest$EXEEXT 2>/dev/null | sed -n "$pye_request"`], [pye_loader=])
  LDFLAGS="$LDFLAGS -Wl,--no-dynamic-linker"
  AS_IF([test -n "$pye_loader" && test "$enable_asan" = no], [
    AC_LINK_IFELSE([AC_LANG_PROGRAM()], [
      AS_IF([test -z "`LC_ALL=C $READELF -l conftest$EXEEXT | sed -n "$pye_request"`"], [
        pye_lean="$pye_lean quick"
        PYE_QUICK_LDFLAGS='-Wl,--no-dynamic-linker -Wl,-u,pye_first -Wl,-e,pye_first'
        pye_called=$pye_loader])])])
  LDFLAGS=$pye_save_LDFLAGS
])

# _PYE_PYTHON_REPLACE(WORD, BY, NAME): another way to link with a library, if it works.
AC_DEFUN([_PYE_PYTHON_REPLACE], [
  pye_before=$PYE_PYTHON_LIBS
  AS_CASE([" $PYE_PYTHON_LIBS "], [*" $1 "*], [
    PYE_PYTHON_LIBS=`AS_ECHO([" $PYE_PYTHON_LIBS "]) | sed "s/ $1 / $2 /"`
    _PYE_PYTHON_TRY([pye_lean="$pye_lean $3"], [PYE_PYTHON_LIBS=$pye_before])])
])

# A run path only where the loader would not find that very library by itself.
AC_DEFUN([_PYE_PYTHON_SHARED], [
  PYE_PYTHON_LDFLAGS='-Xlinker -export-dynamic'
  PYE_PYTHON_LIBS=$pye_shared
  _PYE_PYTHON_TRY([PYE_LIBPYTHON=shared], [pye_loads=])
  AS_IF([test "$cross_compiling" != yes && test $PYE_LIBPYTHON = shared], [
    pye_so=`AS_ECHO(["$pye_loads"]) | sed -n 's/.*libpython@<:@^ @:>@* => \(@<:@^ @:>@*\) .*/\1/p' | head -n 1`
    AS_IF([test "$pye_so" -ef "$pye_libdir/${pye_so@%:@@%:@*/}"], [],
      [PYE_PYTHON_LDFLAGS="$PYE_PYTHON_LDFLAGS -Wl,-rpath,$pye_libdir"])])
])

# _Py_InitializeMain: pyentry prepares the interpreter between its core and its main initialization.
AC_DEFUN([_PYE_PYTHON_FEATURES], [
  pye_save_CPPFLAGS=$CPPFLAGS pye_save_LDFLAGS=$LDFLAGS pye_save_LIBS=$LIBS
  CPPFLAGS="$CPPFLAGS $PYE_PYTHON_CPPFLAGS" LDFLAGS="$PYE_PYTHON_LDFLAGS $LDFLAGS" LIBS="$PYE_PYTHON_LIBS $LIBS"
  AC_MSG_CHECKING([for _Py_InitializeMain])
  AC_LINK_IFELSE([AC_LANG_PROGRAM([[#include <Python.h>]],
      [[PyStatus (*f)(void) = _Py_InitializeMain; return PyStatus_Exception(f());]])],
    [AC_MSG_RESULT([yes])],
    [AC_MSG_RESULT([no])
     AC_MSG_ERROR([Python $PYTHON_VERSION at $PYTHON lacks _Py_InitializeMain: pyentry cannot embed it])])
  CPPFLAGS=$pye_save_CPPFLAGS LDFLAGS=$pye_save_LDFLAGS LIBS=$pye_save_LIBS
  AC_CHECK_FUNCS([malloc_trim on_exit memfd_create])
])
