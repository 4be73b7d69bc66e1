#include "launcher/notes.h"

#include "launcher/bare.h"

#if PYE_SNAPSHOTS

static bool is_gnu(const char *name)
{
    return name[0] == 'G' && name[1] == 'N' && name[2] == 'U' && name[3] == '\0';
}

/* Numbers in a note are followed by the name and the description, each padded to four bytes. */
bool pye_build_id_find(const char *notes, size_t bytes, uint8_t id[PYE_BUILD_ID_BYTES])
{
    while (bytes > sizeof(ElfW(Nhdr))) {
        const ElfW(Nhdr) *note = (const void *)notes;
        size_t name = ((size_t)note->n_namesz + 3) & ~(size_t)3, text = ((size_t)note->n_descsz + 3) & ~(size_t)3;
        size_t whole = sizeof *note + name + text;
        if (whole > bytes)
            return false;
        const char *description = notes + sizeof *note + name;
        if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == sizeof "GNU"
            && is_gnu(notes + sizeof *note) && note->n_descsz <= PYE_BUILD_ID_BYTES) {
            for (size_t i = 0; i < note->n_descsz; i++)
                id[i] = (uint8_t)description[i];
            return true;
        }
        notes += whole;
        bytes -= whole;
    }
    return false;
}

bool pye_build_id_of(const ElfW(Phdr) *headers, size_t count, uint64_t bias, uint8_t id[PYE_BUILD_ID_BYTES])
{
    for (const ElfW(Phdr) *segment = headers; segment < headers + count; segment++) {
        uint64_t notes = bias + segment->p_vaddr; /* NOLINTNEXTLINE(performance-no-int-to-ptr): the loader's number */
        if (segment->p_type == PT_NOTE && pye_build_id_find((const char *)notes, segment->p_memsz, id))
            return true;
    }
    return false;
}

#endif
