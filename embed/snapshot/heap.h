/* Python's heap as processes that start from a snapshot find it. */
#ifndef PYE_SNAPSHOT_HEAP_H
#define PYE_SNAPSHOT_HEAP_H

/* What is allocated from now on lies side by side. Otherwise it fills the gaps between all that there is, and each gap is on
 * a page that is shared until it is written to. */
void pye_heap_fill(void);

#endif
