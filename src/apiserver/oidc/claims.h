/* What a verified token says, read as Go's encoding/json would. */
#ifndef CKUBE_APISERVER_OIDC_CLAIMS_H
#define CKUBE_APISERVER_OIDC_CLAIMS_H
#include "api/object.h"
#include "wire/json.h"

/* The payload as an object; NULL with words. Doubled claims are refused: readers would differ in which of them they believe. */
yyjson_val *claims_parse(struct arena *a, const char *payload, size_t len, struct status *reterr);
/* A claim that must be there and a string, not empty. */
int claims_string(struct arena *a, yyjson_val *claims, const char *name, const char **ret, struct status *reterr);
/* A string or a list of strings. */
int claims_strings(struct arena *a, yyjson_val *claim, struct string_list *ret, struct status *reterr);
/* A bool and nothing like one. */
int claims_bool(yyjson_val *claim, bool *ret, struct status *reterr);
/* Seconds since 1970; false: it is no number. */
bool claims_time(yyjson_val *claim, int64_t *ret_s);
#endif
