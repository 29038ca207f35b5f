/* CEL, the Common Expression Language, as the API uses it: rules of custom resources, admission policies, match conditions of webhooks. Upstream: google/cel-go with
 * apiserver pkg/cel's libraries.
 *
 * An expression is parsed and checked once (cel_compile) against the variables that it may use, and then evaluated any number of times, by any thread. Programs and values
 * live in arenas. Evaluation is bounded: by a cost that counts like upstream's (not to the unit), by the depth of expressions (CEL_DEPTH_MAX), by the arena. What an expression
 * could cost at most is estimated before it is accepted (cost.h). Tests: tests/unit/test_cel.c, tests/fuzz/fuzz_cel.c. */
#ifndef CKUBE_API_CEL_CEL_H
#define CKUBE_API_CEL_CEL_H
#include "api/structural.h"

enum { CEL_DEPTH_MAX = 100 };
#define CEL_COST_PER_CALL 1000000ull  /* upstream's PerCallLimit */
#define CEL_COST_BUDGET 10000000ull   /* for all expressions of one object */

enum cel_kind {
    CEL_DYN, CEL_NULL, CEL_BOOL, CEL_INT, CEL_UINT, CEL_DOUBLE, CEL_STRING, CEL_BYTES, CEL_TIMESTAMP, CEL_DURATION, CEL_LIST, CEL_MAP, CEL_OBJECT, CEL_TYPE, CEL_OPTIONAL,
    CEL_QUANTITY, CEL_URL, CEL_IP, CEL_CIDR, CEL_FORMAT, CEL_SEMVER, CEL_AUTHORIZER, CEL_AUTHZ_PATH, CEL_AUTHZ_GROUP, CEL_AUTHZ_RESOURCE, CEL_AUTHZ_DECISION, CEL_ERROR
};

/* ---- types ---- */

struct cel_variable;
struct cel_type {
    enum cel_kind kind;
    const struct cel_type *elem, *key;  /* of lists, maps and optionals; NULL: dyn */
    const struct structural *schema;    /* CEL_OBJECT: its fields, or: */
    const struct cel_variable *fields;  /* those of a message that is declared, ends with a NULL name */
    const char *name;                   /* of such a message */
    bool resource;                      /* CEL_OBJECT: has apiVersion, kind and metadata besides */
};
extern const struct cel_type cel_dyn, cel_bool, cel_string;
const char *cel_type_text(struct arena *a, const struct cel_type *t); /* as errors print it: "list(string)" */
const struct cel_type *cel_type_of_schema(struct arena *a, const struct structural *s, bool resource); /* NULL: not reachable for expressions */

/* ---- values ---- */

/* A question to authorization on its way to a decision: authorizer.c. Strings may be NULL. */
struct cel_authorizer {
    void (*check)(struct cel_authorizer *q, struct arena *a, const char *verb); /* fills what is decided */
    void *arg;                                                                 /* check's */
    const struct cel_authorizer *request_resource;                             /* authorizer.requestResource: what the request itself asks for */
    const char *service_account_namespace, *service_account_name;              /* NULL: who makes the request */
    const char *path, *group, *resource, *subresource, *namespace, *name, *field_selector, *label_selector;
    bool allowed;
    const char *reason, *error;                                                /* error NULL: it was decided */
};

struct cel_value;
struct cel_list { struct cel_value *items; size_t len; };
struct cel_entry { struct cel_value *key, *value; };
struct cel_map { struct cel_entry *items; size_t len; const struct cel_value *missing; /* what it has for keys that it has not; NULL: nothing */ };
struct cel_value {
    enum cel_kind kind;                 /* CEL_OBJECT is a CEL_MAP made of a message */
    union {
        bool b;
        int64_t i;                      /* also nanoseconds of a duration */
        uint64_t u;
        double d;
        struct { const char *s; size_t len; } str; /* strings, bytes; texts of URLs, versions, errors, names of types and formats */
        struct { int64_t sec; int32_t nsec; } time;
        struct cel_list *list;          /* LIST without json */
        struct cel_map *map;            /* MAP without json */
        struct cel_value *opt;          /* NULL: none */
        struct quantity *quantity;
        const struct cel_authorizer *authorizer; /* all that begin with CEL_AUTH */
        struct { unsigned char bytes[16]; uint8_t v6, prefix; } ip; /* and CIDR */
    };
    yyjson_val *json;                   /* a list or map that is a document's */
    const struct structural *schema;    /* of that */
    const char *name;                   /* MAP: the message's type, or NULL */
};
struct cel_value cel_error(struct arena *a, const char *format, ...) PRINTF_LIKE(2, 3);
struct cel_value cel_string_value(struct arena *a, const char *s); /* copies; NULL is "" */
struct cel_value cel_from_json(struct arena *a, yyjson_val *v, const struct structural *schema);
/* As a document; NULL if it has no such form. */
yyjson_mut_val *cel_to_json(struct arena *a, yyjson_mut_doc *doc, const struct cel_value *v);
const char *cel_value_type(const struct cel_value *v); /* "string", "kubernetes.URL" */
bool cel_equal(struct arena *a, const struct cel_value *x, const struct cel_value *y);

/* ---- programs ---- */

struct cel_variable { const char *name; const struct cel_type *type; };
struct cel_env {
    const struct cel_variable *variables; /* ends with a NULL name */
    const char *const *messages;          /* types that may be made (Object, JSONPatch), NULL-terminated, or NULL */
    bool bindings;                        /* cel.bind is known: the scheduler's expressions have it, the API's do not */
};
struct cel_program;
/* NULL: it does not parse or check; *ret_error says why, as upstream would. `want` CEL_DYN: any type. */
struct cel_program *cel_compile(struct arena *a, const struct cel_env *env, const char *text, enum cel_kind want, const char **ret_error);
const struct cel_type *cel_program_type(const struct cel_program *p);
bool cel_program_uses(const struct cel_program *p, const char *variable);
/* Whether it selects this field of the variable: v.f, has(v.f), v.?f. Not v["f"], as upstream. */
bool cel_program_selects(const struct cel_program *p, const char *variable, const char *field);

struct cel_binding { const char *name; struct cel_value value; };
struct cel_activation {
    const struct cel_binding *bindings;   /* ends with a NULL name */
    /* For what is not bound (variables of a policy): false: there is no such thing. NULL: nothing more. */
    bool (*resolve)(void *arg, struct arena *a, const char *name, struct cel_value *ret);
    void *arg;
    int64_t now_s;
};
/* The value, or one of kind CEL_ERROR. *cost is added to; above `limit` the evaluation is given up. */
struct cel_value cel_eval(struct arena *a, const struct cel_program *p, const struct cel_activation *act, uint64_t limit, uint64_t *cost);
#endif
