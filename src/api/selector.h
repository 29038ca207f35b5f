/* Label and field selectors. Upstream: apimachinery labels, fields, and meta/v1 LabelSelector. */
#ifndef CKUBE_API_SELECTOR_H
#define CKUBE_API_SELECTOR_H
#include "api/object.h"

enum selector_op { SELECT_IN, SELECT_NOT_IN, SELECT_EXISTS, SELECT_NOT_EXISTS, SELECT_GT, SELECT_LT };
struct requirement {
    const char *key;
    enum selector_op op;
    struct string_list values; /* sorted */
};
/* All requirements must hold; none: everything matches. */
struct selector {
    struct requirement *items;
    size_t len;
    bool nothing; /* matches no object (a nil LabelSelector) */
};

/* "a=b,c in (d,e),!f,g>1"; 400 with upstream's words. */
int label_selector_parse(struct arena *a, const char *text, struct selector *ret, struct status *reterr);
/* The structured form; NULL selects nothing, an empty one everything. Unknown operators are an error. */
int label_selector_from(struct arena *a, const struct metav1_LabelSelector *ls, struct selector *ret, struct status *reterr);
bool selector_matches(const struct selector *s, const struct string_map *labels);
/* matchLabels alone. */
struct selector selector_from_map(struct arena *a, const struct string_map *labels);
char *selector_string(struct arena *a, const struct selector *s);

/* "metadata.name=x,spec.nodeName!=y": = == !=, values unescaped. */
struct field_requirement { const char *field, *value; bool negated; };
struct field_selector { struct field_requirement *items; size_t len; };
int field_selector_parse(struct arena *a, const char *text, struct field_selector *ret, struct status *reterr);
#endif
