/* What the parts of CEL share; nobody else includes it. */
#ifndef CKUBE_API_CEL_INTERNAL_H
#define CKUBE_API_CEL_INTERNAL_H
#include "api/cel/cel.h"

enum node_kind { NODE_CONST, NODE_IDENT, NODE_SELECT, NODE_HAS, NODE_CALL, NODE_LIST, NODE_MAP, NODE_STRUCT, NODE_LOOP, NODE_BIND };
enum loop_kind { LOOP_ALL, LOOP_EXISTS, LOOP_EXISTS_ONE, LOOP_MAP, LOOP_FILTER, LOOP_TO_LIST, LOOP_TO_MAP, LOOP_TO_MAP_ENTRY, LOOP_OPT_MAP, LOOP_OPT_FLAT_MAP };
struct node {
    enum node_kind kind;
    enum loop_kind loop;
    size_t pos;                       /* in the text, for errors */
    const char *name;                 /* IDENT, SELECT, HAS: name; CALL: function; STRUCT: type; LOOP, BIND: variable */
    const char *name2;                /* LOOP: the second variable, or NULL */
    struct node *target;              /* SELECT, HAS: operand; CALL: receiver or NULL; LOOP: range; BIND: its value */
    struct node **args;               /* CALL: arguments; LIST: items; MAP: keys and values by turns; STRUCT: values; LOOP: filter (may be NULL) and body; BIND: body */
    const char **names;               /* STRUCT: fields */
    bool *optional;                   /* LIST, MAP, STRUCT: entries marked with ? */
    size_t len;
    struct cel_value value;           /* CONST */
    const struct cel_type *type;      /* after checking */
    struct node_estimate *estimate;   /* cost.c's */
};

struct cel_program { struct node *root; const struct cel_type *type; };

/* parse.c: NULL with an error. */
struct node *cel_parse(struct arena *a, const char *text, const char **ret_error);
char *cel_error_at(struct arena *a, const char *text, size_t pos, const char *message);
/* check.c */
const struct cel_type *cel_check(struct arena *a, const struct cel_env *env, const char *text, struct node *root, const char **ret_error);
const char *cel_escape_name(struct arena *a, const char *name); /* a field's name as expressions write it; NULL if they cannot */
const char *cel_unescape_name(struct arena *a, const char *name);

/* value.c */
const char *cel_kind_name(const struct cel_value *v);            /* as type(v) prints it */
size_t cel_size(const struct cel_value *v);
bool cel_list_at(struct arena *a, const struct cel_value *list, size_t i, struct cel_value *ret);
bool cel_map_get(struct arena *a, const struct cel_value *map, const struct cel_value *key, struct cel_value *ret);
bool cel_map_find(struct arena *a, const struct cel_value *map, const struct cel_value *key, struct cel_value *ret); /* without what the map answers for the missing */
bool cel_map_entry(struct arena *a, const struct cel_value *map, size_t i, struct cel_value *key, struct cel_value *ret);
int cel_compare(const struct cel_value *x, const struct cel_value *y, bool *ok);
struct cel_value cel_list_new(struct arena *a);
void cel_list_push(struct arena *a, struct cel_value *list, const struct cel_value *v);
struct cel_value cel_str(const char *s, size_t len);             /* not copied */
#define CEL_VALUE(k, member, v) ((struct cel_value){.kind = (k), .member = (v)})
#define CEL_BOOL_VALUE(v) CEL_VALUE(CEL_BOOL, b, (v))
#define CEL_INT_VALUE(v) CEL_VALUE(CEL_INT, i, (v))

/* functions: false when no function of that name takes such arguments. args[0] is the receiver of a method. */
struct call { struct arena *arena; const char *name; bool method; const struct cel_value *args; size_t len; uint64_t cost; int64_t now_s; };
bool cel_call_standard(struct call *c, struct cel_value *ret);
bool cel_call_strings(struct call *c, struct cel_value *ret);
bool cel_call_lists(struct call *c, struct cel_value *ret);
bool cel_call_kubernetes(struct call *c, struct cel_value *ret);
bool cel_call_authorizer(struct call *c, struct cel_value *ret);
bool cel_call_semver(struct call *c, struct cel_value *ret);
/* For the checker: parameter types, the receiver's first, and the result; letters are explained at the table. NULL past the end. */
struct cel_overload { const char *name; bool method; const char *params, *result; };
extern const struct cel_overload cel_overloads[];
#endif
