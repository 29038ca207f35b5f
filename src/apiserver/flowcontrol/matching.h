/* Which flow schema a request belongs to, and which flow of it. Upstream: flowcontrol/rule.go. Pure. */
#ifndef CKUBE_APISERVER_FLOWCONTROL_MATCHING_H
#define CKUBE_APISERVER_FLOWCONTROL_MATCHING_H
#include "api/object.h"
#include "apiserver/request.h"

bool flow_schema_matches(const struct flowcontrolv1_FlowSchema *fs, const struct api_request *r);
/* What tells the schema's flows apart: a user's name, a namespace, or "" when there is but one. */
const char *flow_distinguisher(const struct flowcontrolv1_FlowSchema *fs, const struct api_request *r);
/* Of the schema and the distinguisher, as upstream's: the first eight bytes of a SHA-256. */
uint64_t flow_hash(const char *schema, const char *distinguisher);
/* Whether x comes before y when schemas are tried: by precedence, then by name. */
int flow_schema_order(const struct flowcontrolv1_FlowSchema *x, const struct flowcontrolv1_FlowSchema *y);
#endif
