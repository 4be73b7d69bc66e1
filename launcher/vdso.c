#include "launcher/vdso.h"

#include "launcher/image.h"

#if PYE_SNAPSHOTS

#include <link.h>
#include <string.h>

struct tables {
    const ElfW(Sym) *symbols;
    const char *names;
};

static const void *at(uint64_t address)
{
    return (const void *)address; /* NOLINT(performance-no-int-to-ptr): the kernel's numbers */
}

static const ElfW(Phdr) *find_segment(uint64_t vdso, uint32_t type)
{
    const ElfW(Ehdr) *header = at(vdso);
    const ElfW(Phdr) *segment = at(vdso + header->e_phoff);
    for (size_t i = 0; i < header->e_phnum; i++, segment++) {
        if (segment->p_type == type)
            return segment;
    }
    return NULL;
}

/* Its segments lie as in the file, from the first on. */
static struct tables find_tables(uint64_t vdso, const ElfW(Phdr) *load, const ElfW(Phdr) *dynamic)
{
    struct tables tables = {.symbols = NULL};
    uint64_t base = vdso - load->p_vaddr + load->p_offset;
    for (const ElfW(Dyn) *entry = at(vdso + dynamic->p_offset); entry->d_tag != DT_NULL; entry++) {
        if (entry->d_tag == DT_SYMTAB)
            tables.symbols = at(base + entry->d_un.d_ptr);
        if (entry->d_tag == DT_STRTAB)
            tables.names = at(base + entry->d_un.d_ptr);
    }
    return tables;
}

uint64_t pye_vdso_find(uint64_t vdso, const char *name)
{
    if (vdso == 0)
        return 0;
    const ElfW(Phdr) *load = find_segment(vdso, PT_LOAD), *dynamic = find_segment(vdso, PT_DYNAMIC);
    if (load == NULL || dynamic == NULL)
        return 0;
    struct tables tables = find_tables(vdso, load, dynamic);
    /* The names follow the symbols: neither kind of hash table, of which a kernel may lack one, is needed for this. */
    for (const ElfW(Sym) *symbol = tables.symbols; symbol != NULL && (const char *)(symbol + 1) <= tables.names; symbol++) {
        if (symbol->st_shndx != SHN_UNDEF && strcmp(tables.names + symbol->st_name, name) == 0)
            return vdso - load->p_vaddr + load->p_offset + symbol->st_value;
    }
    return 0;
}

#endif
