/* What typed_value.c, typed_merge.c and typed_validate.c share; nobody else includes it. */
#ifndef CKUBE_API_TYPED_WALK_H
#define CKUBE_API_TYPED_WALK_H
#include "api/object.h"
#include "api/typed_value.h"

/* The way down to the place at hand, for error texts. */
struct type_path { const struct type_path *up; const struct path_element *pe; };
void typed_error(struct arena *a, struct string_list *errs, const struct type_path *at, const char *format, ...) PRINTF_LIKE(4, 5);

/* The type's form that fits the value; all its forms if none does or there is no value. */
struct atom typed_deduce(struct schema_ref type, const struct value *v);
/* What an item of an associative list is known by; otherwise what is wrong with it. */
const char *typed_item_element(struct arena *a, const struct atom *list, const struct value *item, struct path_element *ret);
/* False, with an error, if the value is no such scalar; an absent value or null is fine. */
bool typed_check_scalar(struct arena *a, enum scalar_kind scalar, const struct value *v, const char *prefix, const struct type_path *at, struct string_list *errs);

/* The items of an associative list sorted by what they are known by (equals in list order); items without it are left out and told in errs (NULL: not). */
struct item_place { struct path_element pe; uint32_t at; };
struct item_places { struct item_place *items; size_t len; };
struct item_places typed_places(struct arena *a, const struct atom *list, const struct value *v, const struct type_path *at, struct string_list *errs);
const struct item_place *typed_place(const struct item_places *places, const struct path_element *pe); /* the first; NULL if absent */
#endif
