/* Sets of completion indexes, as a Job's status writes them: see job.h. Upstream: pkg/controller/job indexed_job_utils.go. */
#include <stdlib.h>
#include <string.h>
#include "base/str.h"
#include "controller/job.h"

static void append(struct arena *a, struct job_indexes *x, struct job_interval i) {
    struct job_interval *last = x->len ? &x->items[x->len - 1] : NULL;
    if (last && i.first <= last->last + 1) last->last = MAX(last->last, i.last);
    else *LIST_PUSH(a, x) = i;
}

struct job_indexes job_indexes_parse(struct arena *a, const char *text, int completions) {
    struct job_indexes x = {0};
    char *save = NULL, *copy = arena_strdup(a, str_or(text, ""));
    for (char *p = strtok_r(copy, ",", &save); p; p = strtok_r(NULL, ",", &save)) {
        char *dash = strchr(p, '-');
        int64_t first, last;
        if (dash) *dash = 0;
        if (!str_to_i64(p, &first)) continue;
        if (first >= completions) break;
        last = first;
        if (dash && !str_to_i64(dash + 1, &last)) continue;
        append(a, &x, (struct job_interval){(int)first, (int)MIN(last, (int64_t)completions - 1)});
    }
    return x;
}

char *job_indexes_string(struct arena *a, const struct job_indexes *x) {
    _cleanup_buf_ struct buf b = BUF_INIT;
    for (size_t i = 0; i < x->len; i++) {
        const struct job_interval *v = &x->items[i];
        buf_printf(&b, "%s%d", i ? "," : "", v->first);
        if (v->last > v->first) buf_printf(&b, "%c%d", v->last == v->first + 1 ? ',' : '-', v->last);
    }
    return arena_strdup(a, buf_cstr(&b));
}

int job_indexes_total(const struct job_indexes *x) {
    int n = 0;
    LIST_FOREACH(i, x) n += i->last - i->first + 1;
    return n;
}

bool job_indexes_has(const struct job_indexes *x, int index) {
    size_t low = 0, high = x->len;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (x->items[mid].last >= index) high = mid;
        else low = mid + 1;
    }
    return high < x->len && x->items[high].first <= index;
}

struct job_indexes job_indexes_merge(struct arena *a, const struct job_indexes *x, const struct job_indexes *y) {
    struct job_indexes ret = {0};
    size_t i = 0, j = 0;
    while (i < x->len || j < y->len) append(a, &ret, j >= y->len || (i < x->len && x->items[i].first < y->items[j].first) ? x->items[i++] : y->items[j++]);
    return ret;
}

static int by_number(const void *x, const void *y) { return (*(const int32_t *)x > *(const int32_t *)y) - (*(const int32_t *)x < *(const int32_t *)y); }

struct job_indexes job_indexes_with(struct arena *a, const struct job_indexes *x, const struct int32_list *more) {
    struct job_indexes y = {0};
    int32_t *sorted = arena_memdup(a, more->items, more->len * sizeof(*sorted));
    if (more->len) qsort(sorted, more->len, sizeof(*sorted), by_number);
    for (size_t i = 0; i < more->len; i++) append(a, &y, (struct job_interval){sorted[i], sorted[i]});
    return job_indexes_merge(a, x, &y);
}

int job_indexes_overlap(const struct job_indexes *x, const struct job_indexes *y) {
    int n = 0;
    for (size_t i = 0, j = 0; i < x->len && j < y->len;) {
        n += MAX(MIN(x->items[i].last, y->items[j].last) - MAX(x->items[i].first, y->items[j].first) + 1, 0);
        if (x->items[i].last < y->items[j].last) i++;
        else j++;
    }
    return n;
}
