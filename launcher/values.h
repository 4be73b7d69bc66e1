/* The values that options take, as text: durations, signals, numbers.
 *
 * Each parser takes the whole string or refuses it; on refusal the result is untouched. */
#ifndef PYE_VALUES_H
#define PYE_VALUES_H

#include <stdbool.h>
#include <stdint.h>

enum { PYE_SIGNALS = 65 }; /* Linux numbers signals from 1 to 64 */

/* What becomes of an arriving signal: to[n] is n where nothing is mapped, 0 where it is dropped. */
struct pye_signal_map {
    uint8_t to[PYE_SIGNALS];
};

/* "500ms", "8s", "2m", "0"; at most a day. */
bool pye_parse_duration(const char *text, int64_t *milliseconds);

/* Digits only, within low..high. */
bool pye_parse_number(const char *text, long low, long high, long *number);

/* A count of CPUs as python 3.13 reads it: a number from 1 on, or "default", which is 0. */
bool pye_parse_cpu_count(const char *text, int *count);

/* "TERM", "SIGTERM", "15", "RTMIN+2", "RTMAX-1". */
bool pye_parse_signal(const char *text, int *number);

/* The pair of a map that is not valid; why is the end of a sentence that begins with it. */
struct pye_pair {
    const char *text, *why;
    int length;
};

/* "TERM=QUIT,HUP=0": 0 drops the signal. *wrong is set on refusal. */
bool pye_parse_signal_map(const char *text, struct pye_signal_map *map, struct pye_pair *wrong);

void pye_signal_map_clear(struct pye_signal_map *map);

#endif
