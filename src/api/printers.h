/* Server-side tables and metadata-only forms of objects. Upstream: pkg/printers and apiserver's transforming response. */
#ifndef CKUBE_API_PRINTERS_H
#define CKUBE_API_PRINTERS_H
#include "api/object.h"

/* A Table of one object or of a list. include_object: "None", "Metadata" (also NULL) or "Object". now_s is what ages count from. */
struct metav1_Table *printers_table(struct arena *a, const struct type_desc *type, const void *obj, const char *include_object, int64_t now_s);
/* The same where whole objects in the rows are to be of another version of the kind. */
struct metav1_Table *printers_table_as(struct arena *a, const struct type_desc *type, const void *obj, const char *include_object, int64_t now_s, const struct type_desc *row_type);
/* PartialObjectMetadata of an object, or ...List of a list; *ret_type is its type. */
void *printers_partial_metadata(struct arena *a, const struct type_desc *type, const void *obj, const struct type_desc **ret_type);

/* What a kind's printer has at hand: cells are appended left to right. */
struct row {
    struct arena *arena;
    struct raw_json_list cells;
    int64_t now_s;
};
void cell_str(struct row *row, const char *s);
void cell_int(struct row *row, int64_t v);
void cell_printf(struct row *row, const char *format, ...) PRINTF_LIKE(2, 3);
void cell_age(struct row *row, const struct api_time *since);

struct column { const char *name, *type, *format, *description; int priority; };
struct printer {
    const struct type_desc *type;
    const struct column *columns;
    const size_t *columns_len;
    void (*print)(struct row *row, const void *obj);
};
const struct printer *printer_find(const struct type_desc *type); /* NULL: name and age */
#endif
