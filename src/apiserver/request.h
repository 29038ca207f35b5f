/* One API request on its way through the server: what was asked, by whom, and how to answer.
 *
 * Made by server.c from an HTTP request (or by the in-process client), filled by request_info, handled in a fiber on the request's loop, dead when
 * its arena dies. Everything here belongs to that loop. */
#ifndef CKUBE_APISERVER_REQUEST_H
#define CKUBE_APISERVER_REQUEST_H
#include "api/object.h"
#include "base/loop.h"
#include "wire/http_server.h"
#include "wire/url.h"

struct apiserver;
struct request_fence;
struct strategy;

struct user_info {
    const char *name, *uid;
    struct string_list groups;
    struct string_list_map extra;
};

enum media { MEDIA_JSON, MEDIA_YAML, MEDIA_PROTOBUF };
/* What the client wants back. Upstream: negotiation.MediaTypeOptions. */
struct negotiated {
    enum media media;
    enum { AS_OBJECT, AS_TABLE, AS_PARTIAL_METADATA, AS_PARTIAL_METADATA_LIST } as;
    bool pretty, beta; /* beta: forms are of meta.k8s.io/v1beta1 */
};

struct flow_ticket;
struct api_request {
    struct apiserver *server;
    struct arena *arena;
    struct http_request *http;
    const char *method, *path;
    struct url_query query;
    struct user_info user;
    struct string_list warnings;
    struct string_map early_annotations; /* for audit, from before there is an event */
    struct flow_ticket *flow;           /* its place in flow control; NULL: none yet, or it needs none */
    struct audit_event *audit;          /* NULL: this request is not logged */
    struct negotiated out;
    struct request_fence *fence;        /* of a write that is fenced by a Lease (fence.h); NULL: none */
    int code;                           /* of the answer, once there is one */
    int retry_after_s;                  /* the answer says when to come again; 0: it does not */

    /* Upstream's RequestInfo. verb is the API's: get, list, watch, create, update, patch, delete, deletecollection; for other paths the method in lower case. */
    bool is_resource;
    const char *verb, *group, *version, *resource, *subresource, *name, *namespace;
    struct string_list rest;            /* path segments behind the subresource (proxy) */
    const struct resource_desc *rd;     /* of the (sub)resource asked for */
    const struct strategy *strategy;    /* of the resource itself */
    struct custom_resource *custom;     /* of a custom resource: its definition; held as long as the arena lives */
};

/* Splits the path; false when it is not below /api or /apis in a resource's form. Does not look the resource up. */
bool request_info(struct api_request *r);

/* ---- answering; each answers once ---- */
void respond_status(struct api_request *r, const struct status *s);
void respond_success(struct api_request *r, int code, const char *group, const char *kind, const char *name, const char *uid); /* Status "Success" */
void respond_text(struct api_request *r, int code, const char *content_type, const char *text);
void respond_health(struct api_request *r, int code, const char *text); /* a health check's answer: never to be taken for anything but text */
void respond_bytes(struct api_request *r, int code, const char *content_type, const struct http_slice *body, size_t body_len);
/* An object or list in the form negotiated (Table, metadata only, protobuf ...). The object may be changed on the way. */
/* Whether an answer of this type (an object or a list) can be given in the form asked for; else 400 or 406. */
int response_check_form(struct api_request *r, const struct type_desc *type, struct status *reterr);
/* Sets meta.k8s.io/v1beta1 on a Table or metadata form when that version was asked for. */
void response_set_form_version(struct api_request *r, const struct type_desc *type, void *form);
void respond_object(struct api_request *r, int code, const struct type_desc *type, void *obj);
/* Stored bytes with their revision put in place; JSON straight from the database. */
void respond_stored(struct api_request *r, int code, const struct type_desc *type, const char *bytes, size_t len, uint32_t rv_offset, uint64_t revision);
struct http_header *response_headers(struct api_request *r, const char *content_type, size_t *ret_len); /* with Warning, Audit-Id and cache headers */
void request_warn(struct api_request *r, const char *format, ...) PRINTF_LIKE(2, 3);
void request_warn_lines(struct api_request *r, const char *lines); /* a warning for each line, without its indentation */
bool request_flag(const struct api_request *r, const char *key); /* a boolean parameter as upstream reads it: given, and neither 0 nor false */

/* Whether the route takes what the request says of its form: a patch's Content-Type, and Accept, literally as upstream's router compares them. -1 with a 415 or 406. */
int check_route_media(struct api_request *r, struct status *reterr);
/* Reads the Accept header. `streaming` for watches. -1 with a 406. */
int negotiate(struct api_request *r, bool allow_table, bool streaming, struct status *reterr);
const char *media_content_type(enum media m);

/* Query options, with upstream's 400s. */
const char *request_options_kind(const struct api_request *r);
int request_dry_run(struct api_request *r, bool *ret, struct status *reterr);
#endif
