/* Where the interpreter's objects lie, and how few page faults bring them there. */
#ifndef PYE_PAGES_H
#define PYE_PAGES_H

/* Before Python makes its first object. */
void pye_pages_prepare(void);

#endif
