#include "launcher/cpuid.h"

#if defined(__x86_64__)

#include <cpuid.h>

enum { OSXSAVE = 1 << 27, STATE_LEAF = 0xd };

#define FIRST_EXTENDED 0x80000001U

static uint32_t first[PYE_CPUID_WORDS]; /* leaf 1, which is asked for again and again */

/* Each of these processors has the first of the extended ones, and nobody here asks for another. A kernel lets programs
 * use XSAVE only where it found the leaf that describes it. */
static int has_leaf(uint32_t leaf)
{
    static uint32_t last;
    uint32_t ignored;
    if (leaf == FIRST_EXTENDED || (leaf <= STATE_LEAF && (first[PYE_ECX] & OSXSAVE)))
        return 1;
    if (last == 0)
        __cpuid(0, last, ignored, ignored, ignored);
    return leaf <= last;
}

void pye_cpuid_asked(uint32_t leaf, uint32_t subleaf, uint32_t words[PYE_CPUID_WORDS])
{
    if (first[PYE_EDX] == 0)
        __cpuid(1, first[PYE_EAX], first[PYE_EBX], first[PYE_ECX], first[PYE_EDX]);
    if (leaf != 1 && has_leaf(leaf)) {
        __cpuid_count(leaf, subleaf, words[PYE_EAX], words[PYE_EBX], words[PYE_ECX], words[PYE_EDX]);
        return;
    }
    for (int i = 0; i < PYE_CPUID_WORDS; i++)
        words[i] = leaf == 1 ? first[i] : 0;
}

#endif
