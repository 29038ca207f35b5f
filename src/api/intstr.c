/* Numbers that may be given as a part of a whole: see intstr.h. */
#include "api/intstr.h"
#include <string.h>
#include "base/str.h"

bool intstr_scaled(const struct int_or_string *v, int total, bool round_up, int32_t *ret) {
    if (v->kind == INTSTR_INT) {
        *ret = v->i;
        return true;
    }
    if (v->kind != INTSTR_STRING || !str_has_suffix(v->s, "%")) return false;
    char digits[16];
    size_t len = strlen(v->s) - 1;
    int64_t percent;
    if (len == 0 || len >= sizeof(digits)) return false;
    memcpy(digits, v->s, len);
    digits[len] = 0;
    if (!str_to_i64(digits, &percent) || percent < INT32_MIN || percent > INT32_MAX) return false;
    int64_t product = percent * total, whole = product / 100;
    if (round_up && product > 0 && product % 100) whole++;
    if (!round_up && product < 0 && product % 100) whole--;
    *ret = (int32_t)whole;
    return true;
}

int32_t intstr_scaled_or(const struct int_or_string *v, int total, bool round_up, int32_t fallback) {
    int32_t n;
    return intstr_scaled(v, total, round_up, &n) ? n : fallback;
}
