/* The features of the processor that programs look at, as the words of a snapshot. */
#ifndef PYE_PROCESSOR_H
#define PYE_PROCESSOR_H

#include "launcher/image.h"

typedef void pye_cpuid_source(uint32_t leaf, uint32_t subleaf, uint32_t words[4]);

void pye_processor_find(uint32_t cpu[PYE_CPU_WORDS], pye_cpuid_source *source);

/* Whether all that is in then is in now. */
bool pye_processor_has(const uint32_t now[PYE_CPU_WORDS], const uint32_t then[PYE_CPU_WORDS]);

/* The places of some words in cpu, which bits of CPUID are in it. */
enum { PYE_CPU_1_ECX, PYE_CPU_1_EDX, PYE_CPU_7_EBX, PYE_CPU_7_ECX };

/* The processors that a snapshot is for: the builder's own, or those of a level of x86-64, which have AVX2 (v3) or SSE4.2
 * (v2), and what all of them have besides. */
enum pye_level { PYE_LEVEL_NATIVE, PYE_LEVEL_V3, PYE_LEVEL_V2 };

/* Leaves what those of the level have. */
void pye_processor_limit(uint32_t cpu[PYE_CPU_WORDS], enum pye_level level);

#endif
