/* Does a document fit its type? In upstream's words, for what is applied. See typed_value.h. Tests: tests/unit/test_apply.c. */
#include <stdarg.h>
#include <string.h>
#include "api/typed_walk.h"

static void print_path(struct arena *a, struct buf *out, const struct type_path *at) {
    if (!at) return;
    print_path(a, out, at->up);
    path_element_print(a, out, at->pe);
}

void typed_error(struct arena *a, struct string_list *errs, const struct type_path *at, const char *format, ...) {
    _cleanup_buf_ struct buf path = BUF_INIT;
    va_list args;
    va_start(args, format);
    const char *text = arena_vprintf(a, format, args);
    va_end(args);
    print_path(a, &path, at);
    string_list_push(a, errs, path.len ? arena_printf(a, "%s: %s", path.data, text) : text);
}

const char *typed_error_text(struct arena *a, const struct string_list *errs) {
    if (errs->len == 1) return errs->items[0];
    _cleanup_buf_ struct buf all = BUF_INIT;
    buf_append_str(&all, "errors:");
    for (size_t i = 0; i < errs->len; i++) buf_printf(&all, "\n  %s", errs->items[i]);
    return arena_strdup(a, all.data);
}

/* Go prints a pointer to its value structure. */
static const char *printed(struct arena *a, const struct value *v) {
    _cleanup_buf_ struct buf text = BUF_INIT;
    value_print_go(&text, v, false);
    return arena_printf(a, "&{%s}", buf_cstr(&text));
}

static const char *printed_sharp(struct arena *a, const struct value *v) {
    _cleanup_buf_ struct buf text = BUF_INIT;
    value_print_go(&text, v, true);
    return arena_printf(a, "&value.valueUnstructured{Value:%s}", buf_cstr(&text));
}

bool typed_check_scalar(struct arena *a, enum scalar_kind scalar, const struct value *v, const char *prefix, const struct type_path *at, struct string_list *errs) {
    if (!v || v->kind == VALUE_NULL) return true;
    bool number = v->kind == VALUE_INT || v->kind == VALUE_FLOAT, string = v->kind == VALUE_STRING, boolean = v->kind == VALUE_BOOL;
    switch (scalar) {
        case SCALAR_NUMERIC:
            if (number) return true;
            typed_error(a, errs, at, "%sexpected numeric (int or float), got %s", prefix, value_go_type(v));
            return false;
        case SCALAR_STRING:
            if (string) return true;
            typed_error(a, errs, at, "%sexpected string, got %s", prefix, printed_sharp(a, v));
            return false;
        case SCALAR_BOOLEAN:
            if (boolean) return true;
            typed_error(a, errs, at, "%sexpected boolean, got %s", prefix, printed(a, v));
            return false;
        default:
            if (number || string || boolean) return true;
            typed_error(a, errs, at, "%sexpected any scalar, got %s", prefix, printed(a, v));
            return false;
    }
}

struct validation { struct arena *a; bool allow_duplicates; struct string_list *errs; };

static void validate(struct validation *w, struct schema_ref type, const struct value *v, const struct type_path *at);

static void validate_list(struct validation *w, const struct atom *list, const struct value *v, const struct type_path *at) {
    struct field_set seen = {0};
    for (uint32_t i = 0; i < v->len; i++) {
        struct path_element pe = {PATH_INDEX, {.index = i}};
        if (list->list == RELATION_ASSOCIATIVE) {
            const char *wrong = typed_item_element(w->a, list, &v->items[i], &pe);
            if (wrong) {
                typed_error(w->a, w->errs, at, "element %u: %s", i, wrong);
                return;
            }
            if (!w->allow_duplicates) {
                struct set_node *n = field_set_descend(w->a, &seen, &pe);
                if (n->member) {
                    _cleanup_buf_ struct buf key = BUF_INIT;
                    path_element_print(w->a, &key, &pe);
                    typed_error(w->a, w->errs, at, "duplicate entries for key %s", buf_cstr(&key));
                }
                n->member = true;
            }
        }
        validate(w, list->list_item, &v->items[i], &(struct type_path){at, &pe});
    }
}

static void validate_map(struct validation *w, struct schema_ref type, const struct atom *atom, const struct value *v, const struct type_path *at) {
    for (uint32_t i = 0; i < v->len; i++) {
        bool declared;
        struct path_element pe = path_field(v->members[i].name);
        struct type_path here = {at, &pe};
        struct schema_ref member = schema_member(type, atom, pe.name, &declared);
        if (member.kind == REF_NONE) {
            typed_error(w->a, w->errs, &here, "field not declared in schema");
            return;
        }
        validate(w, member, &v->members[i].value, &here);
    }
}

static void validate(struct validation *w, struct schema_ref type, const struct value *v, const struct type_path *at) {
    struct atom atom = typed_deduce(type, v);
    if (atom.map) {
        if (v->kind == VALUE_MAP) validate_map(w, type, &atom, v, at);
        else if (v->kind != VALUE_NULL) typed_error(w->a, w->errs, at, "expected map, got %s", printed(w->a, v));
    } else if (atom.scalar) typed_check_scalar(w->a, atom.scalar, v, "", at, w->errs);
    else if (atom.list) {
        if (v->kind == VALUE_LIST) validate_list(w, &atom, v, at);
        else if (v->kind != VALUE_NULL) typed_error(w->a, w->errs, at, "expected list, got %s", printed(w->a, v));
    } else typed_error(w->a, w->errs, at, "schema error: invalid atom: inlined");
}

void typed_validate(struct arena *a, struct schema_ref type, const struct value *v, bool allow_duplicates, struct string_list *errs) {
    struct validation w = {a, allow_duplicates, errs};
    validate(&w, type, v, NULL);
}
