#include "launcher/variables.h"

#include <string.h>

#define PREFIX "PYTHON"

/* Of every version from 3.9 to 3.14, behind the prefix; those that only Windows has are left out. */
static const char *const names[] = {
    "ASYNCIODEBUG", "BREAKPOINT", "CASEOK", "COERCECLOCALE", "DEBUG", "DEVMODE", "DONTWRITEBYTECODE", "DUMPREFS",
    "DUMPREFSFILE", "EXECUTABLE", "FAULTHANDLER", "HASHSEED", "HOME", "INSPECT", "INTMAXSTRDIGITS", "IOENCODING",
    "MALLOC", "MALLOCSTATS", "NODEBUGRANGES", "NOUSERSITE", "OLDPARSER", "OPTIMIZE", "PATH", "PERFSUPPORT",
    "PLATLIBDIR", "PROFILEIMPORTTIME", "PYCACHEPREFIX", "SAFEPATH", "STARTUP", "THREADDEBUG", "TRACEMALLOC",
    "UNBUFFERED", "USERBASE", "UTF8", "VERBOSE", "WARNDEFAULTENCODING", "WARNINGS", "_BASIC_REPL", "_COLORS",
    "_CONTEXT_AWARE_WARNINGS", "_CPU_COUNT", "_DISABLE_REMOTE_DEBUG", "_FROZEN_MODULES", "_GIL", "_HISTORY", "_JIT",
    "_PERF_JIT_SUPPORT", "_PRESITE", "_THREAD_INHERIT_CONTEXT", "_TLBC",
};

bool pye_is_pythons(const char *entry)
{
    if (strncmp(entry, PREFIX, strlen(PREFIX)) != 0)
        return false;
    const char *name = entry + strlen(PREFIX);
    size_t length = strcspn(name, "=");
    for (size_t i = 0; name[length] == '=' && i < sizeof names / sizeof *names; i++) {
        if (strncmp(name, names[i], length) == 0 && names[i][length] == '\0')
            return true;
    }
    return false;
}
