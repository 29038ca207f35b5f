/* C strings, the object model's way: NULL and "" are the same absent string. */
#ifndef CKUBE_BASE_STR_H
#define CKUBE_BASE_STR_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

bool str_empty(const char *s);
bool str_eq(const char *a, const char *b);             /* NULL equals "" */
bool str_eq_nocase(const char *a, const char *b);
int str_cmp(const char *a, const char *b);             /* byte order; NULL sorts as "" */
bool str_in(const char *s, const char *const *set);    /* set ends with NULL */
bool str_has_prefix(const char *s, const char *prefix);
bool str_has_suffix(const char *s, const char *suffix);
const char *str_or(const char *s, const char *fallback); /* s unless empty */
/* Whole-string numbers in base 10; false (and *ret untouched) on anything else, overflow included. */
bool str_to_i64(const char *s, int64_t *ret);
bool str_to_u64(const char *s, uint64_t *ret);
enum { STR_U64_MAX = 20 };
size_t str_from_u64(uint64_t v, char ret[STR_U64_MAX]); /* the digits, without a NUL, and how many */
bool str_to_bool(const char *s, bool *ret); /* Go's strconv.ParseBool: 1, t, T, true, True, TRUE and their opposites; false and *ret untouched for others */
#endif
