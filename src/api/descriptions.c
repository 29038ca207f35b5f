#include "api/descriptions.h"
#include <string.h>
#include <zlib.h>

struct record {
    const char *name;
    const unsigned char *numbers; /* a count, then as many: see descriptions.h */
};

struct descriptions {
    const char **texts;
    struct record *records;
};

static unsigned number_at(const unsigned char *numbers, size_t i) { return numbers[2 * i] | (unsigned)numbers[2 * i + 1] << 8; }

static const char *unpack(struct arena *a, const struct description_block *b) {
    unsigned char *to = arena_alloc(a, b->len);
    uLongf len = b->len;
    CHECK(uncompress(to, &len, b->zipped, b->zipped_len) == Z_OK && len == b->len);
    return (const char *)to;
}

struct descriptions *descriptions_open(struct arena *a) {
    const struct description_block *b = &api_descriptions;
    struct descriptions *d = ARENA_NEW(a, struct descriptions);
    const char *at = unpack(a, b);
    d->texts = arena_calloc(a, b->texts_len, sizeof(*d->texts));
    d->records = arena_calloc(a, b->types_len, sizeof(*d->records));
    for (size_t i = 0; i < b->texts_len; i++, at += strlen(at) + 1) d->texts[i] = at;
    for (size_t i = 0; i < b->types_len; i++) {
        d->records[i] = (struct record){at, (const unsigned char *)at + strlen(at) + 1};
        at = (const char *)d->records[i].numbers + 2 + 2 * number_at(d->records[i].numbers, 0);
    }
    return d;
}

/* Text `at` of the type's record. */
static const char *text(const struct descriptions *d, const struct type_desc *t, size_t at) {
    size_t low = 0, high = api_descriptions.types_len;
    while (low < high) {
        size_t middle = (low + high) / 2;
        const struct record *r = &d->records[middle];
        int order = strcmp(t->name, r->name);
        if (order == 0) return at < number_at(r->numbers, 0) ? d->texts[number_at(r->numbers, 1 + at)] : "";
        if (order < 0) high = middle;
        else low = middle + 1;
    }
    return "";
}

const char *description_of_type(const struct descriptions *d, const struct type_desc *t) { return text(d, t, 0); }

const char *description_of_field(const struct descriptions *d, const struct type_desc *t, const struct field_desc *f) {
    for (size_t i = 0; i < t->fields_len; i++)
        if (&t->fields[t->by_name[i]] == f) return text(d, t, 1 + i);
    return "";
}
