#include "api/jsonpath.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum step_kind { STEP_FIELD, STEP_ALL, STEP_RECURSIVE, STEP_SLICE, STEP_FILTER };
struct step {
    enum step_kind kind;
    const char *name;               /* STEP_FIELD; STEP_RECURSIVE: NULL for all */
    long from, to, by;              /* STEP_SLICE */
    bool has_to, single;
    const struct jsonpath *left, *right; /* STEP_FILTER; right NULL: a literal or existence */
    const char *op;                 /* NULL: existence */
    yyjson_val *literal;
};
struct jsonpath { struct step *items; size_t len; };

static const char *parse_path(struct arena *a, const char *p, struct jsonpath *out, const char *ends);

static const char *blanks(const char *p) {
    while (*p == ' ') p++;
    return p;
}

static const char *parse_name(struct arena *a, const char *p, const char *ends, const char **ret) {
    const char *start = p;
    while (*p && !strchr(".[]", *p) && !strchr(ends, *p)) p += *p == '\\' && p[1] ? 2 : 1;
    if (p == start) return NULL;
    char *name = arena_alloc(a, (size_t)(p - start) + 1), *to = name;
    for (const char *s = start; s < p; s++)
        if (*s != '\\') *to++ = *s;
    *ret = name;
    return p;
}

static const char *parse_quoted(struct arena *a, const char *p, const char **ret) {
    char quote = *p++, *name = arena_alloc(a, strlen(p) + 1), *to = name;
    while (*p && *p != quote) {
        if (*p == '\\' && p[1]) p++;
        *to++ = *p++;
    }
    *ret = name;
    return *p ? p + 1 : NULL;
}

static const char *parse_slice(const char *p, struct step *s) {
    char *end;
    *s = (struct step){.kind = STEP_SLICE, .by = 1};
    s->from = strtol(p, &end, 10);
    s->single = end != p;
    p = end;
    if (*p == ':') {
        s->single = false;
        s->to = strtol(p + 1, &end, 10);
        s->has_to = end != p + 1;
        p = end;
        if (*p == ':') {
            s->by = strtol(p + 1, &end, 10);
            if (s->by <= 0) return NULL;
            p = end;
        }
    } else if (!s->single) return NULL;
    return p;
}

static const char *parse_operand(struct arena *a, const char *p, const struct jsonpath **ret_path, yyjson_val **ret_literal) {
    p = blanks(p);
    if (*p == '@' || *p == '$') {
        struct jsonpath *sub = arena_alloc(a, sizeof(*sub));
        *ret_path = sub;
        return parse_path(a, p + 1, sub, " )=!<>");
    }
    const char *text;
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    if (*p == '"' || *p == '\'') {
        p = parse_quoted(a, p, &text);
        if (p) yyjson_mut_doc_set_root(doc, yyjson_mut_strcpy(doc, text));
    } else {
        size_t len = strcspn(p, " )=!<>");
        text = arena_strndup(a, p, len);
        char *end;
        double d = strtod(text, &end);
        if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0) yyjson_mut_doc_set_root(doc, yyjson_mut_bool(doc, *text == 't'));
        else if (len && !*end) yyjson_mut_doc_set_root(doc, yyjson_mut_real(doc, d));
        p = len && yyjson_mut_doc_get_root(doc) ? p + len : NULL;
    }
    yyjson_doc *copy = p ? yyjson_mut_doc_imut_copy(doc, NULL) : NULL;
    yyjson_mut_doc_free(doc);
    if (copy) arena_on_free(a, (void (*)(void *))yyjson_doc_free, copy);
    *ret_literal = yyjson_doc_get_root(copy);
    return p;
}

/* ?(@.a == "b") */
static const char *parse_filter(struct arena *a, const char *p, struct step *s) {
    static const char *const ops[] = {"==", "!=", "<=", ">=", "<", ">"};
    *s = (struct step){.kind = STEP_FILTER};
    yyjson_val *unused = NULL;
    if (*p++ != '(') return NULL;
    p = parse_operand(a, p, &s->left, &unused);
    if (!p || !s->left) return NULL;
    p = blanks(p);
    for (size_t i = 0; i < 6 && !s->op; i++)
        if (strncmp(p, ops[i], strlen(ops[i])) == 0) s->op = ops[i];
    if (s->op) p = parse_operand(a, p + strlen(s->op), &s->right, &s->literal);
    if (!p) return NULL;
    p = blanks(p);
    return *p == ')' ? p + 1 : NULL;
}

static const char *parse_bracket(struct arena *a, const char *p, struct step *s) {
    p = blanks(p);
    if (*p == '*') {
        *s = (struct step){.kind = STEP_ALL};
        p++;
    } else if (*p == '\'' || *p == '"') {
        *s = (struct step){.kind = STEP_FIELD};
        p = parse_quoted(a, p, &s->name);
    } else if (*p == '?') p = parse_filter(a, p + 1, s);
    else p = parse_slice(p, s);
    p = p ? blanks(p) : NULL;
    return p && *p == ']' ? p + 1 : NULL;
}

static const char *parse_path(struct arena *a, const char *p, struct jsonpath *out, const char *ends) {
    while (*p && !strchr(ends, *p)) {
        struct step s = {.kind = STEP_FIELD};
        if (*p == '[') p = parse_bracket(a, p + 1, &s);
        else if (*p != '.') return NULL;
        else if (p[1] == '.') {
            s.kind = STEP_RECURSIVE;
            p = p[2] == '[' || p[2] == '*' ? p + 2 + (p[2] == '*') : parse_name(a, p + 2, ends, &s.name);
        } else if (p[1] == '*') {
            s.kind = STEP_ALL;
            p += 2;
        } else if (!p[1] || strchr(ends, p[1]) || p[1] == '[') {
            p++; /* a dot alone is the value itself */
            continue;
        } else p = parse_name(a, p + 1, ends, &s.name);
        if (!p) return NULL;
        struct step *slot = arena_list_push(a, &out->items, &out->len, sizeof(s));
        *slot = s;
    }
    return p;
}

struct jsonpath *jsonpath_parse(struct arena *a, const char *text) {
    struct jsonpath *p = ARENA_NEW(a, struct jsonpath);
    const char *end = parse_path(a, text, p, "");
    return end && !*end ? p : NULL;
}

/* ---- finding ---- */

static void push(struct arena *a, struct jsonpath_found *f, yyjson_val *v) { *LIST_PUSH(a, f) = v; }

static int compare(yyjson_val *x, yyjson_val *y) {
    if (yyjson_is_num(x) && yyjson_is_num(y)) return (yyjson_get_num(x) > yyjson_get_num(y)) - (yyjson_get_num(x) < yyjson_get_num(y));
    if (yyjson_is_str(x) && yyjson_is_str(y)) return strcmp(yyjson_get_str(x), yyjson_get_str(y));
    return yyjson_equals(x, y) ? 0 : 2; /* of different types: neither */
}

static bool passes(struct arena *a, const struct step *s, yyjson_val *item) {
    struct jsonpath_found left = {0}, right = {0};
    jsonpath_find(a, s->left, item, &left);
    if (!s->op) return left.len > 0;
    if (s->right) jsonpath_find(a, s->right, item, &right);
    yyjson_val *r = s->right ? (right.len ? right.items[0] : NULL) : s->literal;
    if (!left.len || !r) return false;
    int c = compare(left.items[0], r);
    if (s->op[0] == '=') return c == 0;
    if (s->op[0] == '!') return c != 0;
    if (c == 2) return false;
    return s->op[0] == '<' ? c < 0 || (s->op[1] && c == 0) : c > 0 || (s->op[1] && c == 0);
}

static void slice(struct arena *a, const struct step *s, yyjson_val *list, struct jsonpath_found *out) {
    long len = (long)yyjson_arr_size(list), from = s->from < 0 ? s->from + len : s->from, to = !s->has_to ? len : s->to < 0 ? s->to + len : s->to;
    if (s->single) to = from + 1;
    for (long i = from < 0 ? 0 : from; i < to && i < len && from >= 0; i += s->by) push(a, out, yyjson_arr_get(list, (size_t)i));
}

static void recurse(struct arena *a, const struct step *s, yyjson_val *v, struct jsonpath_found *out) {
    size_t i, n;
    yyjson_val *k, *item;
    if (!s->name) push(a, out, v);
    else if (yyjson_obj_get(v, s->name)) push(a, out, yyjson_obj_get(v, s->name));
    yyjson_arr_foreach(v, i, n, item) recurse(a, s, item, out);
    yyjson_obj_foreach(v, i, n, k, item) recurse(a, s, item, out);
}

static void step(struct arena *a, const struct step *s, yyjson_val *v, struct jsonpath_found *out) {
    size_t i, n;
    yyjson_val *k, *item;
    switch (s->kind) {
        case STEP_FIELD:
            if (yyjson_obj_get(v, s->name)) push(a, out, yyjson_obj_get(v, s->name));
            break;
        case STEP_ALL:
            yyjson_arr_foreach(v, i, n, item) push(a, out, item);
            yyjson_obj_foreach(v, i, n, k, item) push(a, out, item);
            break;
        case STEP_RECURSIVE: recurse(a, s, v, out); break;
        case STEP_SLICE: slice(a, s, v, out); break;
        case STEP_FILTER:
            yyjson_arr_foreach(v, i, n, item) if (passes(a, s, item)) push(a, out, item);
            break;
    }
}

void jsonpath_find(struct arena *a, const struct jsonpath *p, yyjson_val *root, struct jsonpath_found *ret) {
    struct jsonpath_found now = {0};
    if (root) push(a, &now, root);
    for (size_t i = 0; i < p->len; i++) {
        struct jsonpath_found next = {0};
        for (size_t j = 0; j < now.len; j++) step(a, &p->items[i], now.items[j], &next);
        now = next;
    }
    *ret = now;
}
