/* libm, which Python alone uses, and many programs never: it is loaded when it is first wanted. */
#ifndef PYE_LIBM_H
#define PYE_LIBM_H

/* Loads it, for all libraries to see, unless it is there. */
void pye_libm_load(void);

#endif
