/* libm, which Python alone uses: an init and a health check have none. */
#ifndef PYE_LIBM_H
#define PYE_LIBM_H

/* Loads it, for all libraries to see, unless it is there. */
void pye_libm_load(void);

#endif
