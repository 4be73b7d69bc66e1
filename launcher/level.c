#include "launcher/level.h"

#if PYE_SNAPSHOTS

#include "launcher/log.h"
#include "launcher/platform.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TUNABLES "GLIBC_TUNABLES"

enum { TEXT_BYTES = 4096, FMA = 1 << 12, SSE4_2 = 1 << 20, AVX2 = 1 << 5 };

static const char *const names[] = {
    [PYE_LEVEL_NATIVE] = "native", [PYE_LEVEL_V3] = "v3", [PYE_LEVEL_V2] = "v2"};

/* What the C library is not to choose its functions by: all that is above the level, in its own words. AVX variants are
 * also chosen by how fast unaligned loads are. */
static const char *const glibc[] = {
    [PYE_LEVEL_V3] = "-AVX512F,-AVX512VL,-AVX512BW,-RTM",
    [PYE_LEVEL_V2] = "-AVX512F,-AVX512VL,-AVX512BW,-RTM,-AVX2,-AVX,-FMA,-FMA4,-F16C,-BMI1,-BMI2,-LZCNT,-MOVBE,-ERMS,-FSRM,"
                     "-AVX_Fast_Unaligned_Load"};

/* The same in numpy's; names that a version does not know are passed over. */
#define NUMPY_ABOVE_V3 \
    "AVX512F AVX512CD AVX512_KNL AVX512_KNM AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR X86_V4"
static const char *const numpy[] = {
    [PYE_LEVEL_V3] = NUMPY_ABOVE_V3,
    [PYE_LEVEL_V2] = NUMPY_ABOVE_V3 " XOP FMA4 F16C AVX FMA3 AVX2 X86_V3"};

bool pye_level_find(const char *name, enum pye_level *level)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i]) == 0) {
            *level = (enum pye_level)i;
            return true;
        }
    }
    return false;
}

/* The newest kind of processor that OpenBLAS has code for within the level, and that this one is. */
static const char *openblas_core(const struct pye_machine *limited)
{
    if ((limited->cpu[PYE_CPU_7_EBX] & AVX2) && (limited->cpu[PYE_CPU_1_ECX] & FMA))
        return "Haswell";
    return limited->cpu[PYE_CPU_1_ECX] & SSE4_2 ? "Nehalem" : "Prescott";
}

/* OpenSSL takes the bits themselves, of two registers each. */
static uint64_t dropped(const struct pye_machine *machine, const struct pye_machine *limited, int low, int high)
{
    return (machine->cpu[low] & ~limited->cpu[low])
           | (uint64_t)(machine->cpu[high] & ~limited->cpu[high]) << 32;
}

static bool is_free(const char *name)
{
    if (pye_platform_variable(name) == NULL)
        return true;
    pye_log("--snapshot: --cpu sets %s, which is set already: unset it, or leave --cpu out", name);
    return false;
}

bool pye_level_enforce(enum pye_level level)
{
    char hwcaps[TEXT_BYTES], openssl[TEXT_BYTES];
    struct pye_machine machine, limited;
    const char *what, *tunables = pye_platform_variable(TUNABLES);
    if (level == PYE_LEVEL_NATIVE)
        return true;
    if (!is_free("OPENSSL_ia32cap") || !is_free("NPY_DISABLE_CPU_FEATURES") || !is_free("OPENBLAS_CORETYPE"))
        return false;
    pye_machine_find(&machine, &what); /* which the caller has done before: there is one */
    limited = machine;
    pye_processor_limit(limited.cpu, level);
    int length = snprintf(hwcaps, sizeof hwcaps, "%s%sglibc.cpu.hwcaps=%s", tunables == NULL ? "" : tunables,
                          tunables == NULL ? "" : ":", glibc[level]);
    snprintf(openssl, sizeof openssl, "~0x%" PRIx64 ":~0x%" PRIx64,
             dropped(&machine, &limited, PYE_CPU_1_EDX, PYE_CPU_1_ECX),
             dropped(&machine, &limited, PYE_CPU_7_EBX, PYE_CPU_7_ECX));
    if (length < (int)sizeof hwcaps && setenv(TUNABLES, hwcaps, 1) == 0 && setenv("OPENSSL_ia32cap", openssl, 1) == 0
        && setenv("NPY_DISABLE_CPU_FEATURES", numpy[level], 1) == 0
        && setenv("OPENBLAS_CORETYPE", openblas_core(&limited), 1) == 0)
        return true;
    pye_log("--snapshot: --cpu: the environment is too large");
    return false;
}

#endif
