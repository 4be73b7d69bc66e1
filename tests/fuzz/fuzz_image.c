/* launcher/image: the header and the tables of a snapshot, with right checksums, so that what is behind them is reached.
 * What a reader takes must be safe to map. */
#include "tests/fuzz/fuzz.h"

#include "launcher/image.h"

#include <string.h>

static void check_words(const struct pye_image *image)
{
    const char *at = NULL, *end = image->words + image->header.words_bytes;
    struct pye_word word;
    while (pye_image_next_word(image, &at, &word)) {
        MUST(word.kind != '\0' && at <= end);
        MUST(word.name < word.value && word.value < word.place && word.place < at);
    }
    MUST(at == end || image->header.words_bytes == 0);
}

static void check_memory(const struct pye_image *image)
{
    const struct pye_image_header *header = &image->header;
    const struct pye_image_run *run = image->runs;
    uint64_t low = 0;
    for (uint32_t i = 0; i < header->areas; i++) {
        const struct pye_image_area *area = &image->areas[i];
        MUST(area->start >= low && area->end > area->start && area->start % PYE_IMAGE_PAGE == 0);
        MUST((area->start >= header->program_start && area->end <= header->program_end)
             || (area->start >= header->arena_start && area->end <= header->arena_end));
        low = area->start;
        for (uint32_t left = area->runs; left > 0; left--, run++) {
            MUST(run < image->runs + header->runs);
            MUST(run->start >= low && run->end > run->start && run->end <= area->end);
            uint64_t first = area->kind == PYE_AREA_ARCHIVE ? 0 : header->data_offset;
            uint64_t last = area->kind == PYE_AREA_ARCHIVE ? image->base : header->file_bytes;
            MUST(run->offset >= first && run->offset + (run->end - run->start) <= last);
            low = run->end;
        }
        low = area->end;
    }
}

static void check_touched(const struct pye_image *image)
{
    const struct pye_image_header *header = &image->header;
    for (uint32_t i = 0; i < header->touched; i++) {
        const struct pye_image_range *range = &image->touched[i];
        MUST(range->start < range->end && (i == 0 || range[-1].end <= range->start));
        MUST((range->start >= header->program_start && range->end <= header->program_end)
             || (range->start >= header->arena_start && range->end <= header->arena_end));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pye_image image = {.base = (uint64_t)16 * PYE_IMAGE_PAGE};
    if (size < sizeof image.header)
        return 0;
    memcpy(&image.header, data, sizeof image.header);
    size_t bytes = pye_image_tables_bytes(&image.header);
    uint64_t *tables = calloc(1, size);
    MUST(tables != NULL);
    memcpy(tables, data + sizeof image.header, size - sizeof image.header);
    const char *wrong = pye_image_check_header(&image.header, size);
    memcpy(image.header.magic, PYE_IMAGE_MAGIC, sizeof image.header.magic);
    image.header.version = PYE_IMAGE_VERSION;
    image.header.header_bytes = sizeof image.header;
    if (wrong != NULL && bytes <= size - sizeof image.header)
        pye_image_seal(&image.header, tables);
    wrong = pye_image_check_header(&image.header, image.header.file_bytes);
    if (wrong == NULL && bytes <= size - sizeof image.header
        && pye_image_check_tables(&image, tables) == NULL) {
        check_memory(&image);
        check_touched(&image);
        check_words(&image);
    }
    free(tables);
    return 0;
}
