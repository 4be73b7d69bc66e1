#include "launcher/clock.h"

#include <time.h>

enum { NS_PER_MS = 1000000 };

int64_t pye_milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / NS_PER_MS;
}
