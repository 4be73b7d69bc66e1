#include "launcher/cpuid.h"

#include <stdlib.h> /* which C library it is */

#if defined(__x86_64__)

#include <stdbool.h>
#include <string.h>

#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 33)

#include <sys/platform/x86.h>

static const struct {
    uint32_t leaf, subleaf;
    unsigned index;
} noted[] = {
    {0x1, 0, CPUID_INDEX_1},          {0x7, 0, CPUID_INDEX_7},
    {0x7, 1, CPUID_INDEX_7_ECX_1},    {0xd, 1, CPUID_INDEX_D_ECX_1},
    {0x80000001, 0, CPUID_INDEX_80000001},
};

/* False where the C library does not keep this leaf. */
static bool recall(uint32_t leaf, uint32_t subleaf, uint32_t words[PYE_CPUID_WORDS])
{
    for (size_t i = 0; i < sizeof noted / sizeof *noted; i++) {
        if (noted[i].leaf != leaf || noted[i].subleaf != subleaf)
            continue;
        const struct cpuid_feature *feature = __x86_get_cpuid_feature_leaf(noted[i].index);
        memcpy(words, feature->cpuid_array, sizeof feature->cpuid_array);
        return true;
    }
    return false;
}

#else

static bool recall(uint32_t leaf, uint32_t subleaf, uint32_t words[PYE_CPUID_WORDS])
{
    (void)leaf;
    (void)subleaf;
    (void)words;
    return false;
}

#endif

void pye_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t words[PYE_CPUID_WORDS])
{
    if (!recall(leaf, subleaf, words))
        pye_cpuid_asked(leaf, subleaf, words);
}

#endif
