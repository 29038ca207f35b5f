/* Rules for names, labels and keys, with upstream's messages. Upstream: util/validation and api/validation.
 *
 * Each appends to *msgs what is wrong with the value; nothing when it is fine. `prefix` is for generateName: a trailing dash is let pass. */
#ifndef CKUBE_API_NAMES_H
#define CKUBE_API_NAMES_H
#include <stdbool.h>
#include "api/schema.h"
#include "base/arena.h"

void name_dns1123_label(struct arena *a, const char *value, struct string_list *msgs);
void name_dns1123_subdomain(struct arena *a, const char *value, struct string_list *msgs);
void name_dns1123_subdomain_with_underscore(struct arena *a, const char *value, struct string_list *msgs);
void name_dns1035_label(struct arena *a, const char *value, struct string_list *msgs);
void name_qualified(struct arena *a, const char *value, struct string_list *msgs);       /* label and annotation keys */
void name_label_value(struct arena *a, const char *value, struct string_list *msgs);
void name_config_map_key(struct arena *a, const char *value, struct string_list *msgs);
void name_env_var(struct arena *a, const char *value, struct string_list *msgs);         /* relaxed, as since 1.30 */
void name_c_identifier(struct arena *a, const char *value, struct string_list *msgs);
void name_port(struct arena *a, const char *value, struct string_list *msgs);            /* IANA service names */
void name_path_segment(struct arena *a, const char *value, bool prefix, struct string_list *msgs);
void name_port_number(struct arena *a, int64_t port, struct string_list *msgs);
void name_percent(struct arena *a, const char *value, struct string_list *msgs);
void name_wildcard_dns1123_subdomain(struct arena *a, const char *value, struct string_list *msgs);
bool name_is_ip(const char *value);                                                       /* v4 or v6, as Go's lenient parser without leading zeros */
bool name_is_ipv4(const char *value);
void name_ip(struct arena *a, const char *value, struct string_list *msgs);
bool name_is_cidr(const char *value);

/* Upstream's NameIs...: for objects' names, with generateName's trailing dash masked. */
void object_name_dns_subdomain(struct arena *a, const char *name, bool prefix, struct string_list *msgs);
void object_name_dns_label(struct arena *a, const char *name, bool prefix, struct string_list *msgs);
void object_name_dns1035_label(struct arena *a, const char *name, bool prefix, struct string_list *msgs);
void object_name_path_segment(struct arena *a, const char *name, bool prefix, struct string_list *msgs);
#endif
