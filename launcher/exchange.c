#include "launcher/exchange.h"

#include "launcher/bare.h"

#if PYE_SNAPSHOTS

#include <errno.h>
#include <linux/unistd.h>
#include <stdbool.h>

static struct pye_step map_step(const struct pye_image_area *area, int flags)
{
    return (struct pye_step){.kind = PYE_STEP_MAP, .protection = (int)area->protection, .fd = -1,
                             .flags = MAP_PRIVATE | MAP_ANONYMOUS | flags, .start = area->start,
                             .bytes = area->end - area->start};
}

static struct pye_step run_step(const struct pye_exchange *exchange, const struct pye_image_area *area,
                                const struct pye_image_run *run)
{
    struct pye_step step = {.kind = PYE_STEP_READ, .protection = (int)area->protection, .fd = exchange->file,
                            .flags = MAP_PRIVATE | MAP_FIXED, .start = run->start, .bytes = run->end - run->start,
                            .offset = exchange->image.base + run->offset};
    if (area->kind == PYE_AREA_PRIVATE || area->kind == PYE_AREA_ARCHIVE)
        step.kind = PYE_STEP_MAP;
    if (area->kind == PYE_AREA_ARCHIVE) {
        step.fd = exchange->archive;
        step.offset = run->offset;
    }
    return step;
}

static void advise(const struct pye_image_area *area)
{
    if (area->advice & PYE_ADVICE_WIPE_ON_FORK)
        pye_call(__NR_madvise, area->start, area->end - area->start, MADV_WIPEONFORK, 0, 0, 0);
    if (area->advice & PYE_ADVICE_DONT_DUMP)
        pye_call(__NR_madvise, area->start, area->end - area->start, MADV_DONTDUMP, 0, 0, 0);
}

/* Into memory that is there. Where that fails it is there no more. */
static int map_runs(const struct pye_exchange *exchange, const struct pye_image_area *area,
                    const struct pye_image_run *runs)
{
    int error = 0;
    for (uint32_t i = 0; error == 0 && i < area->runs; i++) {
        struct pye_step step = run_step(exchange, area, &runs[i]);
        error = pye_step(&step);
    }
    if (error != 0)
        pye_call(__NR_munmap, area->start, area->end - area->start, 0, 0, 0, 0);
    return error;
}

/* 0 or an error number. */
static int map_area(const struct pye_exchange *exchange, const struct pye_image_area *area,
                    const struct pye_image_run *runs)
{
    struct pye_step step = map_step(area, MAP_FIXED_NOREPLACE);
    bool whole = area->runs == 1 && runs->start == area->start && runs->end == area->end;
    int error = 0;
    if ((area->kind == PYE_AREA_PRIVATE || area->kind == PYE_AREA_ARCHIVE) && whole) {
        step = run_step(exchange, area, runs);
        step.flags = MAP_PRIVATE | MAP_FIXED_NOREPLACE;
        error = pye_step(&step);
    } else {
        if (area->kind == PYE_AREA_SHARED)
            step.flags = MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
        error = pye_step(&step);
        if (error == 0)
            error = map_runs(exchange, area, runs);
    }
    if (error == 0 && area->advice != 0)
        advise(area);
    return error;
}

static bool in_program(const struct pye_exchange *exchange, const struct pye_image_area *area)
{
    return area->start < exchange->image.header.program_end;
}

/* Gives back the first areas: nothing else is in there. */
static void forget(const struct pye_exchange *exchange, uint32_t areas)
{
    for (uint32_t i = 0; i < areas; i++) {
        const struct pye_image_area *area = &exchange->image.areas[i];
        if (!in_program(exchange, area))
            pye_call(__NR_munmap, area->start, area->end - area->start, 0, 0, 0, 0);
    }
}

void pye_exchange_forget(const struct pye_exchange *exchange)
{
    forget(exchange, exchange->image.header.areas);
}

int pye_exchange_arena(const struct pye_exchange *exchange)
{
    const struct pye_image *image = &exchange->image;
    const struct pye_image_run *runs = image->runs;
    for (uint32_t i = 0; i < image->header.areas; runs += image->areas[i++].runs) {
        const struct pye_image_area *area = &image->areas[i];
        int error = in_program(exchange, area) ? 0 : map_area(exchange, area, runs);
        if (error == 0)
            continue;
        forget(exchange, i);
        return error;
    }
    return 0;
}

size_t pye_exchange_most(const struct pye_exchange *exchange)
{
    const struct pye_image_header *header = &exchange->image.header;
    return (size_t)header->runs + header->areas + header->touched;
}

/* pyentry's own memory, which this code stands on the shoulders of: last. */
static size_t plan_program(const struct pye_exchange *exchange, struct pye_step *steps)
{
    const struct pye_image *image = &exchange->image;
    const struct pye_image_run *runs = image->runs;
    size_t count = 0;
    for (uint32_t i = 0; i < image->header.areas; runs += image->areas[i++].runs) {
        const struct pye_image_area *area = &image->areas[i];
        if (!in_program(exchange, area))
            continue;
        steps[count++] = map_step(area, MAP_FIXED);
        for (uint32_t run = 0; run < area->runs; run++)
            steps[count++] = run_step(exchange, area, &runs[run]);
    }
    return count;
}

/* What the first start wrote to. It is there by the time that it is needed; where the kernel cannot do that, or has no
 * memory left, the pages come one by one. */
static size_t plan_touched(const struct pye_image *image, struct pye_step *steps)
{
    for (uint32_t i = 0; i < image->header.touched; i++) {
        const struct pye_image_range *range = &image->touched[i];
        steps[i] = (struct pye_step){.kind = PYE_STEP_BRING, .start = range->start, .bytes = range->end - range->start};
    }
    return image->header.touched;
}

size_t pye_exchange_plan(const struct pye_exchange *exchange, struct pye_step *steps)
{
    size_t count = plan_program(exchange, steps);
    return count + plan_touched(&exchange->image, steps + count);
}

#endif
