/* The bounds of a schema's places. Upstream: apiserver pkg/cel/common/schemas.go. */
#include <string.h>
#include "api/cel/cost.h"
#include "api/cel/internal.h"
#include "base/str.h"

enum {
    STRING_BYTES_MIN = 2, BOOL_BYTES_MIN = 4, NUMBER_BYTES_MIN = 1, DURATION_BYTES_MIN = 3, DATE_BYTES = 12, DATETIME_BYTES_MIN = 21, DURATION_BYTES_MAX = 32, DATETIME_BYTES_MAX = 32,
    CHARACTER_BYTES_MAX = 4
};

static const struct cel_bounds key = {.min_bytes = STRING_BYTES_MIN}, string = {.max = CEL_REQUEST_BYTES_MAX - 2, .min_bytes = STRING_BYTES_MIN};

static uint64_t not_negative(int64_t n) { return n < 0 ? 0 : (uint64_t)n; }

static const struct cel_bounds *make(struct arena *a, struct cel_bounds b) { return arena_memdup(a, &b, sizeof(b)); }

static uint64_t longest_value(const struct structural *s) {
    size_t max = 0;
    for (size_t i = 0; i < s->enums.len; i++)
        if (yyjson_is_str(s->enums.items[i])) max = MAX(max, yyjson_get_len(s->enums.items[i]));
    return max;
}

static struct cel_bounds of_string(const struct structural *s) {
    const struct apiextensionsv1_JSONSchemaProps *p = s->props;
    const char *format = str_or(p->format, "");
    bool bytes = strcmp(format, "byte") == 0;
    if (strcmp(format, "duration") == 0) return (struct cel_bounds){.max = DURATION_BYTES_MAX, .min_bytes = DURATION_BYTES_MIN};
    if (strcmp(format, "date") == 0) return (struct cel_bounds){.max = DATE_BYTES, .min_bytes = DATE_BYTES};
    if (strcmp(format, "date-time") == 0) return (struct cel_bounds){.max = DATETIME_BYTES_MAX, .min_bytes = DATETIME_BYTES_MIN};
    struct cel_bounds b = string;
    if (p->maxLength.has) b.max = not_negative(p->maxLength.value) * (bytes ? 1 : CHARACTER_BYTES_MAX);
    else if (!bytes && s->enums.len) b.max = longest_value(s);
    return b;
}

static const struct cel_bounds *of_list(struct arena *a, const struct structural *s) {
    const struct cel_bounds *elem = s->items ? cel_bounds_of_schema(a, s->items, s->items->embedded) : NULL;
    if (!elem) return NULL;
    uint64_t max = s->props->maxItems.has ? not_negative(s->props->maxItems.value) : (uint64_t)((CEL_REQUEST_BYTES_MAX - 2) / (elem->min_bytes + 1));
    return make(a, (struct cel_bounds){.max = max, .min_bytes = 2, .elem = elem});
}

static const struct cel_bounds *of_map(struct arena *a, const struct structural *s) {
    const struct cel_bounds *elem = cel_bounds_of_schema(a, s->additional, s->additional->embedded);
    if (!elem) return NULL;
    uint64_t max = s->props->maxProperties.has ? not_negative(s->props->maxProperties.value) : (uint64_t)((CEL_REQUEST_BYTES_MAX - 2) / (elem->min_bytes + 6));
    return make(a, (struct cel_bounds){.max = max, .min_bytes = 2, .elem = elem, .key = &key});
}

struct fields { struct cel_bounds_field *items; size_t len; };

static void set_field(struct arena *a, struct fields *to, const char *name, const struct cel_bounds *bounds) {
    for (size_t i = 0; i < to->len; i++)
        if (strcmp(to->items[i].name, name) == 0) {
            to->items[i].bounds = bounds;
            return;
        }
    *LIST_PUSH(a, to) = (struct cel_bounds_field){name, bounds};
}

static const struct cel_bounds *of_object(struct arena *a, const struct structural *s, bool resource) {
    static const struct cel_bounds_field names[] = {{"name", &string}, {"generateName", &string}, {NULL, NULL}};
    static const struct cel_bounds metadata = {.min_bytes = 2, .fields = names};
    struct fields fields = {0};
    struct cel_bounds b = {.min_bytes = 2};
    for (size_t i = 0; i < s->properties.len; i++) {
        const struct structural *p = s->properties.items[i];
        const char *name = s->properties.names[i];
        bool own = resource && (strcmp(name, "kind") == 0 || strcmp(name, "apiVersion") == 0 || strcmp(name, "metadata") == 0);
        const struct cel_bounds *field = own ? strcmp(name, "metadata") == 0 ? &metadata : &string : cel_bounds_of_schema(a, p, p->embedded);
        if (!field) continue;
        if (cel_escape_name(a, name)) set_field(a, &fields, name, field);
        if (string_list_has(&s->props->required, name) && (own || !p->default_)) b.min_bytes += (int64_t)strlen(name) + field->min_bytes + 4;
    }
    if (resource) {
        set_field(a, &fields, "kind", &string);
        set_field(a, &fields, "apiVersion", &string);
        set_field(a, &fields, "metadata", &metadata);
    }
    *LIST_PUSH(a, &fields) = (struct cel_bounds_field){0};
    b.fields = fields.items;
    return make(a, b);
}

const struct cel_bounds *cel_bounds_of_schema(struct arena *a, const struct structural *s, bool resource) {
    const char *type = s ? str_or(s->props->type, "") : "";
    if (!s) return NULL;
    if (s->int_or_string) return make(a, (struct cel_bounds){.max = s->props->maxLength.has ? not_negative(s->props->maxLength.value) * CHARACTER_BYTES_MAX : string.max, .min_bytes = 1});
    if (strcmp(type, "array") == 0) return of_list(a, s);
    if (strcmp(type, "object") == 0) return s->additional ? of_map(a, s) : of_object(a, s, resource);
    if (strcmp(type, "string") == 0) return make(a, of_string(s));
    if (strcmp(type, "boolean") == 0) return make(a, (struct cel_bounds){.min_bytes = BOOL_BYTES_MIN});
    return strcmp(type, "number") == 0 || strcmp(type, "integer") == 0 ? make(a, (struct cel_bounds){.min_bytes = NUMBER_BYTES_MIN}) : NULL;
}

uint64_t cel_max_cardinality(const struct cel_bounds *b) { return (uint64_t)(CEL_REQUEST_BYTES_MAX / (b->min_bytes + 1)); }
