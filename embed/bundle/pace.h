/* How often the garbage collector looks while a module is imported.
 *
 * Objects are made then that stay: looking among them for garbage after every 700 finds none. So collections are rarer
 * until the outermost import is done, unless the program sets its own pace meanwhile. */
#ifndef PYE_PACE_H
#define PYE_PACE_H

/* 0, or -1 with an exception; to be followed by the other in both cases. */
int pye_pace_slow_down(void);

/* With an exception set or not, and leaves it so. */
void pye_pace_speed_up(void);

#endif
