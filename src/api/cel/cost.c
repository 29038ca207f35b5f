/* The tree as cel-go expands it: macros are comprehensions, whose parts that nobody wrote (the accumulator, its condition, the step around the body) have costs too. */
#include "api/cel/cost.h"
#include <math.h>
#include <string.h>
#include "api/cel/internal.h"
#include "base/str.h"

enum { LIST_BASE_COST = 10, MAP_BASE_COST = 30, STRUCT_BASE_COST = 40, CHECK_COST = 350000, FORMAT_SIZE_MAX = 64, INCLUDED_VALUES_MAX = 48, IP_BYTES_MIN = 4, IP_BYTES_MAX = 16 };
#define TRAVERSAL 0.1 /* of a string, by its length */
#define REGEX 0.25    /* of a pattern, by its length */
#define FORMAT_REGEX_MAX 128

struct size { uint64_t min, max; };
struct entry { bool there, list; struct size key, value; };
/* Where a value lies below the variables: NOWHERE is upstream's empty path, LOST a path that leads to nothing. */
struct place { enum { NOWHERE, KNOWN, LOST } state; const struct cel_bounds *bounds; };
struct node_estimate { struct place place; struct entry entry; struct size size; bool has_size, computed; };

struct local { const struct local *up; const char *name; struct place place; struct entry entry; struct size size; bool has_size; };
struct coster { struct arena *arena; const struct cel_bounds *root; const char *variable; };

static uint64_t cost_of(struct coster *c, struct node *n, const struct local *locals);

/* ---- numbers ---- */

static uint64_t add(uint64_t x, uint64_t y) { return x > UINT64_MAX - y ? UINT64_MAX : x + y; }
static uint64_t multiply(uint64_t x, uint64_t y) { return y && x > UINT64_MAX / y ? UINT64_MAX : x * y; }

static uint64_t scale(uint64_t x, double y) {
    double product = ceil((double)x * y);
    return product >= 18446744073709551616.0 ? UINT64_MAX : (uint64_t)product;
}

static struct size size_add(struct size x, struct size y) { return (struct size){add(x.min, y.min), add(x.max, y.max)}; }
static struct size size_multiply(struct size x, struct size y) { return (struct size){multiply(x.min, y.min), multiply(x.max, y.max)}; }
static struct size size_union(struct size x, struct size y) { return (struct size){MIN(x.min, y.min), MAX(x.max, y.max)}; }
static const struct size unknown = {0, UINT64_MAX}, one = {1, 1}, none = {0, 0};

static struct entry entry_union(struct entry x, struct entry y) {
    return x.there && y.there ? (struct entry){true, x.list, size_union(x.key, y.key), size_union(x.value, y.value)} : (struct entry){0};
}

/* ---- what is known of a node ---- */

static const struct local *find_local(const struct local *l, const char *name) {
    while (l && strcmp(l->name, name) != 0) l = l->up;
    return l;
}

static struct place place_of(const struct node *n, const struct local *locals) {
    const struct local *l = n->kind == NODE_IDENT ? find_local(locals, n->name) : NULL;
    return l ? l->place : n->estimate ? n->estimate->place : (struct place){0};
}

/* A path of one step from nowhere is upstream's root, whatever the step: it only looks at the steps behind the first. */
static struct place start(struct coster *c, const char *name) {
    if (c->variable && !str_eq(name, c->variable)) return (struct place){.state = LOST};
    return (struct place){KNOWN, c->root};
}

static struct place step_to(const struct cel_bounds *b) { return b ? (struct place){KNOWN, b} : (struct place){.state = LOST}; }

static struct place elem_place(struct coster *c, struct place p) { return p.state == NOWHERE ? start(c, "@items") : p.state == LOST ? p : step_to(p.bounds->elem); }
static struct place key_place(struct coster *c, struct place p) { return p.state == NOWHERE ? start(c, "@keys") : p.state == LOST ? p : step_to(p.bounds->key); }
static struct place index_place(struct coster *c, struct place p) { return p.state == NOWHERE ? start(c, "@indices") : (struct place){.state = LOST}; }

static struct place field_place(struct coster *c, struct place p, const char *name) {
    const char *plain = cel_unescape_name(c->arena, name);
    if (p.state == NOWHERE) return start(c, name);
    if (p.state == LOST) return p;
    for (const struct cel_bounds_field *f = p.bounds->fields; f && f->name; f++)
        if (strcmp(f->name, plain) == 0) return step_to(f->bounds);
    return step_to(p.bounds->elem_by_name ? p.bounds->elem : NULL);
}

static bool is_scalar(const struct cel_type *t) {
    switch (t->kind) {
        case CEL_BOOL: case CEL_DOUBLE: case CEL_DURATION: case CEL_INT: case CEL_TIMESTAMP: case CEL_UINT: return true;
        case CEL_OPTIONAL: return t->elem && is_scalar(t->elem);
        default: return false;
    }
}

static size_t characters(const struct cel_value *v) {
    size_t n = 0;
    for (size_t i = 0; i < v->str.len; i++) n += ((unsigned char)v->str.s[i] & 0xC0) != 0x80;
    return n;
}

static bool literal_size(const struct node *n, struct size *ret) {
    if (n->kind == NODE_LIST) *ret = (struct size){n->len, n->len};
    else if (n->kind == NODE_MAP) *ret = (struct size){n->len / 2, n->len / 2};
    else if (n->kind == NODE_CONST) {
        uint64_t len = n->value.kind == CEL_STRING ? characters(&n->value) : n->value.kind == CEL_BYTES ? n->value.str.len : 1;
        *ret = (struct size){len, len};
    } else return false;
    return true;
}

static struct node_estimate *note(struct coster *c, struct node *n) {
    if (!n->estimate) n->estimate = ARENA_NEW(c->arena, struct node_estimate);
    return n->estimate;
}

static void set_size(struct coster *c, struct node *n, struct size size) {
    struct node_estimate *e = note(c, n);
    e->has_size = true;
    e->size = size;
}

static bool known_size(struct coster *c, struct node *n, const struct local *locals, struct size *ret) {
    if (n->estimate && n->estimate->has_size) {
        *ret = n->estimate->size;
        return true;
    }
    if (literal_size(n, ret)) return true;
    struct place p = place_of(n, locals);
    const struct local *l = n->kind == NODE_IDENT ? find_local(locals, n->name) : NULL;
    if (p.state == KNOWN) {
        *ret = (struct size){0, p.bounds->max};
        set_size(c, n, *ret);
        return true;
    }
    if (is_scalar(n->type)) *ret = one;
    else if (l && l->has_size) *ret = l->size;
    else return false;
    return true;
}

static struct size size_of(struct coster *c, struct node *n, const struct local *locals) {
    struct size size;
    return known_size(c, n, locals, &size) ? size : unknown;
}

static struct entry entry_of(const struct node *n, const struct local *locals) {
    if (n->estimate && n->estimate->entry.there) return n->estimate->entry;
    const struct local *l = n->kind == NODE_IDENT ? find_local(locals, n->name) : NULL;
    return l ? l->entry : (struct entry){0};
}

static void set_entry(struct coster *c, struct node *n, struct entry entry) {
    if (entry.there) note(c, n)->entry = entry;
}

static void copy_sizes(struct coster *c, struct node *to, struct node *from, const struct local *locals) {
    struct size size;
    if (known_size(c, from, locals, &size)) set_size(c, to, size);
    set_entry(c, to, entry_of(from, locals));
}

/* ---- calls ---- */

struct invocation { struct coster *c; struct node *n; const struct local *locals; uint64_t *costs; struct size result; bool has_result; };

static struct size arg_size(struct invocation *v, size_t i) { return size_of(v->c, v->n->args[i], v->locals); }
static struct size target_size(struct invocation *v) { return size_of(v->c, v->n->target, v->locals); }
static enum cel_kind arg_kind(struct invocation *v, size_t i) { return v->n->args[i]->type->kind; }

static bool is_text(enum cel_kind k) { return k == CEL_STRING || k == CEL_BYTES; }
static bool any(struct invocation *v, bool (*is)(enum cel_kind)) { return is(arg_kind(v, 0)) || is(arg_kind(v, 1)); }
static bool both_dynamic(struct invocation *v) { return arg_kind(v, 0) == CEL_DYN && arg_kind(v, 1) == CEL_DYN; }

static void give(struct invocation *v, struct size size) {
    v->result = size;
    v->has_result = true;
}

static uint64_t comparison(struct invocation *v) { return scale(MIN(arg_size(v, 0).max, arg_size(v, 1).max), TRAVERSAL); }

static uint64_t equality(struct invocation *v) {
    enum cel_kind x = arg_kind(v, 0), y = arg_kind(v, 1);
    if (x == y && strcmp(v->n->name, "_==_") == 0) {
        if (x == CEL_IP || x == CEL_CIDR || x == CEL_QUANTITY || x == CEL_SEMVER || x >= CEL_AUTHORIZER) return 1;
        if (x == CEL_FORMAT) return scale(FORMAT_SIZE_MAX, TRAVERSAL);
        if (x == CEL_URL) {
            struct size size;
            return scale(known_size(v->c, v->n->args[1], v->locals, &size) ? size.max : 1, TRAVERSAL);
        }
    }
    return comparison(v);
}

static uint64_t concatenation(struct invocation *v) {
    bool lists = arg_kind(v, 0) == CEL_LIST || arg_kind(v, 1) == CEL_LIST, texts = any(v, is_text), dynamic = both_dynamic(v);
    if (!lists && !texts && !dynamic) return 1;
    struct size sum = size_add(arg_size(v, 0), arg_size(v, 1));
    set_entry(v->c, v->n, entry_union(entry_of(v->n->args[0], v->locals), entry_of(v->n->args[1], v->locals)));
    give(v, sum);
    return lists ? 1 : dynamic ? MAX(scale(sum.max, TRAVERSAL), (uint64_t)1) : scale(sum.max, TRAVERSAL);
}

static uint64_t index_into(struct invocation *v) {
    struct entry entry = entry_of(v->n->args[0], v->locals);
    enum cel_kind k = arg_kind(v, 0);
    if (k == CEL_LIST || k == CEL_MAP || k == CEL_DYN) {
        note(v->c, v->n)->place = elem_place(v->c, place_of(v->n->args[0], v->locals));
        if (entry.there) give(v, entry.value);
    }
    return 1;
}

static uint64_t conditional(struct invocation *v) {
    set_entry(v->c, v->n, entry_union(entry_of(v->n->args[1], v->locals), entry_of(v->n->args[2], v->locals)));
    give(v, size_union(arg_size(v, 1), arg_size(v, 2)));
    return 0;
}

static uint64_t operator_cost(struct invocation *v, const char *name) {
    if (strcmp(name, "_&&_") == 0 || strcmp(name, "_||_") == 0) return 0;
    if (strcmp(name, "_?_:_") == 0) return conditional(v);
    if (strcmp(name, "_+_") == 0) return concatenation(v);
    if (strcmp(name, "_==_") == 0 || strcmp(name, "_!=_") == 0) return equality(v);
    if (strcmp(name, "_[_]") == 0) return index_into(v);
    if (strcmp(name, "@in") == 0) return arg_kind(v, 1) == CEL_LIST ? arg_size(v, 1).max : arg_kind(v, 1) == CEL_DYN ? MAX(arg_size(v, 1).max, (uint64_t)1) : 1;
    if (name[1] == '<' || name[1] == '>') return any(v, is_text) ? comparison(v) : both_dynamic(v) ? MAX(comparison(v), (uint64_t)1) : 1;
    return 1;
}

/* Of the items of a list, by its place; whether the type says that it has any. */
static bool item_size(struct invocation *v, struct size *ret) {
    const struct cel_type *t = v->n->target->type;
    struct place p = place_of(v->n->target, v->locals);
    if (t->kind != CEL_LIST && t->kind != CEL_MAP && t->kind != CEL_OPTIONAL) return false;
    p = p.state == KNOWN ? step_to(p.bounds->elem) : (struct place){.state = LOST};
    *ret = p.state == KNOWN ? (struct size){0, p.bounds->max} : unknown;
    return true;
}

static uint64_t list_search(struct invocation *v) {
    struct size item;
    const struct cel_type *t = v->n->target->type, *first = t->kind == CEL_MAP ? t->key : t->elem;
    if (!item_size(v, &item)) return scale(target_size(v).max, TRAVERSAL);
    return multiply(target_size(v).max, first && is_text(first->kind) ? add(1, scale(item.max, TRAVERSAL)) : 1);
}

static uint64_t count_up(uint64_t n, uint64_t by) { return n == UINT64_MAX && by == 1 ? UINT64_MAX : (uint64_t)MIN(ceil((double)n / (double)by), 18446744073709549568.0); }

static uint64_t replacement(struct invocation *v) {
    struct size text = target_size(v), from = arg_size(v, 0), to = arg_size(v, 1), count = none, kept = none;
    if (from.min == 0) {
        count.max = add(text.max, 1);
        kept.max = text.max;
    } else if (to.max <= from.min) kept.max = text.max;
    else count.max = count_up(text.max, from.min);
    if (from.max == 0) {
        count.min = add(text.min, 1);
        kept.min = text.min;
    } else if (from.max <= to.min) kept.min = text.min;
    else count.min = count_up(text.min, from.max);
    give(v, size_add(size_multiply(count, to), kept));
    return scale(text.max, 2 * TRAVERSAL);
}

static uint64_t split(struct invocation *v) {
    struct size text = target_size(v);
    const struct node *limit = v->n->len > 1 ? v->n->args[1] : NULL;
    give(v, (struct size){0, limit && limit->kind == NODE_CONST && limit->value.kind == CEL_INT ? (uint64_t)limit->value.i : text.max});
    return scale(text.max, 2 * TRAVERSAL);
}

static uint64_t join(struct invocation *v) {
    struct size list = target_size(v), item, sum = none;
    if (item_size(v, &item)) sum = size_multiply(list, item);
    if (v->n->len) sum = size_add(sum, size_multiply(arg_size(v, 0), (struct size){list.min ? list.min - 1 : 0, list.max ? list.max - 1 : 0}));
    give(v, sum);
    return scale(sum.max, TRAVERSAL);
}

static uint64_t regex_cost(struct size text, struct size pattern) { return multiply(scale(add(text.max, 1), TRAVERSAL), scale(pattern.max, REGEX)); }

static uint64_t selector_cost(struct size text) { return add(add(LIST_BASE_COST, scale(text.max, TRAVERSAL)), scale(scale(text.max, 0.5), LIST_BASE_COST + STRUCT_BASE_COST)); }

static uint64_t inside_network(struct invocation *v, bool network) {
    uint64_t cost = scale(2 * IP_BYTES_MAX, TRAVERSAL);
    if (network) cost += scale(IP_BYTES_MAX, TRAVERSAL) + 1;
    return arg_kind(v, 0) == CEL_STRING ? add(cost, scale(arg_size(v, 0).max, TRAVERSAL)) : cost;
}

static bool in_namespace(const struct node *n, const char *name) { return n->target && n->target->kind == NODE_IDENT && n->target->type->kind == CEL_TYPE && strcmp(n->target->name, name) == 0; }

static uint64_t set_cost(struct invocation *v, double factor) { return add(scale(multiply(arg_size(v, 0).max, arg_size(v, 1).max), factor), 1); }

static uint64_t namespaced_cost(struct invocation *v, const char *name) {
    const struct node *n = v->n;
    if (in_namespace(n, "sets")) return set_cost(v, strcmp(name, "equivalent") == 0 ? 2 : 1);
    if (in_namespace(n, "ip")) return scale(arg_size(v, 0).max, 2 * TRAVERSAL);
    if (in_namespace(n, "strings") && strcmp(name, "quote") == 0) {
        struct size text = arg_size(v, 0);
        give(v, (struct size){add(text.min, 2), add(multiply(text.max, 2), 2)});
        return scale(text.max, TRAVERSAL);
    }
    return 1;
}

static uint64_t conversion(struct invocation *v, const char *name) {
    enum cel_kind k = arg_kind(v, 0);
    struct size from = arg_size(v, 0);
    bool text = strcmp(name, "string") == 0 && (k == CEL_BYTES || k == CEL_DYN), bytes = strcmp(name, "bytes") == 0 && (k == CEL_STRING || k == CEL_DYN);
    if (text) give(v, (struct size){from.min / 4, from.max});
    if (bytes) give(v, (struct size){from.min, multiply(from.max, 4)});
    if (!text && !bytes) return 1;
    return k == CEL_DYN ? MAX(scale(from.max, TRAVERSAL), (uint64_t)1) : scale(from.max, TRAVERSAL);
}

static uint64_t method_cost(struct invocation *v, const char *name) {
    static const char *const whole[] = {"lowerAscii", "upperAscii", "substring", "trim", NULL}, *const search[] = {"isSorted", "sum", "max", "min", "indexOf", "lastIndexOf", NULL};
    size_t len = v->n->len;
    if (strcmp(name, "check") == 0) return CHECK_COST;
    if (strcmp(name, "fieldSelector") == 0 || strcmp(name, "labelSelector") == 0) return selector_cost(arg_size(v, 0));
    if (str_in(name, search)) return list_search(v);
    if (str_in(name, whole)) {
        give(v, target_size(v));
        return scale(target_size(v).max, TRAVERSAL);
    }
    if (strcmp(name, "replace") == 0) return replacement(v);
    if (strcmp(name, "split") == 0) return split(v);
    if (strcmp(name, "join") == 0) return join(v);
    if (strcmp(name, "find") == 0 || strcmp(name, "findAll") == 0) {
        give(v, (struct size){0, target_size(v).max});
        return regex_cost(target_size(v), arg_size(v, 0));
    }
    if (strcmp(name, "matches") == 0) return regex_cost(target_size(v), arg_size(v, 0));
    if (strcmp(name, "contains") == 0) return multiply(scale(target_size(v).max, TRAVERSAL), scale(arg_size(v, 0).max, TRAVERSAL));
    if (strcmp(name, "startsWith") == 0 || strcmp(name, "endsWith") == 0) return scale(arg_size(v, 0).max, TRAVERSAL);
    if (strcmp(name, "format") == 0) return scale(target_size(v).max, TRAVERSAL);
    if (strcmp(name, "containsIP") == 0 || strcmp(name, "containsCIDR") == 0) return inside_network(v, name[8] == 'C');
    if (strcmp(name, "validate") == 0) return scale(scale(arg_size(v, 0).max, TRAVERSAL), FORMAT_REGEX_MAX * REGEX);
    return len && strcmp(name, "includes") == 0 ? INCLUDED_VALUES_MAX : 1;
}

static uint64_t function_cost(struct invocation *v) {
    static const char *const parsers[] = {"cidr", "isIP", "isCIDR", "ip", "quantity", "isQuantity", "semver", "isSemver", NULL};
    const char *name = v->n->name;
    if (name[0] == '_' || name[0] == '@' || name[0] == '!' || name[0] == '-') return operator_cost(v, name);
    if (v->n->target && v->n->target->type->kind == CEL_TYPE) return namespaced_cost(v, name);
    if (v->n->target) return method_cost(v, name);
    if (strcmp(name, "url") == 0) give(v, arg_size(v, 0));
    if (strcmp(name, "url") == 0 || str_in(name, parsers)) return scale(arg_size(v, 0).max, TRAVERSAL);
    return strcmp(name, "string") == 0 || strcmp(name, "bytes") == 0 ? conversion(v, name) : 1;
}

static uint64_t call_cost(struct coster *c, struct node *n, const struct local *locals) {
    struct invocation v = {.c = c, .n = n, .locals = locals, .costs = arena_calloc(c->arena, n->len + 1, sizeof(uint64_t))};
    bool namespaced = n->target && n->target->kind == NODE_IDENT && n->target->type && n->target->type->kind == CEL_TYPE;
    uint64_t sum = 0;
    for (size_t i = 0; i < n->len; i++) v.costs[i] = cost_of(c, n->args[i], locals);
    if (!n->target && n->len == 1 && strcmp(n->name, "dyn") == 0) {
        copy_sizes(c, n, n->args[0], locals);
        return add(1, v.costs[0]);
    }
    if (n->target && !namespaced) sum = cost_of(c, n->target, locals);
    bool choice = strcmp(n->name, "_?_:_") == 0;
    if (choice) sum = add(sum, add(v.costs[0], MAX(v.costs[1], v.costs[2])));
    else
        for (size_t i = 0; i < n->len; i++) sum = add(sum, v.costs[i]);
    sum = add(sum, function_cost(&v));
    struct size size;
    if (v.has_result || known_size(c, n, locals, &v.result)) set_size(c, n, v.result);
    else if (known_size(c, n, locals, &size)) set_size(c, n, size);
    return sum;
}

/* ---- literals ---- */

static uint64_t literal_cost(struct coster *c, struct node *n, const struct local *locals) {
    bool map = n->kind == NODE_MAP;
    uint64_t sum = map ? MAP_BASE_COST : LIST_BASE_COST;
    struct size keys = {n->len ? UINT64_MAX : 0, 0}, values = keys;
    for (size_t i = 0; i < n->len; i++) {
        sum = add(sum, cost_of(c, n->args[i], locals));
        if (map && i % 2 == 0) keys = size_union(keys, size_of(c, n->args[i], locals));
        else values = size_union(values, size_of(c, n->args[i], locals));
    }
    set_entry(c, n, (struct entry){true, !map, map ? keys : one, values});
    return sum;
}

static uint64_t message_cost(struct coster *c, struct node *n, const struct local *locals) {
    uint64_t sum = STRUCT_BASE_COST;
    for (size_t i = 0; i < n->len; i++) sum = add(sum, cost_of(c, n->args[i], locals));
    return sum;
}

/* ---- macros ---- */

/* The variables of a loop over the range: one that is the item (of a map its key), or a key and a value. */
static void loop_locals(struct coster *c, struct node *n, const struct local *up, struct local *first, struct local *second) {
    struct entry entry = entry_of(n->target, up);
    struct place range = place_of(n->target, up);
    bool list = entry.there ? entry.list : n->target->type->kind == CEL_LIST;
    struct local key = {.up = up, .name = n->name, .place = list ? index_place(c, range) : key_place(c, range), .size = entry.key, .has_size = entry.there};
    struct local value = {.up = up, .name = n->name, .place = elem_place(c, range), .size = entry.value, .has_size = entry.there};
    *first = n->name2 || !list ? key : value;
    *second = value;
    second->name = n->name2;
    second->up = first;
}

/* What one turn costs besides the body's own parts, and what the loop begins and ends with: see the file's head. */
static uint64_t turn_cost(const struct node *n, uint64_t filter, uint64_t body) {
    enum { APPEND = 1 + 1 + LIST_BASE_COST, INSERT = 1 + 1, ACCUMULATOR = 1 };
    bool filtered = n->args[0] != NULL;
    uint64_t made;
    switch (n->loop) {
        case LOOP_ALL: return add(body, ACCUMULATOR + 2);
        case LOOP_EXISTS: return add(body, ACCUMULATOR + 3);
        case LOOP_EXISTS_ONE: return add(body, 2);
        case LOOP_FILTER: return add(body, APPEND + 1);
        case LOOP_TO_MAP: made = add(body, INSERT + 1); break;
        case LOOP_TO_MAP_ENTRY: made = add(body, INSERT); break;
        default: made = add(body, APPEND);
    }
    return filtered ? add(filter, MAX(made, (uint64_t)ACCUMULATOR)) : made;
}

static uint64_t loop_cost(struct coster *c, struct node *n, const struct local *locals) {
    struct local first, second;
    bool map = n->loop == LOOP_TO_MAP || n->loop == LOOP_TO_MAP_ENTRY, list = n->loop == LOOP_MAP || n->loop == LOOP_FILTER || n->loop == LOOP_TO_LIST;
    uint64_t range = cost_of(c, n->target, locals);
    loop_locals(c, n, locals, &first, &second);
    const struct local *inner = n->name2 ? &second : &first;
    uint64_t filter = n->args[0] ? cost_of(c, n->args[0], inner) : 0, body = cost_of(c, n->args[1], inner);
    struct node item = {.kind = NODE_IDENT, .name = n->name, .type = &cel_dyn};
    if (n->loop == LOOP_FILTER && n->type->elem) item.type = n->type->elem;
    struct size made = list ? size_of(c, n->loop == LOOP_FILTER ? &item : n->args[1], inner) : none, count = size_of(c, n->target, locals);
    if (list) set_entry(c, n, (struct entry){true, true, one, size_union(none, made)});
    set_size(c, n, list || map ? count : one);
    uint64_t ends = list ? LIST_BASE_COST + 1 : map ? MAP_BASE_COST + 1 : n->loop == LOOP_EXISTS_ONE ? 2 : 1;
    return add(add(range, ends), multiply(count.max, turn_cost(n, filter, body)));
}

/* x.hasValue() ? optional.of(cel.bind(v, x.value(), body)) : optional.none() */
static uint64_t optional_cost(struct coster *c, struct node *n, const struct local *locals) {
    uint64_t has = add(cost_of(c, n->target, locals), 1);
    const struct cel_type *t = n->target->type->elem;
    struct local value = {.up = locals, .name = n->name, .size = one, .has_size = t && is_scalar(t)};
    uint64_t bound = add(add(LIST_BASE_COST, has), cost_of(c, n->args[1], &value));
    return add(has, n->loop == LOOP_OPT_MAP ? add(bound, 1) : bound);
}

static uint64_t bind_cost(struct coster *c, struct node *n, const struct local *locals) {
    uint64_t value = cost_of(c, n->target, locals);
    struct local l = {.up = locals, .name = n->name, .place = place_of(n->target, locals), .entry = entry_of(n->target, locals)};
    l.has_size = known_size(c, n->target, locals, &l.size);
    uint64_t body = cost_of(c, n->args[0], &l);
    copy_sizes(c, n, n->args[0], locals);
    return add(add(LIST_BASE_COST, value), body);
}

/* ---- all ---- */

static uint64_t select_cost(struct coster *c, struct node *n, const struct local *locals) {
    enum cel_kind k = n->target->type->kind;
    uint64_t cost = cost_of(c, n->target, locals);
    if (n->kind == NODE_HAS) return cost; /* upstream: PresenceTestHasCost(false) */
    note(c, n)->place = field_place(c, place_of(n->target, locals), n->name);
    return k == CEL_MAP || k == CEL_OBJECT ? add(cost, 1) : cost;
}

static uint64_t cost_of(struct coster *c, struct node *n, const struct local *locals) {
    const struct local *l;
    switch (n->kind) {
        case NODE_CONST: return 0;
        case NODE_IDENT:
            l = find_local(locals, n->name);
            note(c, n)->place = l ? l->place : start(c, n->name);
            return 1;
        case NODE_SELECT: case NODE_HAS: return select_cost(c, n, locals);
        case NODE_CALL: return call_cost(c, n, locals);
        case NODE_LIST: case NODE_MAP: return literal_cost(c, n, locals);
        case NODE_STRUCT: return message_cost(c, n, locals);
        case NODE_BIND: return bind_cost(c, n, locals);
        case NODE_LOOP: return n->loop == LOOP_OPT_MAP || n->loop == LOOP_OPT_FLAT_MAP ? optional_cost(c, n, locals) : loop_cost(c, n, locals);
    }
    return 0;
}

uint64_t cel_max_cost(struct arena *a, const struct cel_program *p, const struct cel_bounds *root, const char *variable) {
    struct coster c = {a, root, variable};
    return cost_of(&c, p->root, NULL);
}
