#include "embed/bundle/tree.h"

#include "embed/bundle/bundle.h"
#include "launcher/log.h"

#include <string.h>

/* Copies what is behind the root without "", "." and ".."; false where ".." leads out of it: then *path is what is
 * behind that "..". */
static bool normalize(const char **path, struct pye_node *node)
{
    const char *at = *path;
    node->length = 0;
    while (*at != '\0') {
        at += strspn(at, "/");
        size_t part = strcspn(at, "/");
        if (part == 2 && memcmp(at, "..", 2) == 0) {
            if (node->length == 0) {
                *path = at + part;
                return false;
            }
            char *slash = memrchr(node->name, '/', node->length);
            node->length = slash == NULL ? 0 : (size_t)(slash - node->name);
        } else if (part > 0 && !(part == 1 && *at == '.')) {
            if (node->length > 0)
                node->name[node->length++] = '/';
            memcpy(node->name + node->length, at, part);
            node->length += part;
        }
        at += part;
    }
    node->name[node->length] = '\0';
    return true;
}

static enum pye_node_kind beside(const struct pye_bundle *bundle, const char *rest, struct pye_node *node)
{
    size_t parent = (size_t)((const char *)memrchr(bundle->root, '/', bundle->root_length) - bundle->root);
    size_t length = strlen(rest);
    memcpy(node->name, bundle->root, parent);
    memcpy(node->name + parent, rest, length + 1);
    node->length = parent + length;
    if (node->length == 0)
        memcpy(node->name, "/", 2);
    return node->kind = PYE_BESIDE;
}

enum pye_node_kind pye_tree_find(const char *path, struct pye_node *node)
{
    const struct pye_bundle *bundle = pye_bundle();
    if (bundle == NULL || path == NULL || strncmp(path, bundle->root, bundle->root_length) != 0)
        return PYE_OUTSIDE;
    const char *rest = path + bundle->root_length;
    if (*rest != '/' && *rest != '\0')
        return PYE_OUTSIDE;
    node->entry = NULL;
    if (strlen(path) >= PATH_MAX)
        return node->kind = PYE_MISSING;
    bool is_top = *rest == '\0';
    if (!normalize(&rest, node))
        return beside(bundle, rest, node);
    node->entry = node->length == 0 ? NULL : pye_archive_find(&bundle->archive, node->name, node->length);
    if (node->entry != NULL)
        return node->kind = PYE_FILE;
    node->entry = pye_archive_directory(&bundle->archive, node->name, node->length);
    node->kind = is_top && !bundle->has_files ? PYE_TOP : node->entry == NULL ? PYE_MISSING : PYE_DIRECTORY;
    return node->kind;
}

enum pye_node_kind pye_tree_serve(const char *path, struct pye_node *node)
{
    const struct pye_bundle *bundle = pye_bundle();
    return bundle == NULL || bundle->has_files ? PYE_OUTSIDE : pye_tree_find(path, node);
}

void pye_tree_stat(const struct pye_node *node, struct stat *status)
{
    const struct pye_bundle *bundle = pye_bundle();
    bool is_directory = node->kind != PYE_FILE;
    size_t place = node->entry == NULL ? 0 : (size_t)(node->entry - bundle->archive.entries) + 1;

    memset(status, 0, sizeof *status);
    /* A directory goes by its first file and its own depth, which no other has together. */
    status->st_ino = is_directory ? (ino_t)(place * (PYE_ARCHIVE_NAME_BYTES + 1) + node->length) << 20 : place;
    status->st_mode = is_directory ? S_IFDIR | 0555 : S_IFREG | 0444;
    status->st_nlink = 1;
    status->st_size = is_directory || node->entry == NULL ? 0 : (off_t)node->entry->size;
    status->st_blksize = 4096;
    status->st_blocks = (status->st_size + 511) / 512;
    status->st_mtim.tv_sec = status->st_atim.tv_sec = status->st_ctim.tv_sec = bundle->time;
}

const void *pye_tree_read(const struct pye_entry *entry)
{
    const void *data = pye_archive_read(&pye_bundle()->archive, entry);
    if (data == NULL)
        pye_log("this bundle is damaged: %.*s is not what it was. Build or copy it again", (int)entry->name_length,
                entry->name);
    return data;
}
