/* Walking the tree. An error is a value that goes up; || and && forgive it when the other side decides. */
#include <string.h>
#include "api/cel/internal.h"
#include "base/str.h"

struct scope { const struct scope *up; const char *name; struct cel_value value; };
struct eval {
    struct arena *arena;
    const struct cel_activation *act;
    uint64_t cost, limit;
};

static struct cel_value eval(struct eval *e, const struct node *n, const struct scope *scope);

static bool spend(struct eval *e, uint64_t cost) {
    e->cost += cost;
    return e->cost <= e->limit;
}

static struct cel_value exhausted(struct eval *e) { return cel_error(e->arena, "operation cancelled: actual cost limit exceeded"); }
static struct cel_value no_overload(struct eval *e) { return cel_error(e->arena, "no such overload"); }

static bool is_truth(const struct cel_value *v, bool want) { return v->kind == CEL_BOOL && v->b == want; }

/* ---- names and fields ---- */

static struct cel_value type_value(const char *name) { return (struct cel_value){.kind = CEL_TYPE, .str = {name, strlen(name)}}; }

static struct cel_value lookup(struct eval *e, const char *name, const struct scope *scope) {
    static const char *const types[] = {"bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type", "type", "google.protobuf.Timestamp", "google.protobuf.Duration"};
    struct cel_value v;
    for (; scope; scope = scope->up)
        if (strcmp(scope->name, name) == 0) return scope->value;
    for (const struct cel_binding *b = e->act->bindings; b && b->name; b++)
        if (strcmp(b->name, name) == 0) return b->value;
    if (e->act->resolve && e->act->resolve(e->act->arg, e->arena, name, &v)) return v;
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (strcmp(types[i], name) == 0) return type_value(types[i]);
    return cel_error(e->arena, "no such attribute(s): %s", name);
}

static const char *key_text(struct arena *a, const struct cel_value *k) {
    if (k->kind == CEL_STRING) return arena_strndup(a, k->str.s, k->str.len);
    if (k->kind == CEL_INT) return arena_printf(a, "%lld", (long long)k->i);
    if (k->kind == CEL_BOOL) return k->b ? "true" : "false";
    return cel_kind_name(k);
}

static bool find(struct eval *e, const struct cel_value *from, const struct cel_value *key, struct cel_value *ret) {
    if (from->kind == CEL_MAP) return cel_map_get(e->arena, from, key, ret);
    if (key->kind == CEL_INT && key->i >= 0) return cel_list_at(e->arena, from, (size_t)key->i, ret);
    if (key->kind == CEL_DOUBLE && key->d >= 0 && key->d == (double)(int64_t)key->d) return cel_list_at(e->arena, from, (size_t)key->d, ret);
    return key->kind == CEL_UINT && cel_list_at(e->arena, from, (size_t)key->u, ret);
}

static struct cel_value some(struct arena *a, const struct cel_value *v) { return CEL_VALUE(CEL_OPTIONAL, opt, arena_memdup(a, v, sizeof(*v))); }

/* x[key] and x.key; of an optional x, an optional. */
static struct cel_value get(struct eval *e, const struct cel_value *from, const struct cel_value *key, bool optional) {
    struct cel_value v;
    if (from->kind == CEL_OPTIONAL) {
        if (!from->opt) return *from;
        from = from->opt;
        optional = true;
    }
    if (from->kind != CEL_MAP && from->kind != CEL_LIST) return no_overload(e);
    if (find(e, from, key, &v)) return optional ? some(e->arena, &v) : v;
    if (optional) return (struct cel_value){.kind = CEL_OPTIONAL};
    if (from->kind == CEL_LIST) return cel_error(e->arena, "index out of bounds: %s", key_text(e->arena, key));
    return cel_error(e->arena, "no such key: %s", key_text(e->arena, key));
}

static struct cel_value eval_select(struct eval *e, const struct node *n, const struct scope *scope) {
    struct cel_value from = eval(e, n->target, scope), key = cel_str(n->name, strlen(n->name)), v;
    if (from.kind == CEL_ERROR) return from;
    if (from.kind == CEL_AUTHORIZER && strcmp(n->name, "requestResource") == 0 && from.authorizer->request_resource)
        return n->kind == NODE_HAS ? CEL_BOOL_VALUE(true) : CEL_VALUE(CEL_AUTHZ_RESOURCE, authorizer, from.authorizer->request_resource);
    if (n->kind != NODE_HAS) return get(e, &from, &key, false);
    if (from.kind == CEL_OPTIONAL) {
        if (!from.opt) return CEL_BOOL_VALUE(false);
        from = *from.opt;
    }
    return from.kind == CEL_MAP ? CEL_BOOL_VALUE(find(e, &from, &key, &v)) : no_overload(e);
}

/* ---- operators that do not need all of their operands ---- */

static struct cel_value eval_logic(struct eval *e, const struct node *n, const struct scope *scope, bool decides) {
    struct cel_value x = eval(e, n->args[0], scope);
    if (is_truth(&x, decides)) return x;
    struct cel_value y = eval(e, n->args[1], scope);
    if (is_truth(&y, decides)) return y;
    if (x.kind == CEL_ERROR) return x;
    if (y.kind == CEL_ERROR) return y;
    return x.kind == CEL_BOOL && y.kind == CEL_BOOL ? CEL_BOOL_VALUE(!decides) : no_overload(e);
}

static struct cel_value eval_call(struct eval *e, const struct node *n, const struct scope *scope) {
    if (strcmp(n->name, "_||_") == 0) return eval_logic(e, n, scope, true);
    if (strcmp(n->name, "_&&_") == 0) return eval_logic(e, n, scope, false);
    if (strcmp(n->name, "_?_:_") == 0) {
        struct cel_value c = eval(e, n->args[0], scope);
        if (c.kind == CEL_ERROR) return c;
        return c.kind == CEL_BOOL ? eval(e, n->args[c.b ? 1 : 2], scope) : no_overload(e);
    }
    bool method = n->target != NULL;
    size_t len = n->len + method;
    struct cel_value few[4], *args = len <= ARRAY_LEN(few) ? few : arena_calloc(e->arena, len, sizeof(*args)), v;
    if (method && n->target->kind == NODE_IDENT && strcmp(n->target->name, "optional") == 0) args[0] = type_value("optional");
    else if (method && n->target->kind == NODE_IDENT && (strcmp(n->target->name, "sets") == 0 || strcmp(n->target->name, "ip") == 0 || strcmp(n->target->name, "format") == 0 || strcmp(n->target->name, "strings") == 0))
        args[0] = type_value(n->target->name); /* a function within a namespace */
    else if (method) args[0] = eval(e, n->target, scope);
    for (size_t i = 0; i < n->len; i++) args[i + method] = eval(e, n->args[i], scope);
    for (size_t i = 0; i < len; i++)
        if (args[i].kind == CEL_ERROR) return args[i];
    if (strcmp(n->name, "_[_]") == 0) return get(e, &args[0], &args[1], false);
    if (strcmp(n->name, "_[?_]") == 0 || strcmp(n->name, "_?._") == 0) return get(e, &args[0], &args[1], true);
    struct call c = {e->arena, n->name, method, args, len, 1, e->act->now_s};
    bool known = cel_call_standard(&c, &v) || cel_call_strings(&c, &v) || cel_call_lists(&c, &v) || cel_call_kubernetes(&c, &v) || cel_call_authorizer(&c, &v);
    if (!spend(e, c.cost)) return exhausted(e);
    return known ? v : no_overload(e);
}

/* ---- making lists, maps and messages ---- */

static bool skip_optional(const struct node *n, size_t i, struct cel_value *v) {
    if (!n->optional || !n->optional[i] || v->kind != CEL_OPTIONAL) return false;
    if (!v->opt) return true;
    *v = *v->opt;
    return false;
}

static struct cel_value eval_list(struct eval *e, const struct node *n, const struct scope *scope) {
    struct cel_value list = cel_list_new(e->arena);
    if (!spend(e, 10)) return exhausted(e);
    for (size_t i = 0; i < n->len; i++) {
        struct cel_value v = eval(e, n->args[i], scope);
        if (v.kind == CEL_ERROR) return v;
        if (!skip_optional(n, i, &v)) cel_list_push(e->arena, &list, &v);
    }
    return list;
}

static void put(struct arena *a, struct cel_value *map, const struct cel_value *k, const struct cel_value *v) {
    *LIST_PUSH(a, map->map) = (struct cel_entry){arena_memdup(a, k, sizeof(*k)), arena_memdup(a, v, sizeof(*v))};
}

static struct cel_value eval_map(struct eval *e, const struct node *n, const struct scope *scope) {
    struct cel_value map = CEL_VALUE(CEL_MAP, map, ARENA_NEW(e->arena, struct cel_map)), there;
    bool message = n->kind == NODE_STRUCT;
    if (message) map.name = n->name;
    if (!spend(e, message ? 40 : 30)) return exhausted(e);
    for (size_t i = 0; i < n->len; i += message ? 1 : 2) {
        size_t entry = message ? i : i / 2;
        struct cel_value k = message ? cel_str(n->names[i], strlen(n->names[i])) : eval(e, n->args[i], scope), v = eval(e, n->args[message ? i : i + 1], scope);
        if (k.kind == CEL_ERROR) return k;
        if (v.kind == CEL_ERROR) return v;
        if (skip_optional(n, entry, &v)) continue;
        if (cel_map_get(e->arena, &map, &k, &there)) return cel_error(e->arena, "Failed with repeated key %s", key_text(e->arena, &k));
        put(e->arena, &map, &k, &v);
    }
    return map;
}

/* ---- loops ---- */

struct cursor { const struct cel_value *range; size_t i; yyjson_arr_iter list; yyjson_obj_iter map; };

static bool next(struct eval *e, struct cursor *c, bool pair, struct cel_value *first, struct cel_value *second) {
    const struct cel_value *r = c->range;
    struct cel_value key, value;
    if (r->json && r->kind == CEL_LIST) {
        yyjson_val *v = yyjson_arr_iter_next(&c->list);
        if (!v) return false;
        key = CEL_INT_VALUE((int64_t)c->i);
        value = cel_from_json(e->arena, v, r->schema ? r->schema->items : NULL);
    } else if (r->json) {
        yyjson_val *k = yyjson_obj_iter_next(&c->map);
        if (!k) return false;
        const char *name = yyjson_get_str(k);
        if (r->schema && r->schema->properties.len && cel_escape_name(e->arena, name)) name = cel_escape_name(e->arena, name);
        key = cel_str(name, strlen(name));
        value = cel_from_json(e->arena, yyjson_obj_iter_get_val(k), structural_member(r->schema, yyjson_get_str(k)));
    } else if (r->kind == CEL_LIST) {
        key = CEL_INT_VALUE((int64_t)c->i);
        if (!cel_list_at(e->arena, r, c->i, &value)) return false;
    } else if (!cel_map_entry(e->arena, r, c->i, &key, &value)) return false;
    c->i++;
    *first = pair || r->kind == CEL_MAP ? key : value;
    *second = value;
    return true;
}

struct looped { struct cel_value result, error; bool done; size_t hits; };

static void loop_logic(const struct cel_value *v, struct looped *l, bool decides) {
    if (is_truth(v, decides)) {
        l->result = *v;
        l->error.kind = CEL_DYN;
        l->done = true;
    } else if (v->kind == CEL_ERROR && l->error.kind != CEL_ERROR) l->error = *v;
}

static bool add_entries(struct eval *e, struct cel_value *to, const struct cel_value *from) {
    struct cel_value k, v;
    if (from->kind != CEL_MAP) return false;
    for (size_t i = 0; cel_map_entry(e->arena, from, i, &k, &v); i++) put(e->arena, to, &k, &v);
    return true;
}

static void loop_once(struct eval *e, const struct node *n, const struct scope *inner, const struct cel_value *item, struct looped *l) {
    const struct node *filter = n->args[0], *body = n->args[1];
    struct cel_value keep = filter ? eval(e, filter, inner) : CEL_BOOL_VALUE(true);
    struct cel_value v = keep.kind == CEL_ERROR ? keep : !is_truth(&keep, true) ? keep : eval(e, body, inner);
    switch (n->loop) {
        case LOOP_ALL: loop_logic(&v, l, false); return;
        case LOOP_EXISTS: loop_logic(&v, l, true); return;
        case LOOP_EXISTS_ONE: l->hits += is_truth(&v, true); break;
        case LOOP_FILTER:
            if (is_truth(&v, true)) cel_list_push(e->arena, &l->result, item);
            break;
        case LOOP_MAP: case LOOP_TO_LIST:
            if (is_truth(&keep, true) && v.kind != CEL_ERROR) cel_list_push(e->arena, &l->result, &v);
            break;
        case LOOP_TO_MAP:
            if (is_truth(&keep, true) && v.kind != CEL_ERROR) put(e->arena, &l->result, &inner->value, &v);
            break;
        case LOOP_TO_MAP_ENTRY:
            if (is_truth(&keep, true) && v.kind != CEL_ERROR && !add_entries(e, &l->result, &v)) v = no_overload(e);
            break;
        default: break;
    }
    if (v.kind == CEL_ERROR) {
        l->error = v;
        l->done = true;
    }
}

static struct cel_value opt_map(struct eval *e, const struct node *n, const struct cel_value *range, const struct scope *scope) {
    if (range->kind != CEL_OPTIONAL) return no_overload(e);
    if (!range->opt) return *range;
    struct scope inner = {scope, n->name, *range->opt};
    struct cel_value v = eval(e, n->args[1], &inner);
    if (v.kind == CEL_ERROR || n->loop == LOOP_OPT_FLAT_MAP) return v;
    return some(e->arena, &v);
}

static struct cel_value eval_loop(struct eval *e, const struct node *n, const struct scope *scope) {
    struct cel_value range = eval(e, n->target, scope), first, second;
    if (range.kind == CEL_ERROR) return range;
    if (n->loop == LOOP_OPT_MAP || n->loop == LOOP_OPT_FLAT_MAP) return opt_map(e, n, &range, scope);
    if (range.kind != CEL_LIST && range.kind != CEL_MAP) return no_overload(e);
    struct looped l = {.result = n->loop == LOOP_ALL ? CEL_BOOL_VALUE(true) : CEL_BOOL_VALUE(false)};
    if (n->loop == LOOP_MAP || n->loop == LOOP_FILTER || n->loop == LOOP_TO_LIST) l.result = cel_list_new(e->arena);
    if (n->loop == LOOP_TO_MAP || n->loop == LOOP_TO_MAP_ENTRY) l.result = CEL_VALUE(CEL_MAP, map, ARENA_NEW(e->arena, struct cel_map));
    struct cursor c = {.range = &range};
    if (range.json && range.kind == CEL_LIST) yyjson_arr_iter_init(range.json, &c.list);
    else if (range.json) yyjson_obj_iter_init(range.json, &c.map);
    while (!l.done && next(e, &c, n->name2 != NULL, &first, &second)) {
        struct scope outer = {scope, n->name2 ? n->name2 : "", second}, inner = {n->name2 ? &outer : scope, n->name, first};
        if (!spend(e, 2)) return exhausted(e);
        loop_once(e, n, &inner, n->name2 ? &second : &first, &l);
    }
    if (l.error.kind == CEL_ERROR) return l.error;
    return n->loop == LOOP_EXISTS_ONE ? CEL_BOOL_VALUE(l.hits == 1) : l.result;
}

static struct cel_value eval(struct eval *e, const struct node *n, const struct scope *scope) {
    if (n->kind != NODE_CONST && !spend(e, n->kind == NODE_CALL ? 0 : 1)) return exhausted(e);
    switch (n->kind) {
        case NODE_CONST: return n->value;
        case NODE_IDENT: return lookup(e, n->name, scope);
        case NODE_SELECT: case NODE_HAS: return eval_select(e, n, scope);
        case NODE_CALL: return eval_call(e, n, scope);
        case NODE_LIST: return eval_list(e, n, scope);
        case NODE_MAP: case NODE_STRUCT: return eval_map(e, n, scope);
        case NODE_LOOP: return eval_loop(e, n, scope);
        case NODE_BIND: {
            struct scope inner = {scope, n->name, eval(e, n->target, scope)};
            return eval(e, n->args[0], &inner);
        }
    }
    return no_overload(e);
}

struct cel_value cel_eval(struct arena *a, const struct cel_program *p, const struct cel_activation *act, uint64_t limit, uint64_t *cost) {
    struct eval e = {.arena = a, .act = act, .limit = limit};
    struct cel_value v = eval(&e, p->root, NULL);
    if (cost) *cost += e.cost;
    return e.cost > limit ? exhausted(&e) : v;
}

/* ---- compiling ---- */

struct cel_program *cel_compile(struct arena *a, const struct cel_env *env, const char *text, enum cel_kind want, const char **ret_error) {
    struct node *root = cel_parse(a, text, ret_error);
    const struct cel_type *type = root ? cel_check(a, env, text, root, ret_error) : NULL;
    if (!type) return NULL;
    if (want != CEL_DYN && type->kind != want && type->kind != CEL_DYN) {
        *ret_error = arena_printf(a, "must evaluate to %s", cel_type_text(a, &(const struct cel_type){.kind = want}));
        return NULL;
    }
    struct cel_program *p = ARENA_NEW(a, struct cel_program);
    *p = (struct cel_program){root, type};
    return p;
}

const struct cel_type *cel_program_type(const struct cel_program *p) { return p->type; }

static bool uses(const struct node *n, const char *variable) {
    if (!n) return false;
    if (n->kind == NODE_IDENT && strcmp(n->name, variable) == 0) return true;
    if (uses(n->target, variable)) return true;
    for (size_t i = 0; i < n->len; i++)
        if (uses(n->args[i], variable)) return true;
    return false;
}

bool cel_program_uses(const struct cel_program *p, const char *variable) { return uses(p->root, variable); }

static bool is_variable(const struct node *n, const char *variable) { return n && n->kind == NODE_IDENT && strcmp(n->name, variable) == 0; }

static bool selects(const struct node *n, const char *variable, const char *field) {
    if (!n) return false;
    if ((n->kind == NODE_SELECT || n->kind == NODE_HAS) && is_variable(n->target, variable) && strcmp(n->name, field) == 0) return true;
    if (n->kind == NODE_CALL && strcmp(n->name, "_?._") == 0 && n->len == 2 && is_variable(n->args[0], variable) && n->args[1]->kind == NODE_CONST && n->args[1]->value.kind == CEL_STRING && str_eq(n->args[1]->value.str.s, field))
        return true;
    if (selects(n->target, variable, field)) return true;
    for (size_t i = 0; i < n->len; i++)
        if (selects(n->args[i], variable, field)) return true;
    return false;
}

bool cel_program_selects(const struct cel_program *p, const char *variable, const char *field) { return selects(p->root, variable, field); }
