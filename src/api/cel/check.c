/* Types of expressions: what surely cannot work is refused before it runs. What is not known is dyn, and goes with everything. */
#include <string.h>
#include "api/cel/internal.h"
#include "base/str.h"

const struct cel_type cel_dyn = {.kind = CEL_DYN}, cel_bool = {.kind = CEL_BOOL}, cel_string = {.kind = CEL_STRING};
static const struct cel_type simple[CEL_ERROR + 1] = {
    [CEL_NULL] = {.kind = CEL_NULL}, [CEL_BOOL] = {.kind = CEL_BOOL}, [CEL_INT] = {.kind = CEL_INT}, [CEL_UINT] = {.kind = CEL_UINT}, [CEL_DOUBLE] = {.kind = CEL_DOUBLE}, [CEL_STRING] = {.kind = CEL_STRING},
    [CEL_BYTES] = {.kind = CEL_BYTES}, [CEL_TIMESTAMP] = {.kind = CEL_TIMESTAMP}, [CEL_DURATION] = {.kind = CEL_DURATION}, [CEL_LIST] = {.kind = CEL_LIST}, [CEL_MAP] = {.kind = CEL_MAP}, [CEL_TYPE] = {.kind = CEL_TYPE},
    [CEL_OPTIONAL] = {.kind = CEL_OPTIONAL}, [CEL_QUANTITY] = {.kind = CEL_QUANTITY}, [CEL_URL] = {.kind = CEL_URL}, [CEL_IP] = {.kind = CEL_IP}, [CEL_CIDR] = {.kind = CEL_CIDR}, [CEL_FORMAT] = {.kind = CEL_FORMAT},
    [CEL_SEMVER] = {.kind = CEL_SEMVER}, [CEL_AUTHORIZER] = {.kind = CEL_AUTHORIZER}, [CEL_AUTHZ_PATH] = {.kind = CEL_AUTHZ_PATH}, [CEL_AUTHZ_GROUP] = {.kind = CEL_AUTHZ_GROUP},
    [CEL_AUTHZ_RESOURCE] = {.kind = CEL_AUTHZ_RESOURCE}, [CEL_AUTHZ_DECISION] = {.kind = CEL_AUTHZ_DECISION}};

/* ---- names of fields that are no identifiers ---- */

static const struct { const char *from, *to; } escapes[] = {{"__", "__underscores__"}, {".", "__dot__"}, {"-", "__dash__"}, {"/", "__slash__"}};
static const char *const keywords[] = {"true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package", "namespace", "return", "var", "void", "while", NULL};

const char *cel_escape_name(struct arena *a, const char *name) {
    struct buf out = BUF_INIT;
    if (str_in(name, keywords)) return arena_printf(a, "__%s__", name);
    bool ok = *name && !(*name >= '0' && *name <= '9');
    for (const char *p = name; *p && ok;) {
        size_t i = 0;
        while (i < ARRAY_LEN(escapes) && !str_has_prefix(p, escapes[i].from)) i++;
        if (i < ARRAY_LEN(escapes)) {
            buf_append_str(&out, escapes[i].to);
            p += strlen(escapes[i].from);
        } else {
            ok = strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_$", *p) != NULL && *p != '$';
            buf_append_char(&out, *p++);
        }
    }
    const char *text = ok ? arena_strdup(a, out.data) : NULL;
    buf_release(&out);
    return text;
}

const char *cel_unescape_name(struct arena *a, const char *name) {
    size_t len = strlen(name);
    if (len > 4 && str_has_prefix(name, "__") && strcmp(name + len - 2, "__") == 0) {
        const char *word = arena_strndup(a, name + 2, len - 4);
        if (str_in(word, keywords)) return word;
    }
    struct buf out = BUF_INIT;
    while (*name) {
        size_t i = 0;
        while (i < ARRAY_LEN(escapes) && !str_has_prefix(name, escapes[i].to)) i++;
        if (i < ARRAY_LEN(escapes)) {
            buf_append_str(&out, escapes[i].from);
            name += strlen(escapes[i].to);
        } else buf_append_char(&out, *name++);
    }
    const char *text = arena_strdup(a, buf_cstr(&out));
    buf_release(&out);
    return text;
}

/* ---- types of schemas ---- */

static const struct cel_type *make(struct arena *a, struct cel_type t) { return arena_memdup(a, &t, sizeof(t)); }

const struct cel_type *cel_type_of_schema(struct arena *a, const struct structural *s, bool resource) {
    const char *type = s ? s->props->type : NULL, *format = s ? s->props->format : NULL;
    if (!s) return NULL;
    if (s->int_or_string) return &cel_dyn;
    if (str_eq(type, "array")) {
        const struct cel_type *elem = s->items ? cel_type_of_schema(a, s->items, s->items->embedded) : NULL;
        return elem ? make(a, (struct cel_type){.kind = CEL_LIST, .elem = elem}) : NULL;
    }
    if (str_eq(type, "object")) {
        if (!s->additional) return make(a, (struct cel_type){.kind = CEL_OBJECT, .schema = s, .resource = resource});
        const struct cel_type *elem = cel_type_of_schema(a, s->additional, s->additional->embedded);
        return elem ? make(a, (struct cel_type){.kind = CEL_MAP, .key = &cel_string, .elem = elem}) : NULL;
    }
    if (str_eq(type, "string")) {
        if (str_eq(format, "date") || str_eq(format, "date-time")) return &simple[CEL_TIMESTAMP];
        return str_eq(format, "duration") ? &simple[CEL_DURATION] : str_eq(format, "byte") ? &simple[CEL_BYTES] : &cel_string;
    }
    if (str_eq(type, "boolean")) return &cel_bool;
    return str_eq(type, "integer") ? &simple[CEL_INT] : str_eq(type, "number") ? &simple[CEL_DOUBLE] : NULL;
}

const char *cel_type_text(struct arena *a, const struct cel_type *t) {
    const struct cel_value v = {.kind = t->kind};
    if (t->kind == CEL_LIST) return arena_printf(a, "list(%s)", cel_type_text(a, t->elem ? t->elem : &cel_dyn));
    if (t->kind == CEL_MAP) return arena_printf(a, "map(%s, %s)", cel_type_text(a, t->key ? t->key : &cel_dyn), cel_type_text(a, t->elem ? t->elem : &cel_dyn));
    if (t->kind == CEL_OPTIONAL) return arena_printf(a, "optional_type(%s)", cel_type_text(a, t->elem ? t->elem : &cel_dyn));
    if (t->kind == CEL_NULL) return "null";
    if (t->name) return t->name; /* also of a message that is made, of which no fields are known */
    return cel_kind_name(&v);
}

/* ---- checking ---- */

struct local { const struct local *up; const char *name; const struct cel_type *type; };
struct checker { struct arena *arena; const struct cel_env *env; const char *text; struct buf errors; };

static const struct cel_type *check(struct checker *c, struct node *n, const struct local *locals);

static const struct cel_type *report(struct checker *c, const struct node *n, const char *message) {
    buf_printf(&c->errors, "%s%s", c->errors.len ? "\n" : "", cel_error_at(c->arena, c->text, n->pos, message));
    return &cel_dyn;
}

static const struct cel_type *elem_of(const struct cel_type *t) { return t->elem ? t->elem : &cel_dyn; }

/* Whether a value of one type can be where the other is wanted, or equal it. */
static bool fits(const struct cel_type *x, const struct cel_type *y) {
    if (x->kind == CEL_DYN || y->kind == CEL_DYN) return true;
    if (x->kind == CEL_NULL || y->kind == CEL_NULL) {
        enum cel_kind k = x->kind == CEL_NULL ? y->kind : x->kind;
        return k == CEL_NULL || k == CEL_OBJECT || k == CEL_TIMESTAMP || k == CEL_DURATION || k >= CEL_OPTIONAL;
    }
    if ((x->kind == CEL_OBJECT && y->kind == CEL_MAP) || (x->kind == CEL_MAP && y->kind == CEL_OBJECT)) return false;
    if (x->kind != y->kind) return false;
    if (x->kind == CEL_LIST || x->kind == CEL_OPTIONAL) return fits(elem_of(x), elem_of(y));
    if (x->kind == CEL_MAP) return fits(x->key ? x->key : &cel_dyn, y->key ? y->key : &cel_dyn) && fits(elem_of(x), elem_of(y));
    return true;
}

static const struct cel_type *ident(struct checker *c, const struct node *n, const struct local *locals) {
    static const char *const types[] = {"bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type", "type", NULL};
    for (; locals; locals = locals->up)
        if (strcmp(locals->name, n->name) == 0) return locals->type;
    for (const struct cel_variable *v = c->env->variables; v && v->name; v++)
        if (strcmp(v->name, n->name) == 0) return v->type;
    if (str_in(n->name, types)) return &simple[CEL_TYPE];
    return report(c, n, arena_printf(c->arena, "undeclared reference to '%s' (in container '')", n->name));
}

static const struct cel_type *object_field(struct checker *c, const struct cel_type *t, const char *name) {
    const char *plain = cel_unescape_name(c->arena, name);
    for (const struct cel_variable *v = t->fields; v && v->name; v++)
        if (strcmp(v->name, plain) == 0) return v->type;
    const struct structural *p = structural_property(t->schema, plain);
    if (t->resource && (strcmp(plain, "apiVersion") == 0 || strcmp(plain, "kind") == 0)) return &cel_string;
    if (t->resource && strcmp(plain, "metadata") == 0) {
        static const struct apiextensionsv1_JSONSchemaProps text = {.type = "string"}, object = {.type = "object"};
        static struct structural string = {.props = &text};
        static const char *names[] = {"generateName", "name"};
        static struct structural *items[] = {&string, &string};
        static const struct structural metadata = {.props = &object, .properties = {names, items, 2}};
        return make(c->arena, (struct cel_type){.kind = CEL_OBJECT, .schema = &metadata});
    }
    return p ? cel_type_of_schema(c->arena, p, p->embedded) : NULL;
}

static const struct cel_type *field(struct checker *c, const struct node *n, const struct cel_type *from, const char *name) {
    if (from->kind == CEL_DYN) return &cel_dyn;
    if (from->kind == CEL_MAP) return elem_of(from);
    if (from->kind == CEL_AUTHORIZER && strcmp(name, "requestResource") == 0) return &simple[CEL_AUTHZ_RESOURCE];
    if (from->kind == CEL_OPTIONAL) return make(c->arena, (struct cel_type){.kind = CEL_OPTIONAL, .elem = field(c, n, elem_of(from), name)});
    if (from->kind != CEL_OBJECT) return report(c, n, arena_printf(c->arena, "type '%s' does not support field selection", cel_type_text(c->arena, from)));
    const struct cel_type *t = object_field(c, from, name);
    return t ? t : report(c, n, arena_printf(c->arena, "undefined field '%s'", name));
}

/* ---- calls: the overload that fits ---- */

static const struct cel_type *letter_type(char l) {
    switch (l) {
        case 'b': return &cel_bool;
        case 'i': return &simple[CEL_INT];
        case 'u': return &simple[CEL_UINT];
        case 'd': return &simple[CEL_DOUBLE];
        case 's': return &cel_string;
        case 'y': return &simple[CEL_BYTES];
        case 't': return &simple[CEL_TIMESTAMP];
        case 'D': return &simple[CEL_DURATION];
        case 'L': return &simple[CEL_LIST];
        case 'M': return &simple[CEL_MAP];
        case 'T': return &simple[CEL_TYPE];
        case 'O': return &simple[CEL_OPTIONAL];
        case 'Q': return &simple[CEL_QUANTITY];
        case 'U': return &simple[CEL_URL];
        case 'I': return &simple[CEL_IP];
        case 'C': return &simple[CEL_CIDR];
        case 'F': return &simple[CEL_FORMAT];
        case 'V': return &simple[CEL_SEMVER];
        case 'Z': return &simple[CEL_AUTHORIZER];
        case 'P': return &simple[CEL_AUTHZ_PATH];
        case 'G': return &simple[CEL_AUTHZ_GROUP];
        case 'R': return &simple[CEL_AUTHZ_RESOURCE];
        case 'N': return &simple[CEL_AUTHZ_DECISION];
        default: return &cel_dyn;
    }
}

static bool matches(const struct cel_overload *o, const struct cel_type *const *args, size_t len) {
    if (strlen(o->params) != len) return false;
    for (size_t i = 0; i < len; i++)
        if (!fits(args[i], letter_type(o->params[i]))) return false;
    return true;
}

static const struct cel_type *result_of(struct checker *c, const struct cel_overload *o, const struct cel_type *const *args) {
    if (o->result[0] == 'e') return elem_of(args[0]);                 /* the element of the first */
    if (o->result[0] == 'A') return args[0];                          /* the first's type */
    if (o->result[0] == 'L' && o->result[1]) return make(c->arena, (struct cel_type){.kind = CEL_LIST, .elem = letter_type(o->result[1])});
    if (o->result[0] == 'O' && o->result[1] == 'A') return make(c->arena, (struct cel_type){.kind = CEL_OPTIONAL, .elem = args[1]});
    if (o->result[0] == 'O' && o->result[1]) return make(c->arena, (struct cel_type){.kind = CEL_OPTIONAL, .elem = letter_type(o->result[1])});
    return letter_type(o->result[0]);
}

static const struct cel_type *no_match(struct checker *c, const struct node *n, const struct cel_type *const *args, size_t len) {
    struct buf text = BUF_INIT;
    bool method = n->target != NULL;
    buf_printf(&text, "found no matching overload for '%s' applied to '", n->name);
    if (method) buf_printf(&text, "%s.(", cel_type_text(c->arena, args[0]));
    else buf_append_char(&text, '(');
    for (size_t i = method; i < len; i++) buf_printf(&text, "%s%s", i > (size_t)method ? ", " : "", cel_type_text(c->arena, args[i]));
    buf_append_str(&text, ")'");
    const struct cel_type *t = report(c, n, arena_strdup(c->arena, text.data));
    buf_release(&text);
    return t;
}

static bool is_namespace(const struct node *n) {
    static const char *const names[] = {"optional", "sets", "ip", "format", "strings", NULL};
    return n && n->kind == NODE_IDENT && str_in(n->name, names);
}

static const struct cel_type *index_type(struct checker *c, struct node *n, const struct cel_type *const *args, bool optional) {
    const struct cel_type *from = args[0], *t = &cel_dyn;
    if (from->kind == CEL_OPTIONAL) {
        from = elem_of(from);
        optional = true;
    }
    if (from->kind == CEL_LIST && fits(args[1], &simple[CEL_INT])) t = elem_of(from);
    else if (from->kind == CEL_MAP && fits(args[1], from->key ? from->key : &cel_dyn)) t = elem_of(from);
    else if (from->kind == CEL_OBJECT && n->args[1]->kind == NODE_CONST && strcmp(n->name, "_?._") == 0) t = field(c, n, from, n->args[1]->value.str.s);
    else if (from->kind != CEL_DYN) return no_match(c, n, args, 2);
    return optional ? make(c->arena, (struct cel_type){.kind = CEL_OPTIONAL, .elem = t}) : t;
}

static const struct cel_type *call(struct checker *c, struct node *n, const struct local *locals) {
    bool method = n->target != NULL, known = false;
    size_t len = n->len + method;
    const struct cel_type **args = arena_calloc(c->arena, len, sizeof(*args));
    if (method) args[0] = is_namespace(n->target) ? (n->target->type = &simple[CEL_TYPE]) : check(c, n->target, locals);
    for (size_t i = 0; i < n->len; i++) args[i + method] = check(c, n->args[i], locals);
    if (strcmp(n->name, "_[_]") == 0) return index_type(c, n, args, false);
    if (strcmp(n->name, "_[?_]") == 0 || strcmp(n->name, "_?._") == 0) return index_type(c, n, args, true);
    if (strcmp(n->name, "_==_") == 0 || strcmp(n->name, "_!=_") == 0) return fits(args[0], args[1]) ? &cel_bool : no_match(c, n, args, 2);
    if (strcmp(n->name, "_?_:_") == 0) return !fits(args[0], &cel_bool) || !fits(args[1], args[2]) ? no_match(c, n, args, 3) : args[1]->kind == CEL_DYN || args[1]->kind == CEL_NULL ? args[2] : args[1];
    if (strcmp(n->name, "@in") == 0) {
        const struct cel_type *item = args[1]->kind == CEL_MAP ? (args[1]->key ? args[1]->key : &cel_dyn) : elem_of(args[1]);
        bool container = args[1]->kind == CEL_LIST || args[1]->kind == CEL_MAP || args[1]->kind == CEL_DYN;
        return container && fits(args[0], item) ? &cel_bool : no_match(c, n, args, 2);
    }
    if (strcmp(n->name, "_+_") == 0 && args[0]->kind == CEL_LIST && args[1]->kind == CEL_LIST) return fits(args[0], args[1]) ? args[0] : no_match(c, n, args, 2);
    for (const struct cel_overload *o = cel_overloads; o->name; o++) {
        if (o->method != method || strcmp(o->name, n->name) != 0) continue;
        known = true;
        if (matches(o, args, len)) return args[0]->kind == CEL_DYN && !method && n->name[0] == '_' && strchr("+-*/%", n->name[1]) ? &cel_dyn : result_of(c, o, args);
    }
    if (!known) return report(c, n, arena_printf(c->arena, "undeclared reference to '%s' (in container '')", n->name));
    return no_match(c, n, args, len);
}

/* ---- the rest ---- */

static const struct cel_type *join(const struct cel_type *x, const struct cel_type *y) { return !x ? y : x->kind == y->kind && fits(x, y) ? x : &cel_dyn; }

static const struct cel_type *literal(struct checker *c, struct node *n, const struct local *locals) {
    const struct cel_type *key = NULL, *elem = NULL;
    bool map = n->kind == NODE_MAP;
    for (size_t i = 0; i < n->len; i++) {
        const struct cel_type *t = check(c, n->args[i], locals);
        size_t entry = map ? i / 2 : i;
        bool value = !map || i % 2;
        if (value && n->optional && n->optional[entry] && t->kind == CEL_OPTIONAL) t = elem_of(t);
        if (value) elem = join(elem, t);
        else key = join(key, t);
    }
    return make(c->arena, (struct cel_type){.kind = map ? CEL_MAP : CEL_LIST, .key = key, .elem = elem});
}

static const struct cel_type *message(struct checker *c, struct node *n, const struct local *locals) {
    bool known = false;
    for (const char *const *m = c->env->messages; m && *m; m++) known |= strcmp(*m, n->name) == 0 || (str_has_prefix(n->name, *m) && n->name[strlen(*m)] == '.');
    if (!known) return report(c, n, arena_printf(c->arena, "undeclared reference to '%s' (in container '')", n->name));
    for (size_t i = 0; i < n->len; i++) check(c, n->args[i], locals);
    return make(c->arena, (struct cel_type){.kind = CEL_DYN, .name = n->name});
}

static const struct cel_type *loop(struct checker *c, struct node *n, const struct local *locals) {
    const struct cel_type *range = check(c, n->target, locals), *first, *second;
    bool optional = n->loop == LOOP_OPT_MAP || n->loop == LOOP_OPT_FLAT_MAP;
    if (range->kind != CEL_DYN && (optional ? range->kind != CEL_OPTIONAL : range->kind != CEL_LIST && range->kind != CEL_MAP))
        return report(c, n->target, arena_printf(c->arena, "expression of type '%s' cannot be range of a comprehension (must be list, map, or dynamic)", cel_type_text(c->arena, range)));
    const struct cel_type *key = range->kind == CEL_MAP ? (range->key ? range->key : &cel_dyn) : range->kind == CEL_LIST ? &simple[CEL_INT] : &cel_dyn;
    first = n->name2 || range->kind == CEL_MAP ? key : elem_of(range);
    second = elem_of(range);
    struct local outer = {locals, n->name2 ? n->name2 : n->name, n->name2 ? second : first}, inner = {&outer, n->name, first};
    const struct cel_type *filter = n->args[0] ? check(c, n->args[0], &inner) : &cel_bool, *body = check(c, n->args[1], &inner);
    if (!fits(filter, &cel_bool)) report(c, n->args[0], arena_printf(c->arena, "expected type 'bool' but found '%s'", cel_type_text(c->arena, filter)));
    bool logic = n->loop == LOOP_ALL || n->loop == LOOP_EXISTS || n->loop == LOOP_EXISTS_ONE;
    if ((logic || n->loop == LOOP_FILTER) && !fits(body, &cel_bool)) report(c, n->args[1], arena_printf(c->arena, "expected type 'bool' but found '%s'", cel_type_text(c->arena, body)));
    if (logic) return &cel_bool;
    if (n->loop == LOOP_FILTER) return make(c->arena, (struct cel_type){.kind = CEL_LIST, .elem = first});
    if (n->loop == LOOP_MAP || n->loop == LOOP_TO_LIST) return make(c->arena, (struct cel_type){.kind = CEL_LIST, .elem = body});
    if (n->loop == LOOP_OPT_MAP) return make(c->arena, (struct cel_type){.kind = CEL_OPTIONAL, .elem = body});
    return n->loop == LOOP_TO_MAP ? make(c->arena, (struct cel_type){.kind = CEL_MAP, .key = first, .elem = body}) : &cel_dyn;
}

static const struct cel_type *check(struct checker *c, struct node *n, const struct local *locals) {
    const struct cel_type *t = &cel_dyn;
    switch (n->kind) {
        case NODE_CONST: t = &simple[n->value.kind]; break;
        case NODE_IDENT: t = ident(c, n, locals); break;
        case NODE_SELECT: t = field(c, n, check(c, n->target, locals), n->name); break;
        case NODE_HAS:
            field(c, n, check(c, n->target, locals), n->name);
            t = &cel_bool;
            break;
        case NODE_CALL: t = call(c, n, locals); break;
        case NODE_LIST: case NODE_MAP: t = literal(c, n, locals); break;
        case NODE_STRUCT: t = message(c, n, locals); break;
        case NODE_LOOP: t = loop(c, n, locals); break;
        case NODE_BIND: {
            if (!c->env->bindings) report(c, n, "undeclared reference to 'cel' (in container '')");
            struct local inner = {locals, n->name, check(c, n->target, locals)};
            t = check(c, n->args[0], &inner);
            break;
        }
    }
    n->type = t;
    return t;
}

const struct cel_type *cel_check(struct arena *a, const struct cel_env *env, const char *text, struct node *root, const char **ret_error) {
    struct checker c = {.arena = a, .env = env, .text = text};
    const struct cel_type *t = check(&c, root, NULL);
    if (c.errors.len) {
        *ret_error = arena_strdup(a, c.errors.data);
        t = NULL;
    }
    buf_release(&c.errors);
    return t;
}
