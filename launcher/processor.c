#include "launcher/processor.h"

#include "launcher/cpuid.h"

#if PYE_SNAPSHOTS

/* Of each register the bits that programs look at: what only kernels and hypervisors use may differ; and those of them that
 * processors of a level have. RDRAND, AES and PCLMULQDQ are not in the definition of v3, but in all processors of it. */
static const struct {
    uint32_t leaf, subleaf;
    int word;
    uint32_t bits, v3, v2;
} features[] = {
    [PYE_CPU_1_ECX] = {0x1, 0, PYE_ECX, 0x7ed83203, 0x7ed83203, 0x00982201},
    [PYE_CPU_1_EDX] = {0x1, 0, PYE_EDX, 0x07888111, 0x07888111, 0x07888111},
    [PYE_CPU_7_EBX] = {0x7, 0, PYE_EBX, 0xfdaf0b39, 0x00000128, 0},
    [PYE_CPU_7_ECX] = {0x7, 0, PYE_ECX, 0x1a405f62, 0, 0},
    {0x7, 0, PYE_EDX, 0x03c0413c, 0, 0},
    {0x7, 1, PYE_EAX, 0x00600ff7, 0, 0},
    {0xd, 1, PYE_EAX, 0x00000007, 0, 0},
    {0x80000001, 0, PYE_ECX, 0x00210961, 0x00000021, 0x00000001},
    {0x80000001, 0, PYE_EDX, 0xe8000800, 0x28000800, 0x28000800},
};

enum { FEATURES = sizeof features / sizeof *features, OSXSAVE = 1 << 27, UP_TO_AVX = 7 /* in XCR0 */ };

_Static_assert(FEATURES + 1 <= PYE_CPU_WORDS, "the last is for the registers that the kernel saves");

static uint32_t saved_registers(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

void pye_processor_find(uint32_t cpu[PYE_CPU_WORDS], pye_cpuid_source *source)
{
    uint32_t words[PYE_CPUID_WORDS];
    for (size_t i = 0; i < PYE_CPU_WORDS; i++)
        cpu[i] = 0;
    for (size_t i = 0; i < FEATURES; i++) {
        if (i == 0 || features[i].leaf != features[i - 1].leaf || features[i].subleaf != features[i - 1].subleaf)
            source(features[i].leaf, features[i].subleaf, words);
        cpu[i] = words[features[i].word] & features[i].bits;
    }
    if (cpu[0] & OSXSAVE)
        cpu[FEATURES] = saved_registers();
}

bool pye_processor_has(const uint32_t now[PYE_CPU_WORDS], const uint32_t then[PYE_CPU_WORDS])
{
    for (size_t i = 0; i < PYE_CPU_WORDS; i++) {
        if ((then[i] & now[i]) != then[i])
            return false;
    }
    return true;
}

void pye_processor_limit(uint32_t cpu[PYE_CPU_WORDS], enum pye_level level)
{
    if (level == PYE_LEVEL_NATIVE)
        return;
    for (size_t i = 0; i < FEATURES; i++)
        cpu[i] &= level == PYE_LEVEL_V3 ? features[i].v3 : features[i].v2;
    cpu[FEATURES] &= level == PYE_LEVEL_V3 ? UP_TO_AVX : 0;
}

#endif
