/* Acting as another user: the Impersonate-* headers. Upstream: apiserver/pkg/endpoints/filters/impersonation.
 *
 * Comes after authentication and before authorization: r->user becomes the other user if the real one may impersonate each part that is asked for. */
#ifndef CKUBE_APISERVER_IMPERSONATION_H
#define CKUBE_APISERVER_IMPERSONATION_H
#include "apiserver/request.h"

/* 0 (also when no header asks for it), -1 with a 400 or 403. */
int impersonate(struct api_request *r, struct status *reterr);
/* "system:serviceaccount:NS:NAME" into its parts (arena); false for other names. */
bool service_account_split(struct arena *a, const char *user, const char **ret_namespace, const char **ret_name);
/* Adds system:serviceaccounts and system:serviceaccounts:NS. */
void service_account_groups(struct arena *a, const char *namespace, struct string_list *groups);
/* One more value of an extra key; the map stays sorted. */
void user_add_extra(struct arena *a, struct string_list_map *extra, const char *key, const char *value);
#endif
