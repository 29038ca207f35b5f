#include "api/selector.h"
#include <string.h>
#include "api/field_error.h"
#include "api/names.h"
#include "base/str.h"

/* ---- the text form: a small lexer and a recursive-descent parser, as upstream's labels package ---- */

enum token { T_END, T_WORD, T_NOT, T_EQ, T_EQEQ, T_NE, T_GT, T_LT, T_IN, T_NOTIN, T_OPEN, T_CLOSE, T_COMMA };
struct lexer {
    struct arena *a;
    const char *p;
    enum token token;
    const char *text;
};

static void next(struct lexer *l) {
    static const struct { const char *text; enum token token; } symbols[] = {{"!=", T_NE}, {"==", T_EQEQ}, {"!", T_NOT}, {"=", T_EQ}, {">", T_GT}, {"<", T_LT}, {"(", T_OPEN}, {")", T_CLOSE}, {",", T_COMMA}};
    while (*l->p && strchr(" \t\r\n", *l->p)) l->p++;
    for (size_t i = 0; i < ARRAY_LEN(symbols); i++)
        if (str_has_prefix(l->p, symbols[i].text)) {
            l->p += strlen(symbols[i].text);
            l->token = symbols[i].token;
            l->text = symbols[i].text;
            return;
        }
    size_t len = strcspn(l->p, " \t\r\n!=<>(),");
    l->text = arena_strndup(l->a, l->p, len);
    l->p += len;
    l->token = len == 0 ? T_END : strcmp(l->text, "in") == 0 ? T_IN : strcmp(l->text, "notin") == 0 ? T_NOTIN : T_WORD;
}

static bool is_word(const struct lexer *l) { return l->token == T_WORD || l->token == T_IN || l->token == T_NOTIN; }

static int expected(struct lexer *l, const char *what, struct status *reterr) {
    return status_bad_request(reterr, "unable to parse requirement: found '%s', expected: %s", l->token == T_END ? "" : l->text, what);
}

static int check_key(struct arena *a, const char *key, struct status *reterr) {
    struct string_list msgs = {0};
    name_qualified(a, key, &msgs);
    if (msgs.len == 0) return 0;
    return status_bad_request(reterr, "unable to parse requirement: <nil>: Invalid value: %s: %s", go_quote(a, key), msgs.items[0]);
}

static int check_values(struct arena *a, const struct requirement *r, struct status *reterr) {
    for (size_t i = 0; i < r->values.len; i++) {
        struct string_list msgs = {0};
        int64_t n;
        if ((r->op == SELECT_GT || r->op == SELECT_LT) && !str_to_i64(r->values.items[i], &n))
            return status_bad_request(reterr, "unable to parse requirement: values[%zu]: Invalid value: %s: for 'Gt', 'Lt' operators, the value must be an integer", i, go_quote(a, r->values.items[i]));
        name_label_value(a, r->values.items[i], &msgs);
        if (msgs.len) return status_bad_request(reterr, "unable to parse requirement: values[%zu][%s]: Invalid value: %s: %s", i, r->key, go_quote(a, r->values.items[i]), msgs.items[0]);
    }
    return 0;
}

static void add_value(struct arena *a, struct string_list *list, const char *v) {
    size_t i = 0;
    while (i < list->len && strcmp(list->items[i], v) < 0) i++;
    if (i < list->len && strcmp(list->items[i], v) == 0) return;
    string_list_push(a, list, v);
    for (size_t j = list->len - 1; j > i; j--) list->items[j] = list->items[j - 1];
    list->items[i] = v;
}

static int parse_set(struct lexer *l, struct requirement *r, struct status *reterr) {
    if (l->token != T_OPEN) return status_bad_request(reterr, "unable to parse requirement: found '%s' expected: '('", l->text);
    bool first = true;
    next(l);
    if (l->token == T_CLOSE) {
        add_value(l->a, &r->values, "");
        next(l);
        return 0;
    }
    for (;;) {
        if (is_word(l)) {
            add_value(l->a, &r->values, l->text);
            next(l);
            if (l->token == T_CLOSE) break;
            if (l->token != T_COMMA) return expected(l, "',' or ')'", reterr);
            next(l);
            if (l->token == T_CLOSE) {
                add_value(l->a, &r->values, "");
                break;
            }
        } else if (l->token == T_COMMA) {
            add_value(l->a, &r->values, "");
            next(l);
            if (l->token == T_CLOSE) break;
        } else return expected(l, first ? "',', ')' or identifier" : "',', or identifier", reterr);
        first = false;
    }
    next(l);
    return 0;
}

static int parse_requirement(struct lexer *l, struct requirement *r, struct status *reterr) {
    bool negated = l->token == T_NOT;
    if (negated) next(l);
    if (!is_word(l)) return expected(l, "identifier", reterr);
    r->key = l->text;
    if (check_key(l->a, r->key, reterr) != 0) return -1;
    next(l);
    if (negated || l->token == T_END || l->token == T_COMMA) {
        r->op = negated ? SELECT_NOT_EXISTS : SELECT_EXISTS;
        return 0;
    }
    static const enum selector_op ops[] = {[T_EQ] = SELECT_IN, [T_EQEQ] = SELECT_IN, [T_IN] = SELECT_IN, [T_NE] = SELECT_NOT_IN, [T_NOTIN] = SELECT_NOT_IN, [T_GT] = SELECT_GT, [T_LT] = SELECT_LT};
    enum token op = l->token;
    if (op == T_WORD || op == T_OPEN || op == T_CLOSE || op == T_NOT) return expected(l, "in, notin, =, ==, !=, gt, lt", reterr);
    r->op = ops[op];
    next(l);
    if (op == T_IN || op == T_NOTIN) {
        if (parse_set(l, r, reterr) != 0) return -1;
    } else if (is_word(l)) {
        add_value(l->a, &r->values, l->text);
        next(l);
    } else if (l->token == T_END || l->token == T_COMMA) add_value(l->a, &r->values, "");
    else return expected(l, "identifier", reterr);
    return check_values(l->a, r, reterr);
}

int label_selector_parse(struct arena *a, const char *text, struct selector *ret, struct status *reterr) {
    struct selector s = {0};
    struct lexer l = {a, text, T_END, ""};
    next(&l);
    while (l.token != T_END) {
        struct requirement r = {0};
        if (!is_word(&l) && l.token != T_NOT) return status_bad_request(reterr, "found '%s', expected: !, identifier, or 'end of string'", l.text);
        if (parse_requirement(&l, &r, reterr) != 0) return -1;
        *LIST_PUSH(a, &s) = r;
        if (l.token == T_END) break;
        if (l.token != T_COMMA) return status_bad_request(reterr, "found '%s', expected: ',' or 'end of string'", l.text);
        next(&l);
        if (!is_word(&l) && l.token != T_NOT) return status_bad_request(reterr, "found '%s', expected: identifier after ','", l.token == T_END ? "" : l.text);
    }
    *ret = s;
    return 0;
}

/* labels.NewRequirement: a key that is none, values that no label can have, too many or too few of them. */
static int check_requirement(struct arena *a, const struct requirement *r, struct status *reterr) {
    bool set = r->op == SELECT_IN || r->op == SELECT_NOT_IN;
    if (check_key(a, str_or(r->key, ""), reterr) != 0) return -1;
    if (set && !r->values.len) return status_bad_request(reterr, "values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty");
    if (!set && r->values.len) return status_bad_request(reterr, "values: Invalid value: values set must be empty for exists and does not exist");
    return check_values(a, r, reterr);
}

int label_selector_from(struct arena *a, const struct metav1_LabelSelector *ls, struct selector *ret, struct status *reterr) {
    static const struct { const char *name; enum selector_op op; } ops[] = {{"In", SELECT_IN}, {"NotIn", SELECT_NOT_IN}, {"Exists", SELECT_EXISTS}, {"DoesNotExist", SELECT_NOT_EXISTS}};
    if (!ls) {
        *ret = (struct selector){.nothing = true};
        return 0;
    }
    struct selector s = selector_from_map(a, &ls->matchLabels);
    LIST_FOREACH(e, &ls->matchExpressions) {
        size_t i = 0;
        while (i < ARRAY_LEN(ops) && !str_eq(ops[i].name, e->operator)) i++;
        if (i == ARRAY_LEN(ops)) return status_bad_request(reterr, "\"%s\" is not a valid label selector operator", e->operator);
        struct requirement r = {.key = e->key, .op = ops[i].op};
        for (size_t j = 0; j < e->values.len; j++) add_value(a, &r.values, e->values.items[j]);
        *LIST_PUSH(a, &s) = r;
    }
    for (size_t i = 0; i < s.len; i++)
        if (check_requirement(a, &s.items[i], reterr) != 0) return -1;
    *ret = s;
    return 0;
}

struct selector selector_from_map(struct arena *a, const struct string_map *labels) {
    struct selector s = {0};
    LIST_FOREACH(e, labels) {
        struct requirement r = {.key = e->key, .op = SELECT_IN};
        add_value(a, &r.values, str_or(e->value, ""));
        *LIST_PUSH(a, &s) = r;
    }
    return s;
}

static bool requirement_matches(const struct requirement *r, const struct string_map *labels) {
    const char *v = string_map_get(labels, r->key);
    int64_t have, want;
    switch (r->op) {
        case SELECT_EXISTS: return v != NULL;
        case SELECT_NOT_EXISTS: return v == NULL;
        case SELECT_IN: return v && string_list_has(&r->values, v);
        case SELECT_NOT_IN: return !v || !string_list_has(&r->values, v);
        case SELECT_GT: case SELECT_LT:
            if (!v || !str_to_i64(v, &have) || r->values.len != 1 || !str_to_i64(r->values.items[0], &want)) return false;
            return r->op == SELECT_GT ? have > want : have < want;
    }
    return false;
}

bool selector_matches(const struct selector *s, const struct string_map *labels) {
    if (s->nothing) return false;
    for (size_t i = 0; i < s->len; i++)
        if (!requirement_matches(&s->items[i], labels)) return false;
    return true;
}

char *selector_string(struct arena *a, const struct selector *s) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    for (size_t i = 0; i < s->len; i++) {
        const struct requirement *r = &s->items[i];
        const char *first = r->values.len ? r->values.items[0] : "";
        if (i) buf_append_char(&out, ',');
        if (r->op == SELECT_NOT_EXISTS) buf_append_char(&out, '!');
        buf_append_str(&out, r->key);
        if (r->op == SELECT_GT || r->op == SELECT_LT) buf_printf(&out, "%c%s", r->op == SELECT_GT ? '>' : '<', first);
        else if ((r->op == SELECT_IN || r->op == SELECT_NOT_IN) && r->values.len == 1) buf_printf(&out, "%s%s", r->op == SELECT_IN ? "=" : "!=", first);
        else if (r->op == SELECT_IN || r->op == SELECT_NOT_IN) {
            buf_append_str(&out, r->op == SELECT_IN ? " in (" : " notin (");
            for (size_t j = 0; j < r->values.len; j++) buf_printf(&out, "%s%s", j ? "," : "", r->values.items[j]);
            buf_append_char(&out, ')');
        }
    }
    return arena_strdup(a, buf_cstr(&out));
}

/* ---- field selectors ---- */

/* The value with \\ \, \= as the characters they stand for; NULL with upstream's words when something is not escaped as it must be. */
static char *unescape(struct arena *a, const char *s, struct status *reterr) {
    char *out = arena_alloc(a, strlen(s) + 1), *o = out;
    for (; *s; s++) {
        if (*s == ',' || *s == '=') {
            status_bad_request(reterr, "invalid field selector: unescaped character in value: %d", *s);
            return NULL;
        }
        if (*s == '\\' && (!s[1] || !strchr("\\,=", s[1]))) {
            int rune = s[1] ? 1 : 0;
            while (rune && (s[1 + rune] & 0xc0) == 0x80) rune++;
            status_bad_request(reterr, "invalid field selector: invalid escape sequence: %.*s", 1 + rune, s);
            return NULL;
        }
        if (*s == '\\') s++;
        *o++ = *s;
    }
    return out;
}

/* Where the operator of a term begins, and its length; NULL if it has none. A '!' alone belongs to the field's name. */
static const char *find_operator(const char *term, size_t *ret_len) {
    for (const char *p = term; *p; p++) {
        if (*p != '=' && !str_has_prefix(p, "!=")) continue;
        *ret_len = *p == '!' || p[1] == '=' ? 2 : 1;
        return p;
    }
    return NULL;
}

static size_t term_end(const char *s) {
    size_t i = 0;
    for (; s[i] && s[i] != ','; i++)
        if (s[i] == '\\' && s[i + 1]) i++;
    return i;
}

int field_selector_parse(struct arena *a, const char *text, struct field_selector *ret, struct status *reterr) {
    struct field_selector fs = {0};
    for (const char *p = text; *p;) {
        size_t len = term_end(p);
        const char *term = arena_strndup(a, p, len);
        size_t op_len;
        const char *op = find_operator(term, &op_len);
        p += len + (p[len] == ',');
        if (len == 0) continue;
        if (!op) return status_bad_request(reterr, "invalid selector: '%s'; can't understand '%s'", text, term);
        const char *value = unescape(a, op + op_len, reterr);
        if (!value) return -1;
        *LIST_PUSH(a, &fs) = (struct field_requirement){arena_strndup(a, term, (size_t)(op - term)), value, *op == '!'};
    }
    *ret = fs;
    return 0;
}
