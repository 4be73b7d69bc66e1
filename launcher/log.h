/* pyentry's own lines: stderr only, one write(2) a line, beginning "pyentry: ".
 *
 * Not async-signal-safe (it formats). errno is left as it was. */
#ifndef PYE_LOG_H
#define PYE_LOG_H

void pye_log(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
