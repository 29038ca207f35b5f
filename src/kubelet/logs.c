/* Log lines: see logs.h. */
#include "kubelet/logs.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "api/time.h"
#include "base/str.h"
#include "wire/url.h"

int64_t log_tail_offset(int fd, int64_t lines) {
    struct stat st;
    if (fstat(fd, &st) != 0 || lines == 0) return st.st_size;
    int64_t at = st.st_size, found = 0;
    char block[4096];
    while (at > 0) {
        size_t n = (size_t)MIN(at, (int64_t)sizeof(block));
        if (pread(fd, block, n, at - (int64_t)n) != (ssize_t)n) return 0;
        for (size_t i = n; i > 0; i--) {
            /* The newline that ends the file ends the last line, it begins none. */
            if (block[i - 1] == '\n' && at - (int64_t)n + (int64_t)i < st.st_size && ++found == lines) return at - (int64_t)n + (int64_t)i;
        }
        at -= (int64_t)n;
    }
    return 0;
}

/* RFC 3339 with nanoseconds; false if it is none. */
static bool parse_ns(const char *text, size_t len, int64_t *ret) {
    char copy[64];
    if (len < 20 || len >= sizeof(copy)) return false;
    memcpy(copy, text, len);
    copy[len] = 0;
    struct api_time t;
    if (time_parse(copy, &t, NULL) != 0) return false;
    int64_t ns = 0, scale = 100000000;
    const char *dot = strchr(copy, '.');
    for (const char *p = dot ? dot + 1 : ""; *p >= '0' && *p <= '9' && scale; p++, scale /= 10) ns += (*p - '0') * scale;
    *ret = t.sec * 1000000000 + ns;
    return true;
}

bool log_line_append(const struct log_options *o, const char *line, size_t len, struct buf *out) {
    const char *stream = memchr(line, ' ', len), *end = line + len;
    if (!stream) return false;
    const char *tags = memchr(stream + 1, ' ', (size_t)(end - stream - 1));
    if (!tags) return false;
    const char *text = memchr(tags + 1, ' ', (size_t)(end - tags - 1));
    if (!text) return false;
    int64_t ns = 0;
    bool is_err = strncmp(stream + 1, "stderr", 6) == 0;
    if ((o->only_stdout && is_err) || (o->only_stderr && !is_err)) return true;
    if (o->since_ns != INT64_MIN && parse_ns(line, (size_t)(stream - line), &ns) && ns < o->since_ns) return true;
    if (o->timestamps) buf_append(out, line, (size_t)(stream - line + 1));
    buf_append(out, text + 1, (size_t)(end - text - 1));
    if (tags[1] != 'P') buf_append_char(out, '\n'); /* a partial line goes on in the next */
    return true;
}

static bool query_bool(const char *v) { return v && (str_eq(v, "true") || str_eq(v, "1") || str_eq(v, "t") || str_eq(v, "T") || str_eq(v, "TRUE") || str_eq(v, "True") || !*v); }

int log_options_parse(const char *query, int64_t now_ns, struct log_options *ret, struct status *reterr) {
    struct log_options o = {.tail_lines = -1, .limit_bytes = -1, .since_ns = INT64_MIN};
    _cleanup_arena_ struct arena *a = arena_new();
    struct url_query q = url_parse_query(a, str_or(query, ""));
    LIST_FOREACH(param, &q) {
        const char *item = param->key, *value = str_or(param->value, "");
        int64_t n;
        if (str_eq(item, "follow")) o.follow = query_bool(value);
        else if (str_eq(item, "previous")) o.previous = query_bool(value);
        else if (str_eq(item, "timestamps")) o.timestamps = query_bool(value);
        else if (str_eq(item, "tailLines") || str_eq(item, "limitBytes") || str_eq(item, "sinceSeconds")) {
            if (str_empty(value)) continue;
            if (!str_to_i64(value, &n)) return status_bad_request(reterr, "unable to decode query: strconv.ParseInt: parsing \"%s\": invalid syntax", value);
            if (n < 0 || (n == 0 && !str_eq(item, "tailLines"))) return status_set(reterr, 422, REASON_INVALID, "%s: Invalid value: %lld", item, (long long)n);
            if (str_eq(item, "tailLines")) o.tail_lines = n;
            else if (str_eq(item, "limitBytes")) o.limit_bytes = n;
            else o.since_ns = now_ns - n * 1000000000;
        } else if (str_eq(item, "sinceTime") && !str_empty(value)) {
            if (!parse_ns(value, strlen(value), &o.since_ns)) return status_bad_request(reterr, "unable to decode query: sinceTime: \"%s\"", value);
        } else if (str_eq(item, "stream")) {
            o.only_stdout = str_eq(value, "Stdout");
            o.only_stderr = str_eq(value, "Stderr");
        }
    }
    *ret = o;
    return 0;
}
