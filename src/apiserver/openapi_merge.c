#include "apiserver/openapi_merge.h"
#include <string.h>
#include "api/schema.h"
#include "base/map.h"
#include "base/str.h"

static const char gvks[] = "x-kubernetes-group-version-kind";

/* ---- merging v2 ---- */

/* What documents keep by name and refer to by "#/SECTION/NAME". */
static const char *const sections[] = {"definitions", "parameters"};
struct merging { struct arena *arena; yyjson_mut_doc *ours; yyjson_val *theirs; struct map *names[ARRAY_LEN(sections)]; };

/* The name behind a reference into a section; NULL: no reference into it. */
static const char *referred(const char *ref, const char *section) {
    size_t len = strlen(section);
    return str_has_prefix(ref, "#/") && strncmp(ref + 2, section, len) == 0 && ref[2 + len] == '/' ? ref + len + 3 : NULL;
}

static yyjson_mut_val *section_of(struct merging *m, const char *name) {
    yyjson_mut_val *root = yyjson_mut_doc_get_root(m->ours), *s = yyjson_mut_obj_get(root, name);
    if (s) return s;
    s = yyjson_mut_obj(m->ours);
    yyjson_mut_obj_add(root, yyjson_mut_str(m->ours, name), s);
    return s;
}

static void collect(struct merging *m, yyjson_val *v);

static void collect_ref(struct merging *m, const char *ref) {
    for (size_t i = 0; i < ARRAY_LEN(sections); i++) {
        const char *name = referred(ref, sections[i]);
        yyjson_val *there = name ? yyjson_obj_get(yyjson_obj_get(m->theirs, sections[i]), name) : NULL;
        if (!there || map_has(m->names[i], name)) continue;
        map_put(m->names[i], name, arena_strdup(m->arena, name));
        collect(m, there);
    }
}

/* All that a value refers to, each by its own name as yet. */
static void collect(struct merging *m, yyjson_val *v) {
    size_t i, n;
    yyjson_val *key, *item;
    yyjson_arr_foreach(v, i, n, item) collect(m, item);
    yyjson_obj_foreach(v, i, n, key, item) {
        if (yyjson_is_str(item) && strcmp(yyjson_get_str(key), "$ref") == 0) collect_ref(m, yyjson_get_str(item));
        else collect(m, item);
    }
}

static yyjson_mut_val *without_kinds(struct merging *m, yyjson_mut_val *v) {
    yyjson_mut_val *copy = yyjson_mut_val_mut_copy(m->ours, v);
    yyjson_mut_obj_remove_key(copy, gvks);
    return copy;
}

static bool same_but_kinds(struct merging *m, yyjson_mut_val *x, yyjson_mut_val *y) { return yyjson_mut_equals(without_kinds(m, x), without_kinds(m, y)); }

static void add_kinds(struct merging *m, yyjson_mut_val *to, yyjson_val *from) {
    yyjson_mut_val *have = yyjson_mut_obj_get(to, gvks), *kind, *copy;
    yyjson_val *more = yyjson_obj_get(from, gvks), *item;
    size_t i, n, j, k;
    if (!more) return;
    if (!have) {
        have = yyjson_mut_arr(m->ours);
        yyjson_mut_obj_add(to, yyjson_mut_str(m->ours, gvks), have);
    }
    yyjson_arr_foreach(more, i, n, item) {
        bool there = false;
        copy = yyjson_val_mut_copy(m->ours, item);
        yyjson_mut_arr_foreach(have, j, k, kind) there |= yyjson_mut_equals(kind, copy);
        if (!there) yyjson_mut_arr_append(have, copy);
    }
}

/* A name of ours that it may have: free, or that of the same thing. */
static const char *name_for(struct merging *m, yyjson_mut_val *section, const char *name, yyjson_val *value) {
    yyjson_mut_val *copy = yyjson_val_mut_copy(m->ours, value), *there;
    const char *candidate = name;
    for (int i = 2; (there = yyjson_mut_obj_get(section, candidate)) && !same_but_kinds(m, there, copy); i++) candidate = arena_printf(m->arena, "%s_v%d", name, i);
    return candidate;
}

static void rename_refs(struct merging *m, yyjson_mut_val *v) {
    size_t i, n;
    yyjson_mut_val *key, *item;
    yyjson_mut_arr_foreach(v, i, n, item) rename_refs(m, item);
    yyjson_mut_obj_foreach(v, i, n, key, item) {
        if (!yyjson_mut_is_str(item) || strcmp(yyjson_mut_get_str(key), "$ref") != 0) {
            rename_refs(m, item);
            continue;
        }
        for (size_t s = 0; s < ARRAY_LEN(sections); s++) {
            const char *name = referred(yyjson_mut_get_str(item), sections[s]), *now = name ? map_get(m->names[s], name) : NULL;
            if (now && strcmp(now, name) != 0) yyjson_mut_set_str(item, arena_printf(m->arena, "#/%s/%s", sections[s], now));
        }
    }
}

static void add_section(struct merging *m, size_t s) {
    yyjson_mut_val *to = section_of(m, sections[s]);
    yyjson_val *from = yyjson_obj_get(m->theirs, sections[s]);
    const char *name;
    void *now;
    for (size_t i = 0; map_next(m->names[s], &i, &name, &now);) {
        yyjson_val *value = yyjson_obj_get(from, name);
        yyjson_mut_val *there = yyjson_mut_obj_get(to, now);
        if (there) {
            add_kinds(m, there, value);
            continue;
        }
        yyjson_mut_val *copy = yyjson_val_mut_copy(m->ours, value);
        rename_refs(m, copy);
        yyjson_mut_obj_add(to, yyjson_mut_strcpy(m->ours, now), copy);
    }
}

void openapi_v2_merge(struct arena *a, yyjson_mut_doc *ours, yyjson_val *theirs, const char *prefix) {
    struct merging m = {.arena = a, .ours = ours, .theirs = theirs};
    yyjson_val *paths = yyjson_obj_get(theirs, "paths"), *key, *value;
    size_t i, n;
    for (size_t s = 0; s < ARRAY_LEN(sections); s++) m.names[s] = map_new();
    yyjson_mut_val *our_paths = section_of(&m, "paths");
    yyjson_obj_foreach(paths, i, n, key, value)
        if (str_has_prefix(yyjson_get_str(key), prefix) && !yyjson_mut_obj_get(our_paths, yyjson_get_str(key))) collect(&m, value);
    for (size_t s = 0; s < ARRAY_LEN(sections); s++) {
        const char *name;
        void *now;
        for (size_t j = 0; map_next(m.names[s], &j, &name, &now);)
            map_put(m.names[s], name, arena_strdup(a, name_for(&m, section_of(&m, sections[s]), name, yyjson_obj_get(yyjson_obj_get(theirs, sections[s]), name))));
    }
    yyjson_obj_foreach(paths, i, n, key, value) {
        const char *path = yyjson_get_str(key);
        if (!str_has_prefix(path, prefix) || yyjson_mut_obj_get(our_paths, path)) continue;
        yyjson_mut_val *copy = yyjson_val_mut_copy(ours, value);
        rename_refs(&m, copy);
        yyjson_mut_obj_add(our_paths, yyjson_mut_strcpy(ours, path), copy);
    }
    for (size_t s = 0; s < ARRAY_LEN(sections); s++) {
        if (map_len(m.names[s])) add_section(&m, s);
        map_free(m.names[s]);
    }
}

/* ---- v2 as v3 ---- */

struct converting { struct arena *arena; yyjson_mut_doc *doc; };

static void put(struct converting *c, yyjson_mut_val *to, const char *name, yyjson_mut_val *v) {
    if (v) yyjson_mut_obj_add(to, yyjson_mut_str(c->doc, name), v);
}

static void copy_member(struct converting *c, yyjson_mut_val *to, yyjson_val *from, const char *name) {
    yyjson_val *v = yyjson_obj_get(from, name);
    if (v) put(c, to, name, yyjson_val_mut_copy(c->doc, v));
}

/* Vendors' extensions. */
static void copy_extensions(struct converting *c, yyjson_mut_val *to, yyjson_val *from) {
    size_t i, n;
    yyjson_val *key, *value;
    yyjson_obj_foreach(from, i, n, key, value)
        if (str_has_prefix(yyjson_get_str(key), "x-")) yyjson_mut_obj_add(to, yyjson_val_mut_copy(c->doc, key), yyjson_val_mut_copy(c->doc, value));
}

static yyjson_mut_val *moved_ref(struct converting *c, const char *ref) {
    static const struct { const char *from, *to; } places[] = {{"#/definitions/", "#/components/schemas/"}, {"#/parameters/", "#/components/parameters/"}, {"#/responses/", "#/components/responses/"}};
    for (size_t i = 0; i < ARRAY_LEN(places); i++)
        if (str_has_prefix(ref, places[i].from)) return yyjson_mut_strcpy(c->doc, arena_printf(c->arena, "%s%s", places[i].to, ref + strlen(places[i].from)));
    return yyjson_mut_strcpy(c->doc, ref);
}

static yyjson_mut_val *schema_in_v3(struct converting *c, yyjson_val *v);

static yyjson_mut_val *schemas_in_v3(struct converting *c, yyjson_val *v) {
    size_t i, n;
    yyjson_val *key, *item;
    if (yyjson_is_arr(v)) {
        yyjson_mut_val *list = yyjson_mut_arr(c->doc);
        yyjson_arr_foreach(v, i, n, item) yyjson_mut_arr_append(list, schema_in_v3(c, item));
        return list;
    }
    yyjson_mut_val *map = yyjson_mut_obj(c->doc);
    yyjson_obj_foreach(v, i, n, key, item) yyjson_mut_obj_add(map, yyjson_val_mut_copy(c->doc, key), schema_in_v3(c, item));
    return map;
}

/* A reference may have nothing beside it in v3: with siblings it goes into an allOf. */
static yyjson_mut_val *schema_in_v3(struct converting *c, yyjson_val *v) {
    static const char *const one[] = {"items", "additionalProperties", "additionalItems", "not", NULL}, *const many[] = {"properties", "allOf", "anyOf", "oneOf", NULL};
    size_t i, n;
    yyjson_val *key, *value;
    yyjson_mut_val *out = yyjson_mut_obj(c->doc), *ref = NULL;
    if (!yyjson_is_obj(v)) return yyjson_val_mut_copy(c->doc, v);
    yyjson_obj_foreach(v, i, n, key, value) {
        const char *name = yyjson_get_str(key);
        if (strcmp(name, "$ref") == 0 && yyjson_is_str(value)) ref = moved_ref(c, yyjson_get_str(value));
        else if (str_in(name, one)) put(c, out, name, yyjson_is_arr(value) ? schemas_in_v3(c, value) : schema_in_v3(c, value));
        else if (str_in(name, many)) put(c, out, name, schemas_in_v3(c, value));
        else yyjson_mut_obj_add(out, yyjson_val_mut_copy(c->doc, key), yyjson_val_mut_copy(c->doc, value));
    }
    if (!ref) return out;
    if (yyjson_mut_obj_size(out) == 0) {
        put(c, out, "$ref", ref);
        return out;
    }
    yyjson_mut_val *all = yyjson_mut_arr(c->doc), *inner = yyjson_mut_obj(c->doc);
    put(c, inner, "$ref", ref);
    yyjson_mut_arr_append(all, inner);
    put(c, out, "allOf", all);
    return out;
}

/* By media type. */
static yyjson_mut_val *content(struct converting *c, yyjson_val *media, yyjson_val *schema) {
    size_t i, n;
    yyjson_val *type;
    yyjson_mut_val *out = yyjson_mut_obj(c->doc);
    yyjson_arr_foreach(media, i, n, type) {
        yyjson_mut_val *inner = yyjson_mut_obj(c->doc);
        put(c, inner, "schema", schema_in_v3(c, schema));
        yyjson_mut_obj_add(out, yyjson_val_mut_copy(c->doc, type), inner);
    }
    return out;
}

static yyjson_mut_val *parameter_in_v3(struct converting *c, yyjson_val *v) {
    static const char *const kept[] = {"name", "in", "description", "required", "allowEmptyValue"}, *const plain[] = {"type", "format", "uniqueItems"};
    yyjson_mut_val *out = yyjson_mut_obj(c->doc), *schema = NULL;
    yyjson_val *ref = yyjson_obj_get(v, "$ref"), *own = yyjson_obj_get(v, "schema");
    if (yyjson_is_str(ref)) {
        put(c, out, "$ref", moved_ref(c, yyjson_get_str(ref)));
        return out;
    }
    for (size_t i = 0; i < ARRAY_LEN(kept); i++) copy_member(c, out, v, kept[i]);
    if (own) schema = schema_in_v3(c, own);
    else {
        schema = yyjson_mut_obj(c->doc);
        for (size_t i = 0; i < ARRAY_LEN(plain); i++) copy_member(c, schema, v, plain[i]);
    }
    put(c, out, "schema", schema);
    copy_extensions(c, out, v);
    return out;
}

static yyjson_mut_val *response_in_v3(struct converting *c, yyjson_val *v, yyjson_val *produces) {
    yyjson_mut_val *out = yyjson_mut_obj(c->doc);
    yyjson_val *ref = yyjson_obj_get(v, "$ref"), *schema = yyjson_obj_get(v, "schema");
    if (yyjson_is_str(ref)) put(c, out, "$ref", moved_ref(c, yyjson_get_str(ref)));
    copy_member(c, out, v, "description");
    if (schema && produces) put(c, out, "content", content(c, produces, schema));
    copy_extensions(c, out, v);
    return out;
}

static yyjson_mut_val *operation_in_v3(struct converting *c, yyjson_val *v) {
    static const char *const kept[] = {"tags", "summary", "description", "externalDocs", "operationId", "deprecated"};
    size_t i, n;
    yyjson_val *key, *item, *parameters = yyjson_obj_get(v, "parameters");
    yyjson_mut_val *out = yyjson_mut_obj(c->doc), *list = yyjson_mut_arr(c->doc), *responses = yyjson_mut_obj(c->doc);
    for (i = 0; i < ARRAY_LEN(kept); i++) copy_member(c, out, v, kept[i]);
    yyjson_arr_foreach(parameters, i, n, item) {
        const char *name = yyjson_get_str(yyjson_obj_get(item, "name"));
        yyjson_val *schema = yyjson_obj_get(item, "schema");
        if (schema && str_eq(name, "body")) {
            yyjson_mut_val *body = yyjson_mut_obj(c->doc);
            if (yyjson_obj_get(v, "consumes")) put(c, body, "content", content(c, yyjson_obj_get(v, "consumes"), schema));
            put(c, out, "requestBody", body);
        } else yyjson_mut_arr_append(list, parameter_in_v3(c, item));
    }
    if (yyjson_mut_arr_size(list)) put(c, out, "parameters", list);
    yyjson_obj_foreach(yyjson_obj_get(v, "responses"), i, n, key, item) {
        bool extension = str_has_prefix(yyjson_get_str(key), "x-");
        yyjson_mut_obj_add(responses, yyjson_val_mut_copy(c->doc, key), extension ? yyjson_val_mut_copy(c->doc, item) : response_in_v3(c, item, yyjson_obj_get(v, "produces")));
    }
    put(c, out, "responses", responses);
    copy_extensions(c, out, v);
    return out;
}

static yyjson_mut_val *path_in_v3(struct converting *c, yyjson_val *v) {
    static const char *const operations[] = {"get", "put", "post", "delete", "options", "head", "patch"};
    size_t i, n;
    yyjson_val *item;
    yyjson_mut_val *out = yyjson_mut_obj(c->doc), *list = yyjson_mut_arr(c->doc);
    copy_member(c, out, v, "$ref");
    for (i = 0; i < ARRAY_LEN(operations); i++)
        if (yyjson_obj_get(v, operations[i])) put(c, out, operations[i], operation_in_v3(c, yyjson_obj_get(v, operations[i])));
    yyjson_arr_foreach(yyjson_obj_get(v, "parameters"), i, n, item) yyjson_mut_arr_append(list, parameter_in_v3(c, item));
    if (yyjson_mut_arr_size(list)) put(c, out, "parameters", list);
    copy_extensions(c, out, v);
    return out;
}

static yyjson_mut_val *security_in_v3(struct converting *c, yyjson_val *v) {
    static const char *const kept[] = {"type", "description", "name", "in"};
    yyjson_mut_val *out = yyjson_mut_obj(c->doc);
    yyjson_val *flow = yyjson_obj_get(v, "flow");
    for (size_t i = 0; i < ARRAY_LEN(kept); i++) copy_member(c, out, v, kept[i]);
    if (yyjson_is_str(flow) && yyjson_get_len(flow)) {
        yyjson_mut_val *flows = yyjson_mut_obj(c->doc), *one = yyjson_mut_obj(c->doc);
        copy_member(c, one, v, "scopes");
        if (yyjson_obj_get(v, "authorizationUrl")) put(c, one, "authorizationUrl", yyjson_val_mut_copy(c->doc, yyjson_obj_get(v, "authorizationUrl")));
        if (yyjson_obj_get(v, "tokenUrl")) put(c, one, "tokenUrl", yyjson_val_mut_copy(c->doc, yyjson_obj_get(v, "tokenUrl")));
        yyjson_mut_obj_add(flows, yyjson_val_mut_copy(c->doc, flow), one);
        put(c, out, "flows", flows);
    }
    copy_extensions(c, out, v);
    return out;
}

void openapi_v2_to_v3(struct arena *a, yyjson_val *v2, struct buf *out) {
    struct converting c = {a, json_mut_new(a, NULL)};
    yyjson_mut_val *root = yyjson_mut_obj(c.doc), *paths = yyjson_mut_obj(c.doc), *components = yyjson_mut_obj(c.doc), *security = yyjson_mut_obj(c.doc), *responses = yyjson_mut_obj(c.doc);
    size_t i, n;
    yyjson_val *key, *value;
    put(&c, root, "openapi", yyjson_mut_str(c.doc, "3.0.0"));
    copy_member(&c, root, v2, "info");
    copy_member(&c, root, v2, "externalDocs");
    yyjson_obj_foreach(yyjson_obj_get(v2, "paths"), i, n, key, value)
        yyjson_mut_obj_add(paths, yyjson_val_mut_copy(c.doc, key), str_has_prefix(yyjson_get_str(key), "x-") ? yyjson_val_mut_copy(c.doc, value) : path_in_v3(&c, value));
    put(&c, root, "paths", paths);
    if (yyjson_obj_get(v2, "definitions")) put(&c, components, "schemas", schemas_in_v3(&c, yyjson_obj_get(v2, "definitions")));
    yyjson_obj_foreach(yyjson_obj_get(v2, "securityDefinitions"), i, n, key, value) yyjson_mut_obj_add(security, yyjson_val_mut_copy(c.doc, key), security_in_v3(&c, value));
    if (yyjson_mut_obj_size(security)) put(&c, components, "securitySchemes", security);
    yyjson_obj_foreach(yyjson_obj_get(v2, "responses"), i, n, key, value) yyjson_mut_obj_add(responses, yyjson_val_mut_copy(c.doc, key), response_in_v3(&c, value, yyjson_obj_get(v2, "produces")));
    if (yyjson_mut_obj_size(responses)) put(&c, components, "responses", responses);
    put(&c, root, "components", components);
    json_write_mut(out, root);
}
