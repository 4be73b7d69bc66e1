/* What the processor says of itself. In a virtual machine each CPUID instruction is a way out of it and back, and may
 * take longer than a page fault; the C library has asked already. */
#ifndef PYE_CPUID_H
#define PYE_CPUID_H

#include <stdint.h>

enum { PYE_EAX, PYE_EBX, PYE_ECX, PYE_EDX, PYE_CPUID_WORDS };

#if defined(__x86_64__)

/* Zeros where the processor has no such leaf. */
void pye_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t words[PYE_CPUID_WORDS]);

/* The same from the processor itself. */
void pye_cpuid_asked(uint32_t leaf, uint32_t subleaf, uint32_t words[PYE_CPUID_WORDS]);

#endif

#endif
