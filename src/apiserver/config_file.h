/* Configuration files of group apiserver.config.k8s.io: how they are decoded, and what is counted of their reloads. Upstream: runtime codecs with strict decoding,
 * apiserver/pkg/server/options/{authentication,authorization}config/metrics. */
#ifndef CKUBE_APISERVER_CONFIG_FILE_H
#define CKUBE_APISERVER_CONFIG_FILE_H
#include "api/field_error.h"
#include "api/object.h"

/* YAML or JSON of this kind, in v1, v1beta1 or v1alpha1, into obj. Unknown and doubled fields are errors. Everything lives in the arena. */
int config_file_decode(struct arena *a, const char *text, size_t len, const char *kind, const struct type_desc *type, void *obj, struct status *reterr);
/* All errors in one line, as upstream's ErrorList.ToAggregate prints them; after `before` ("" or "invalid ...: "). Returns -1. */
int config_file_refuse(const struct field_errors *errs, const char *before, struct status *reterr);

/* "sha256:HEX" of a text, "" of none: what metrics show instead of names and contents. */
void config_hash(const char *text, size_t len, char ret[72]);
/* Upstream's apiserver identity, "apiserver-" and a hash of the host's name. */
void apiserver_identity(char ret[64]);
const char *apiserver_id_hash(void); /* of the identity */

enum config_file_of { CONFIG_OF_AUTHENTICATION, CONFIG_OF_AUTHORIZATION };
/* The text in force from now on; `reload`: as opposed to what was read at start. */
void config_file_loaded(enum config_file_of which, const char *text, size_t len, bool reload);
void config_file_failed(enum config_file_of which);
void config_file_put_metrics(struct buf *out);
#endif
