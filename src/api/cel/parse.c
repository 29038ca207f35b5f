/* Text to tree: the grammar of the CEL specification, with macros expanded as they are read. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include "api/cel/internal.h"
#include "base/str.h"

struct parser {
    struct arena *arena;
    const char *text, *p;
    const char *error;
    size_t error_pos;
    int depth;
};

static struct node *expression(struct parser *s);

static struct node *fail(struct parser *s, size_t pos, const char *message) {
    if (!s->error) {
        s->error = message;
        s->error_pos = pos;
    }
    return NULL;
}

static void skip(struct parser *s) {
    for (;;) {
        while (*s->p && strchr(" \t\r\n\f", *s->p)) s->p++;
        if (s->p[0] != '/' || s->p[1] != '/') return;
        while (*s->p && *s->p != '\n') s->p++;
    }
}

static size_t here(const struct parser *s) { return (size_t)(s->p - s->text); }

#define STARTS(first, close, more) "{'[', '{', " first "'('" close ", '.', '-', '!'" more ", 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}"
static const char a_value[] = STARTS("", "", ""), an_index[] = STARTS("", "", ", '?'"), an_argument[] = STARTS("", ", ')'", "");

static size_t token_len(const char *p) {
    static const char *const pairs[] = {"==", "!=", "<=", ">=", "&&", "||"};
    if (isalpha((unsigned char)*p) || *p == '_') return strspn(p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
    if (isdigit((unsigned char)*p) || (*p == '.' && isdigit((unsigned char)p[1]))) return strspn(p, "0123456789.");
    if (*p == '`' && strchr(p + 1, '`')) return (size_t)(strchr(p + 1, '`') - p) + 1;
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
        if (strncmp(p, pairs[i], 2) == 0) return 2;
    return *p ? 1 : 0;
}

static bool starts_value(const char *p) { return *p && (strchr("[{(.-!\"'_", *p) || (isalnum((unsigned char)*p) && !(token_len(p) == 2 && strncmp(p, "in", 2) == 0))); }

/* ANTLR's words for a token that does not belong: what the next one would fit is only in the way. */
static struct node *syntax_error(struct parser *s, const char *expected) {
    skip(s);
    size_t pos = here(s), len = token_len(s->p);
    struct parser after = {.text = s->text, .p = s->p + len};
    skip(&after);
    bool fits = expected[0] == '\'' ? strncmp(after.p, expected + 1, strlen(expected) - 2) == 0 : strcmp(expected, "<EOF>") == 0 ? !*after.p : strcmp(expected, "{']', ','}") == 0 || strcmp(expected, "{'}', ','}") == 0 ? *after.p && (*after.p == expected[2] || *after.p == ',') : starts_value(after.p) || (expected == an_argument && *after.p == ')');
    bool insert = expected[0] == '\'' && strchr(")]}", expected[1]) && !len;
    if (insert) return fail(s, pos, arena_printf(s->arena, "Syntax error: missing %s at '<EOF>'", expected));
    return fail(s, pos, arena_printf(s->arena, "Syntax error: %s input '%.*s' expecting %s", len && fits ? "extraneous" : "mismatched", len ? (int)len : 5, len ? s->p : "<EOF>", expected));
}

/* Behind a dot that no name follows. */
static struct node *no_alternative(struct parser *s) {
    skip(s);
    return fail(s, here(s), arena_printf(s->arena, "Syntax error: no viable alternative at input '.%.*s'", (int)token_len(s->p), s->p));
}

static bool accept(struct parser *s, const char *token) {
    skip(s);
    size_t n = strlen(token);
    if (strncmp(s->p, token, n) != 0) return false;
    if ((n == 1 && strchr("<>!=&|", *token) && (s->p[1] == '=' || (s->p[1] == *token && strchr("&|", *token)))) || (isalpha((unsigned char)*token) && (isalnum((unsigned char)s->p[n]) || s->p[n] == '_'))) return false;
    s->p += n;
    return true;
}

static bool expect(struct parser *s, const char *token) {
    if (accept(s, token)) return true;
    syntax_error(s, arena_printf(s->arena, "'%s'", token));
    return false;
}

static struct node *node(struct parser *s, enum node_kind kind, size_t pos) {
    struct node *n = ARENA_NEW(s->arena, struct node);
    n->kind = kind;
    n->pos = pos;
    return n;
}

static void push(struct parser *s, struct node *n, struct node *arg) {
    struct { struct node **items; size_t len; } list = {n->args, n->len};
    *LIST_PUSH(s->arena, &list) = arg;
    n->args = list.items;
    n->len = list.len;
}

static struct node *call(struct parser *s, size_t pos, const char *name, struct node *a, struct node *b) {
    struct node *n = node(s, NODE_CALL, pos);
    n->name = name;
    push(s, n, a);
    if (b) push(s, n, b);
    return n;
}

/* ---- literals ---- */

static void put_utf8(struct buf *out, unsigned long c) {
    if (c < 0x80) buf_append_char(out, (char)c);
    else if (c < 0x800) {
        buf_append_char(out, (char)(0xC0 | c >> 6));
        buf_append_char(out, (char)(0x80 | (c & 0x3F)));
    } else if (c < 0x10000) {
        buf_append_char(out, (char)(0xE0 | c >> 12));
        buf_append_char(out, (char)(0x80 | (c >> 6 & 0x3F)));
        buf_append_char(out, (char)(0x80 | (c & 0x3F)));
    } else {
        buf_append_char(out, (char)(0xF0 | c >> 18));
        buf_append_char(out, (char)(0x80 | (c >> 12 & 0x3F)));
        buf_append_char(out, (char)(0x80 | (c >> 6 & 0x3F)));
        buf_append_char(out, (char)(0x80 | (c & 0x3F)));
    }
}

static bool take_escape(struct parser *s, struct buf *out, bool bytes) {
    static const char from[] = "abfnrtv\\'\"`?", to[] = "\a\b\f\n\r\t\v\\'\"`?";
    char c = *s->p++;
    const char *at = c ? strchr(from, c) : NULL;
    if (at) {
        buf_append_char(out, to[at - from]);
        return true;
    }
    int digits = c == 'x' || c == 'X' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : c >= '0' && c <= '3' ? 3 : 0, base = digits == 3 ? 8 : 16;
    if (digits == 3) s->p--;
    unsigned long v = 0;
    for (int i = 0; i < digits; i++, s->p++) {
        int d = isdigit((unsigned char)*s->p) ? *s->p - '0' : isxdigit((unsigned char)*s->p) ? tolower((unsigned char)*s->p) - 'a' + 10 : 99;
        if (d >= base) return false;
        v = v * (unsigned long)base + (unsigned long)d;
    }
    if (!digits || v > 0x10FFFF || (v >= 0xD800 && v < 0xE000) || (v == 0 && !bytes)) return false;
    if (bytes && digits <= 3) buf_append_char(out, (char)v);
    else put_utf8(out, v);
    return true;
}

static struct node *string_literal(struct parser *s, size_t pos, bool raw, bool bytes) {
    char quote = *s->p;
    bool triple = s->p[1] == quote && s->p[2] == quote;
    struct buf out = BUF_INIT;
    s->p += triple ? 3 : 1;
    for (;;) {
        if (!*s->p || (!triple && (*s->p == '\n' || *s->p == '\r'))) break;
        if (*s->p == quote && (!triple || (s->p[1] == quote && s->p[2] == quote))) {
            struct node *n = node(s, NODE_CONST, pos);
            s->p += triple ? 3 : 1;
            n->value = cel_str(arena_strndup(s->arena, buf_cstr(&out), out.len), out.len);
            if (bytes) n->value.kind = CEL_BYTES;
            buf_release(&out);
            return n;
        }
        if (*s->p == '\\' && !raw) {
            s->p++;
            if (!take_escape(s, &out, bytes)) break;
        } else buf_append_char(&out, *s->p++);
    }
    buf_release(&out);
    return fail(s, pos, "Syntax error: token recognition error");
}

static struct node *number(struct parser *s, bool negative) {
    size_t pos = here(s);
    char *end;
    struct node *n = node(s, NODE_CONST, pos);
    const char *start = s->p;
    if (start[0] == '0' && (start[1] == 'x' || start[1] == 'X') && isxdigit((unsigned char)start[2])) {
        uint64_t v = strtoull(start + 2, &end, 16);
        if (*end == 'u' || *end == 'U') n->value = CEL_VALUE(CEL_UINT, u, v);
        else n->value = CEL_INT_VALUE(negative ? (int64_t)(0 - v) : (int64_t)v);
        s->p = end + (n->value.kind == CEL_UINT);
        return n;
    }
    size_t digits = strspn(start, "0123456789");
    if ((start[digits] == '.' && isdigit((unsigned char)start[digits + 1])) || start[digits] == 'e' || start[digits] == 'E') {
        n->value = CEL_VALUE(CEL_DOUBLE, d, strtod(start, &end));
        if (negative) n->value.d = -n->value.d;
        s->p = end;
        return n;
    }
    const char *text = arena_strndup(s->arena, start, digits);
    s->p = start + digits;
    if (*s->p == 'u' || *s->p == 'U') {
        s->p++;
        n->value.kind = CEL_UINT;
        return str_to_u64(text, &n->value.u) ? n : fail(s, pos, "invalid uint literal");
    }
    n->value.kind = CEL_INT;
    return str_to_i64(negative ? arena_printf(s->arena, "-%s", text) : text, &n->value.i) ? n : fail(s, pos, "invalid int literal");
}

/* ---- names and macros ---- */

static const char *identifier(struct parser *s) {
    skip(s);
    if (*s->p == '`') {
        const char *end = strchr(s->p + 1, '`');
        if (!end) return NULL;
        const char *name = arena_strndup(s->arena, s->p + 1, (size_t)(end - s->p - 1));
        s->p = end + 1;
        return name;
    }
    if (!isalpha((unsigned char)*s->p) && *s->p != '_') return NULL;
    const char *start = s->p;
    while (isalnum((unsigned char)*s->p) || *s->p == '_') s->p++;
    return arena_strndup(s->arena, start, (size_t)(s->p - start));
}

static bool arguments(struct parser *s, struct node *n) {
    if (accept(s, ")")) return true;
    skip(s);
    if (!starts_value(s->p)) return syntax_error(s, an_argument) != NULL;
    do {
        struct node *a = expression(s);
        if (!a) return false;
        push(s, n, a);
    } while (accept(s, ","));
    return expect(s, ")");
}

/* x.all(v, p) and its siblings; the call as it is when it is none. */
static struct node *macro(struct parser *s, struct node *n) {
    static const struct { const char *name; size_t args, variables; enum loop_kind loop; } loops[] = {
        {"all", 2, 1, LOOP_ALL}, {"exists", 2, 1, LOOP_EXISTS}, {"exists_one", 2, 1, LOOP_EXISTS_ONE}, {"map", 2, 1, LOOP_MAP}, {"map", 3, 1, LOOP_MAP}, {"filter", 2, 1, LOOP_FILTER},
        {"all", 3, 2, LOOP_ALL}, {"exists", 3, 2, LOOP_EXISTS}, {"existsOne", 3, 2, LOOP_EXISTS_ONE}, {"existsOne", 2, 1, LOOP_EXISTS_ONE}, {"transformList", 3, 2, LOOP_TO_LIST}, {"transformList", 4, 2, LOOP_TO_LIST},
        {"transformMap", 3, 2, LOOP_TO_MAP}, {"transformMap", 4, 2, LOOP_TO_MAP}, {"transformMapEntry", 3, 2, LOOP_TO_MAP_ENTRY}, {"transformMapEntry", 4, 2, LOOP_TO_MAP_ENTRY},
        {"optMap", 2, 1, LOOP_OPT_MAP}, {"optFlatMap", 2, 1, LOOP_OPT_FLAT_MAP}};
    if (n->target && n->target->kind == NODE_IDENT && strcmp(n->target->name, "cel") == 0 && strcmp(n->name, "bind") == 0 && n->len == 3 && n->args[0]->kind == NODE_IDENT) {
        struct node *b = node(s, NODE_BIND, n->pos);
        b->name = n->args[0]->name;
        b->target = n->args[1];
        push(s, b, n->args[2]);
        return b;
    }
    for (size_t i = 0; n->target && i < ARRAY_LEN(loops); i++) {
        if (strcmp(loops[i].name, n->name) != 0 || loops[i].args != n->len) continue;
        for (size_t v = 0; v < loops[i].variables; v++)
            if (n->args[v]->kind != NODE_IDENT) return fail(s, n->args[v]->pos, "argument must be a simple name");
        struct node *l = node(s, NODE_LOOP, n->pos);
        l->loop = loops[i].loop;
        l->name = n->args[0]->name;
        if (loops[i].variables == 2) l->name2 = n->args[1]->name;
        l->target = n->target;
        push(s, l, n->len - loops[i].variables == 2 ? n->args[loops[i].variables] : NULL);
        push(s, l, n->args[n->len - 1]);
        return l;
    }
    return n;
}

static struct node *has_macro(struct parser *s, struct node *n) {
    if (strcmp(n->name, "has") != 0 || n->len != 1) return n;
    struct node *x = n->args[0];
    if (x->kind != NODE_SELECT) return fail(s, n->args[0]->pos, "invalid argument to has() macro");
    x->kind = NODE_HAS;
    return x;
}

static bool entries(struct parser *s, struct node *n, const char *end, bool fields, bool keyed) {
    struct { const char **items; size_t len; } names = {0};
    struct { bool *items; size_t len; } optional = {0};
    while (!accept(s, end)) {
        bool opt = accept(s, "?");
        const char *name = NULL;
        struct node *key = NULL, *value;
        skip(s);
        if (!*s->p && n->len && !opt) return expect(s, end);
        if (fields && !(name = identifier(s))) return syntax_error(s, "{'}', ',', '?', IDENTIFIER, ESC_IDENTIFIER}") != NULL;
        if (keyed && !fields && !n->len && !opt && !*s->p) return syntax_error(s, "{'[', '{', '}', '(', '.', ',', '-', '!', '?', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}") != NULL;
        if (keyed && !fields && !(key = expression(s))) return false;
        if (keyed && !expect(s, ":")) return false;
        if (!(value = expression(s))) return false;
        if (key) push(s, n, key);
        push(s, n, value);
        *LIST_PUSH(s->arena, &names) = name;
        *LIST_PUSH(s->arena, &optional) = opt;
        if (!accept(s, ",")) {
            if (!accept(s, end)) return syntax_error(s, *end == ']' ? "{']', ','}" : "{'}', ','}") != NULL;
            break;
        }
    }
    n->names = names.items;
    n->optional = optional.items;
    return true;
}

/* a.b.C as the name of a message, or NULL. */
static const char *type_name(struct parser *s, const struct node *n) {
    if (n->kind == NODE_IDENT) return n->name;
    const char *up = n->kind == NODE_SELECT ? type_name(s, n->target) : NULL;
    return up ? arena_printf(s->arena, "%s.%s", up, n->name) : NULL;
}

static bool is_reserved(const char *name) {
    static const char *const reserved[] = {"as", "break", "const", "continue", "else", "for", "function", "if", "import", "in", "let", "loop", "package", "namespace", "return", "var", "void", "while", NULL};
    return str_in(name, reserved);
}

static bool is_keyword(const char *name) { return str_in(name, (const char *const[]){"in", "true", "false", "null", NULL}); }

static struct node *name_or_call(struct parser *s, bool dot) {
    size_t pos = here(s);
    skip(s);
    const char *name = starts_value(s->p) ? identifier(s) : NULL;
    if (!name) return dot ? no_alternative(s) : syntax_error(s, a_value);
    if (strcmp(name, "true") == 0 || strcmp(name, "false") == 0 || strcmp(name, "null") == 0) {
        struct node *n = node(s, NODE_CONST, pos);
        n->value = *name == 'n' ? (struct cel_value){.kind = CEL_NULL} : CEL_BOOL_VALUE(*name == 't');
        return n;
    }
    if (is_reserved(name)) return fail(s, pos, arena_printf(s->arena, "reserved identifier: %s", name));
    struct node *n = node(s, NODE_IDENT, pos);
    n->name = name;
    if (!accept(s, "(")) return n;
    n->kind = NODE_CALL;
    return arguments(s, n) ? has_macro(s, n) : NULL;
}

static struct node *primary(struct parser *s) {
    skip(s);
    size_t pos = here(s);
    char c = *s->p;
    if (accept(s, "(")) {
        struct node *n = expression(s);
        return n && expect(s, ")") ? n : NULL;
    }
    if (accept(s, "[")) {
        struct node *n = node(s, NODE_LIST, pos);
        return entries(s, n, "]", false, false) ? n : NULL;
    }
    if (accept(s, "{")) {
        struct node *n = node(s, NODE_MAP, pos);
        return entries(s, n, "}", false, true) ? n : NULL;
    }
    if (c == '"' || c == '\'') return string_literal(s, pos, false, false);
    size_t prefix = strspn(s->p, "rRbB");
    if (prefix && prefix <= 2 && (s->p[prefix] == '"' || s->p[prefix] == '\'')) {
        bool raw = memchr(s->p, 'r', prefix) || memchr(s->p, 'R', prefix), bytes = memchr(s->p, 'b', prefix) || memchr(s->p, 'B', prefix);
        s->p += prefix;
        return string_literal(s, pos, raw, bytes);
    }
    if (isdigit((unsigned char)c) || (c == '.' && isdigit((unsigned char)s->p[1]))) return number(s, false);
    if (c == '.') s->p++;
    return name_or_call(s, c == '.');
}

static struct node *member(struct parser *s) {
    struct node *n = primary(s);
    while (n) {
        size_t pos;
        skip(s);
        pos = here(s);
        if (*s->p == '.' && isdigit((unsigned char)s->p[1])) return n;
        if (accept(s, ".")) {
            bool optional = accept(s, "?");
            skip(s);
            const char *start = s->p, *name = identifier(s);
            if (name && *start != '`' && is_keyword(name)) {
                s->p = start;
                name = NULL;
            }
            if (!name) return optional ? syntax_error(s, "{IDENTIFIER, ESC_IDENTIFIER}") : no_alternative(s);
            struct node *m = node(s, NODE_SELECT, pos);
            m->name = name;
            m->target = n;
            n = m;
            skip(s);
            size_t open = here(s);
            if (optional) {
                struct node *key = node(s, NODE_CONST, pos);
                key->value = cel_str(name, strlen(name));
                n = call(s, pos, "_?._", m->target, key);
            } else if (accept(s, "(")) {
                m->kind = NODE_CALL;
                m->pos = open; /* where errors of a call point, as upstream's */
                if (!arguments(s, m)) return NULL;
                n = macro(s, m);
            }
        } else if (accept(s, "[")) {
            bool optional = accept(s, "?");
            skip(s);
            if (!optional && !starts_value(s->p)) return syntax_error(s, an_index);
            struct node *i = expression(s);
            if (!i || !expect(s, "]")) return NULL;
            n = call(s, pos, optional ? "_[?_]" : "_[_]", n, i);
        } else if (*s->p == '{' && type_name(s, n)) {
            struct node *m = node(s, NODE_STRUCT, pos);
            m->name = type_name(s, n);
            s->p++;
            if (!entries(s, m, "}", true, true)) return NULL;
            n = m;
        } else return n;
    }
    return NULL;
}

static struct node *unary(struct parser *s) {
    skip(s);
    size_t pos = here(s);
    if (++s->depth > CEL_DEPTH_MAX) return fail(s, pos, "expression recursion limit exceeded: 250");
    struct node *n;
    if (accept(s, "!")) {
        n = unary(s);
        if (n) n = call(s, pos, "!_", n, NULL);
    } else if (*s->p == '-' && isdigit((unsigned char)s->p[1])) {
        s->p++;
        n = number(s, true);
    } else if (accept(s, "-")) {
        n = unary(s);
        if (n) n = call(s, pos, "-_", n, NULL);
    } else n = member(s);
    s->depth--;
    return n;
}

static struct node *binary(struct parser *s, int level) {
    static const struct { const char *token, *name; int level; } ops[] = {{"||", "_||_", 0}, {"&&", "_&&_", 1}, {"<=", "_<=_", 2}, {">=", "_>=_", 2}, {"<", "_<_", 2}, {">", "_>_", 2}, {"==", "_==_", 2}, {"!=", "_!=_", 2},
        {"in", "@in", 2}, {"+", "_+_", 3}, {"-", "_-_", 3}, {"*", "_*_", 4}, {"/", "_/_", 4}, {"%", "_%_", 4}};
    if (level > 4) return unary(s);
    struct node *n = binary(s, level + 1);
    while (n) {
        size_t i = 0;
        skip(s);
        size_t pos = here(s);
        while (i < ARRAY_LEN(ops) && !(ops[i].level == level && accept(s, ops[i].token))) i++;
        if (i == ARRAY_LEN(ops)) return n;
        struct node *right = binary(s, level + 1);
        if (!right) return NULL;
        n = call(s, pos, ops[i].name, n, right);
    }
    return NULL;
}

static struct node *expression(struct parser *s) {
    if (++s->depth > CEL_DEPTH_MAX) return fail(s, here(s), "expression recursion limit exceeded: 250");
    struct node *n = binary(s, 0);
    size_t pos = here(s);
    if (n && accept(s, "?")) {
        struct node *yes = binary(s, 0), *no = yes && expect(s, ":") ? expression(s) : NULL;
        if (!no) n = NULL;
        else {
            n = call(s, pos, "_?_:_", n, yes);
            push(s, n, no);
        }
    }
    s->depth--;
    return n;
}

char *cel_error_at(struct arena *a, const char *text, size_t pos, const char *message) {
    size_t line = 1, start = 0;
    for (size_t i = 0; i < pos && text[i]; i++)
        if (text[i] == '\n') {
            line++;
            start = i + 1;
        }
    int len = (int)strcspn(text + start, "\n"), column = (int)(pos - start);
    char *dots = arena_alloc(a, (size_t)column + 1);
    memset(dots, '.', (size_t)column);
    return arena_printf(a, "ERROR: <input>:%zu:%d: %s\n | %.*s\n | %s^", line, column + 1, message, len, text + start, dots);
}

struct node *cel_parse(struct arena *a, const char *text, const char **ret_error) {
    struct parser s = {.arena = a, .text = text, .p = text};
    struct node *n = expression(&s);
    skip(&s);
    if (n && *s.p) n = syntax_error(&s, "<EOF>");
    if (!n) *ret_error = cel_error_at(a, text, s.error_pos, s.error ? s.error : "Syntax error");
    return n;
}
