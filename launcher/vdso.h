/* The functions that the kernel puts into each process. */
#ifndef PYE_VDSO_H
#define PYE_VDSO_H

#include <stdint.h>

/* The address of the function of this name; 0 where there is none. vdso is where AT_SYSINFO_EHDR says. */
uint64_t pye_vdso_find(uint64_t vdso, const char *name);

#endif
