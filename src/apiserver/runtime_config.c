/* See runtime_config.h. Tests: tests/unit/test_runtime_config.c, tests/integration/test_runtime_config.py. */
#include "apiserver/runtime_config.h"
#include <string.h>
#include "base/arena.h"
#include "base/str.h"

enum { RESOURCES_MAX = 512 };
static signed char override[RESOURCES_MAX]; /* by place in api_resources: 0 as by default, 1 on, -1 off */

bool resource_served(const struct resource_desc *d) {
    size_t i = (size_t)(d - api_resources);
    if (i >= api_resources_len || !override[i]) return !d->off_by_default;
    return override[i] > 0;
}

static bool is_stage(const char *version, const char *stage) {
    bool alpha = strstr(version, "alpha"), beta = strstr(version, "beta");
    if (strcmp(stage, "all") == 0) return true;
    return strcmp(stage, "ga") == 0 ? !alpha && !beta : strcmp(stage, "beta") == 0 ? beta : strcmp(stage, "alpha") == 0 && alpha;
}

/* The parts of one key: "v1" is the core group's, "api/..." names a stage. */
struct key { const char *group, *version, *resource; bool on; };

static int parse_value(const char *key, const char *value, bool *ret, struct status *reterr) {
    if (str_empty(value)) return *ret = true, 0;
    if (str_to_bool(value, ret)) return 0;
    return status_set(reterr, 400, REASON_BAD_REQUEST, "invalid value of %s: %s, err: strconv.ParseBool: parsing \"%s\": invalid syntax", key, value, value);
}

static int parse_key(struct arena *a, char *text, struct key *k, struct status *reterr) {
    char *equals = strchr(text, '='), *parts[3] = {text, NULL, NULL};
    if (equals) *equals = '\0';
    if (parse_value(text, equals ? equals + 1 : "", &k->on, reterr) != 0) return -1;
    const char *whole = arena_strdup(a, text);
    for (int i = 1; i < 3; i++)
        if ((parts[i] = strchr(parts[i - 1], '/'))) *parts[i]++ = '\0';
        else break;
    if (!parts[1] || (parts[0][0] == 'v' && parts[0][1] >= '0' && parts[0][1] <= '9')) *k = (struct key){"", parts[0], parts[1], k->on};
    else if (strcmp(parts[0], "api") == 0 && parts[1][0] == 'v') *k = (struct key){"", parts[1], parts[2], k->on};
    else *k = (struct key){parts[0], parts[1], parts[2], k->on};
    bool group = strcmp(k->group, "api") == 0, version = group;
    for (size_t i = 0; i < api_resources_len; i++) {
        if (strcmp(api_resources[i].group, k->group) != 0) continue;
        group = true;
        if (strcmp(api_resources[i].version, k->version) == 0) version = true;
    }
    if (!group) return status_set(reterr, 400, REASON_BAD_REQUEST, "unknown api groups %s", k->group);
    if (!version) return status_set(reterr, 400, REASON_BAD_REQUEST, "group version %s that has not been registered", whole);
    return 0;
}

static void apply(const struct key *k) {
    bool stage = strcmp(k->group, "api") == 0;
    for (size_t i = 0; i < api_resources_len; i++) {
        const struct resource_desc *d = &api_resources[i];
        if (stage ? !is_stage(d->version, k->version) : strcmp(d->group, k->group) != 0 || strcmp(d->version, k->version) != 0) continue;
        if (k->resource && strcmp(d->resource, k->resource) != 0) continue;
        override[i] = k->on ? 1 : -1;
    }
}

/* 0: stages, api/all first of them; 1: versions; 2: resources. */
static int layer(const struct key *k) {
    if (strcmp(k->group, "api") == 0) return strcmp(k->version, "all") == 0 ? 0 : 1;
    return k->resource ? 3 : 2;
}

int runtime_config_set(const char *text, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct { struct key *items; size_t len; } keys = {0};
    CHECK(api_resources_len <= RESOURCES_MAX);
    memset(override, 0, sizeof(override));
    char *save = NULL;
    for (char *part = strtok_r(arena_strdup(a, str_or(text, "")), ",", &save); part; part = strtok_r(NULL, ",", &save)) {
        struct key k = {0};
        if (parse_key(a, part, &k, reterr) != 0) return -1;
        *LIST_PUSH(a, &keys) = k;
    }
    for (int at = 0; at < 4; at++)
        for (size_t i = 0; i < keys.len; i++)
            if (layer(&keys.items[i]) == at) apply(&keys.items[i]);
    return 0;
}
