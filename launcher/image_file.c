#include "launcher/image.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *read_tables(struct pye_image *image, int file)
{
    size_t bytes = pye_image_tables_bytes(&image->header);
    void *tables = malloc(bytes);
    const char *wrong = "its tables cannot be read";
    if (tables != NULL
        && pread(file, tables, bytes, (off_t)(image->base + sizeof image->header)) == (ssize_t)bytes)
        wrong = pye_image_check_tables(image, tables);
    if (wrong != NULL)
        free(tables);
    return wrong;
}

const char *pye_image_read(struct pye_image *image, int file, uint64_t base, uint64_t bytes)
{
    struct pye_image_header *header = &image->header;
    if (pread(file, header, sizeof *header, (off_t)base) != (ssize_t)sizeof *header)
        return "it is no snapshot";
    image->base = base;
    const char *wrong = pye_image_check_header(header, bytes);
    return wrong != NULL ? wrong : read_tables(image, file);
}

/* --- words --- */

bool pye_image_next_word(const struct pye_image *image, const char **at, struct pye_word *word)
{
    const char *text = *at == NULL ? image->words : *at;
    if (text == image->words + image->header.words_bytes)
        return false;
    word->kind = text[0];
    word->name = text + 2;
    word->value = word->name + strlen(word->name) + 1;
    word->place = word->value + strlen(word->value) + 1;
    *at = word->place + strlen(word->place) + 1;
    return true;
}
