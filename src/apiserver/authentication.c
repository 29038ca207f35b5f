#include "apiserver/authentication.h"
#include <openssl/crypto.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "base/str.h"

struct token { char *token, *name, *uid, *groups; };
struct authenticator {
    struct arena *arena;
    struct { struct token *items; size_t len; } tokens;
};

/* Static tokens: "token,user,uid,\"group1,group2\"" a line. */
static void read_token_line(struct authenticator *a, char *line) {
    char *fields[4] = {NULL}, *p = line;
    for (size_t i = 0; i < 4 && p; i++) {
        bool quoted = *p == '"';
        if (quoted) p++;
        fields[i] = p;
        char *end = quoted ? strchr(p, '"') : strchr(p, ',');
        if (!end) break;
        *end = 0;
        p = quoted ? (end[1] == ',' ? end + 2 : NULL) : end + 1;
    }
    if (!fields[2]) return;
    *LIST_PUSH(a->arena, &a->tokens) = (struct token){arena_strdup(a->arena, fields[0]), arena_strdup(a->arena, fields[1]), arena_strdup(a->arena, fields[2]), arena_strdup(a->arena, fields[3])};
}

struct authenticator *authenticator_new(const struct apiserver_options *options, struct status *reterr) {
    struct authenticator *a = calloc(1, sizeof(*a));
    CHECK(a);
    a->arena = arena_new();
    if (!options->token_file) return a;
    FILE *f = fopen(options->token_file, "re");
    char line[4096];
    if (!f) {
        status_errno(reterr, options->token_file);
        authenticator_free(a);
        return NULL;
    }
    while (fgets(line, sizeof(line), f)) {
        line[strcspn(line, "\r\n")] = 0;
        if (*line && *line != '#') read_token_line(a, line);
    }
    fclose(f);
    return a;
}

void authenticator_free(struct authenticator *a) {
    if (!a) return;
    arena_free(a->arena);
    free(a);
}

static char *name_entry(struct arena *a, X509_NAME *name, int at) {
    unsigned char *utf8 = NULL;
    int len = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
    char *copy = len > 0 ? arena_strndup(a, (char *)utf8, (size_t)len) : NULL;
    OPENSSL_free(utf8);
    return copy;
}

static bool by_certificate(struct api_request *r) {
    if (!r->http->peer_cert) return false;
    X509_NAME *subject = X509_get_subject_name(r->http->peer_cert);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (at < 0) return false;
    r->user.name = name_entry(r->arena, subject, at);
    for (int i = -1; (i = X509_NAME_get_index_by_NID(subject, NID_organizationName, i)) >= 0;) string_list_push(r->arena, &r->user.groups, name_entry(r->arena, subject, i));
    return !str_empty(r->user.name);
}

static bool by_token(struct authenticator *a, struct api_request *r, const char *token) {
    const struct token *found = NULL;
    for (size_t i = 0; i < a->tokens.len; i++) { /* all are compared, in constant time each */
        const struct token *t = &a->tokens.items[i];
        if (strlen(t->token) == strlen(token) && CRYPTO_memcmp(t->token, token, strlen(token)) == 0) found = t;
    }
    if (!found) return false;
    r->user.name = found->name;
    r->user.uid = found->uid;
    for (const char *p = str_or(found->groups, ""); *p;) {
        size_t len = strcspn(p, ",");
        if (len) string_list_push(r->arena, &r->user.groups, arena_strndup(r->arena, p, len));
        p += len + (p[len] == ',');
    }
    return true;
}

int authenticate(struct authenticator *a, struct api_request *r, struct status *reterr) {
    const char *auth = http_request_header(r->http, "Authorization");
    bool bearer = auth && strncasecmp(auth, "Bearer ", 7) == 0, ok = by_certificate(r);
    if (!ok && bearer) ok = by_token(a, r, auth + 7 + strspn(auth + 7, " "));
    if (!ok && (bearer || r->http->peer_cert_invalid)) return status_set(reterr, 401, REASON_UNAUTHORIZED, "Unauthorized");
    if (!ok) {
        r->user.name = "system:anonymous";
        string_list_push(r->arena, &r->user.groups, "system:unauthenticated");
        return 0;
    }
    if (!string_list_has(&r->user.groups, "system:authenticated")) string_list_push(r->arena, &r->user.groups, "system:authenticated");
    return 0;
}
