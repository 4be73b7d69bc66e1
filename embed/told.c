#include "embed/told.h"

#include "launcher/descendants.h"

#include <stdlib.h>
#include <unistd.h>

static struct {
    pid_t *children;
    size_t count;
    bool group; /* everybody in it, ourselves included */
} told;

static void forget(void)
{
    free(told.children);
    told.children = NULL;
    told.count = 0;
    told.group = false;
}

const pid_t *pye_told_children(size_t *count)
{
    forget();
    told.children = pye_children(&told.count);
    *count = told.count;
    return told.children;
}

void pye_told_group(void)
{
    forget();
    told.group = true;
}

static bool was_told(pid_t child)
{
    for (size_t i = 0; i < told.count; i++) {
        if (told.children[i] == child)
            return true;
    }
    return told.group && getpgid(child) == getpgrp();
}

bool pye_told_lives(pid_t child)
{
    return was_told(child) && pye_is_child(child);
}
