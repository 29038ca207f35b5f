/* Operators, conversions, times: what every CEL has; and the table of all functions for the checker. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "api/cel/internal.h"
#include "api/time.h"
#include "base/str.h"
#include "wire/json.h"

/* Letters: b bool, i int, u uint, d double, s string, y bytes, t timestamp, D duration, L list, M map, T type, O optional, Q quantity, U URL, I IP, C CIDR, F format, V version, * any.
 * Results besides: e the element of the first, A the type of the first, Ls a list of strings, OA an optional of the first argument. */
const struct cel_overload cel_overloads[] = {
    {"_||_", false, "bb", "b"}, {"_&&_", false, "bb", "b"}, {"!_", false, "b", "b"}, {"-_", false, "i", "i"}, {"-_", false, "d", "d"}, {"-_", false, "D", "D"},
    {"_+_", false, "ii", "i"}, {"_+_", false, "uu", "u"}, {"_+_", false, "dd", "d"}, {"_+_", false, "ss", "s"}, {"_+_", false, "yy", "y"}, {"_+_", false, "tD", "t"}, {"_+_", false, "Dt", "t"}, {"_+_", false, "DD", "D"}, {"_+_", false, "LL", "A"},
    {"_-_", false, "ii", "i"}, {"_-_", false, "uu", "u"}, {"_-_", false, "dd", "d"}, {"_-_", false, "tt", "D"}, {"_-_", false, "tD", "t"}, {"_-_", false, "DD", "D"},
    {"_*_", false, "ii", "i"}, {"_*_", false, "uu", "u"}, {"_*_", false, "dd", "d"}, {"_/_", false, "ii", "i"}, {"_/_", false, "uu", "u"}, {"_/_", false, "dd", "d"}, {"_%_", false, "ii", "i"}, {"_%_", false, "uu", "u"},
#define ORDER(op) {op, false, "ii", "b"}, {op, false, "uu", "b"}, {op, false, "dd", "b"}, {op, false, "iu", "b"}, {op, false, "ui", "b"}, {op, false, "id", "b"}, {op, false, "di", "b"}, {op, false, "ud", "b"}, {op, false, "du", "b"}, \
                  {op, false, "ss", "b"}, {op, false, "yy", "b"}, {op, false, "bb", "b"}, {op, false, "tt", "b"}, {op, false, "DD", "b"}
    ORDER("_<_"), ORDER("_<=_"), ORDER("_>_"), ORDER("_>=_"),
    {"size", false, "s", "i"}, {"size", false, "y", "i"}, {"size", false, "L", "i"}, {"size", false, "M", "i"}, {"size", true, "s", "i"}, {"size", true, "y", "i"}, {"size", true, "L", "i"}, {"size", true, "M", "i"},
    {"int", false, "*", "i"}, {"uint", false, "*", "u"}, {"double", false, "*", "d"}, {"string", false, "*", "s"}, {"bytes", false, "s", "y"}, {"bytes", false, "y", "y"}, {"bool", false, "s", "b"}, {"bool", false, "b", "b"}, {"dyn", false, "*", "*"},
    {"type", false, "*", "T"}, {"timestamp", false, "s", "t"}, {"timestamp", false, "t", "t"}, {"timestamp", false, "i", "t"}, {"duration", false, "s", "D"}, {"duration", false, "D", "D"},
    {"contains", true, "ss", "b"}, {"startsWith", true, "ss", "b"}, {"endsWith", true, "ss", "b"}, {"matches", true, "ss", "b"}, {"matches", false, "ss", "b"},
#define TIMES(name) {name, true, "t", "i"}, {name, true, "ts", "i"}
    TIMES("getFullYear"), TIMES("getMonth"), TIMES("getDayOfYear"), TIMES("getDayOfMonth"), TIMES("getDate"), TIMES("getDayOfWeek"), TIMES("getHours"), TIMES("getMinutes"), TIMES("getSeconds"), TIMES("getMilliseconds"),
    {"getHours", true, "D", "i"}, {"getMinutes", true, "D", "i"}, {"getSeconds", true, "D", "i"}, {"getMilliseconds", true, "D", "i"},
    {"charAt", true, "si", "s"}, {"indexOf", true, "ss", "i"}, {"indexOf", true, "ssi", "i"}, {"lastIndexOf", true, "ss", "i"}, {"lastIndexOf", true, "ssi", "i"}, {"join", true, "L", "s"}, {"join", true, "Ls", "s"}, {"lowerAscii", true, "s", "s"},
    {"upperAscii", true, "s", "s"}, {"replace", true, "sss", "s"}, {"replace", true, "sssi", "s"}, {"split", true, "ss", "Ls"}, {"split", true, "ssi", "Ls"}, {"substring", true, "si", "s"}, {"substring", true, "sii", "s"}, {"trim", true, "s", "s"},
    {"reverse", true, "s", "s"}, {"quote", true, "Ts", "s"}, {"format", true, "sL", "s"}, {"find", true, "ss", "s"}, {"findAll", true, "ss", "Ls"}, {"findAll", true, "ssi", "Ls"},
    {"isSorted", true, "L", "b"}, {"sum", true, "L", "e"}, {"min", true, "L", "e"}, {"max", true, "L", "e"}, {"indexOf", true, "L*", "i"}, {"lastIndexOf", true, "L*", "i"}, {"contains", true, "TLL", "b"}, {"equivalent", true, "TLL", "b"},
    {"intersects", true, "TLL", "b"}, {"of", true, "T*", "OA"}, {"ofNonZeroValue", true, "T*", "OA"}, {"none", true, "T", "O"}, {"hasValue", true, "O", "b"}, {"value", true, "O", "e"}, {"orValue", true, "O*", "e"}, {"or", true, "OO", "A"},
    {"quantity", false, "s", "Q"}, {"isQuantity", false, "s", "b"}, {"sign", true, "Q", "i"}, {"isInteger", true, "Q", "b"}, {"asInteger", true, "Q", "i"}, {"asApproximateFloat", true, "Q", "d"}, {"add", true, "QQ", "Q"}, {"add", true, "Qi", "Q"},
    {"sub", true, "QQ", "Q"}, {"sub", true, "Qi", "Q"}, {"isGreaterThan", true, "QQ", "b"}, {"isLessThan", true, "QQ", "b"}, {"compareTo", true, "QQ", "i"},
    {"path", true, "Zs", "P"}, {"group", true, "Zs", "G"}, {"serviceAccount", true, "Zss", "Z"}, {"resource", true, "Gs", "R"}, {"subresource", true, "Rs", "R"}, {"namespace", true, "Rs", "R"}, {"name", true, "Rs", "R"},
    {"fieldSelector", true, "Rs", "R"}, {"labelSelector", true, "Rs", "R"}, {"check", true, "Ps", "N"}, {"check", true, "Rs", "N"}, {"allowed", true, "N", "b"}, {"reason", true, "N", "s"}, {"errored", true, "N", "b"}, {"error", true, "N", "s"},
    {"semver", false, "s", "V"}, {"semver", false, "sb", "V"}, {"isSemver", false, "s", "b"}, {"isSemver", false, "sb", "b"}, {"major", true, "V", "i"}, {"minor", true, "V", "i"}, {"patch", true, "V", "i"},
    {"isGreaterThan", true, "VV", "b"}, {"isLessThan", true, "VV", "b"}, {"compareTo", true, "VV", "i"},
    {"url", false, "s", "U"}, {"isURL", false, "s", "b"}, {"getScheme", true, "U", "s"}, {"getHost", true, "U", "s"}, {"getHostname", true, "U", "s"}, {"getPort", true, "U", "s"}, {"getEscapedPath", true, "U", "s"}, {"getQuery", true, "U", "M"},
    {"ip", false, "s", "I"}, {"isIP", false, "s", "b"}, {"isCanonical", true, "Ts", "b"}, {"family", true, "I", "i"}, {"isUnspecified", true, "I", "b"}, {"isLoopback", true, "I", "b"}, {"isLinkLocalMulticast", true, "I", "b"},
    {"isLinkLocalUnicast", true, "I", "b"}, {"isGlobalUnicast", true, "I", "b"}, {"cidr", false, "s", "C"}, {"isCIDR", false, "s", "b"}, {"containsIP", true, "CI", "b"}, {"containsIP", true, "Cs", "b"}, {"containsCIDR", true, "CC", "b"},
    {"containsCIDR", true, "Cs", "b"}, {"ip", true, "C", "I"}, {"masked", true, "C", "C"}, {"prefixLength", true, "C", "i"},
    {"named", true, "Ts", "OF"}, {"dns1123Label", true, "T", "F"}, {"dns1123Subdomain", true, "T", "F"}, {"dns1035Label", true, "T", "F"}, {"qualifiedName", true, "T", "F"}, {"labelValue", true, "T", "F"}, {"dns1123LabelPrefix", true, "T", "F"},
    {"dns1123SubdomainPrefix", true, "T", "F"}, {"dns1035LabelPrefix", true, "T", "F"}, {"uri", true, "T", "F"}, {"uuid", true, "T", "F"}, {"byte", true, "T", "F"}, {"date", true, "T", "F"}, {"datetime", true, "T", "F"}, {"validate", true, "Fs", "OL"},
    {NULL, false, NULL, NULL}};

/* ---- arithmetic ---- */

static struct cel_value overflow(struct arena *a, const char *what) { return cel_error(a, "%s overflow", what); }

static bool int_op(struct call *c, char op, int64_t x, int64_t y, struct cel_value *ret) {
    int64_t r = 0;
    bool bad;
    if ((op == '/' || op == '%') && y == 0) {
        *ret = cel_error(c->arena, op == '/' ? "division by zero" : "modulus by zero");
        return true;
    }
    switch (op) {
        case '+': bad = __builtin_add_overflow(x, y, &r); break;
        case '-': bad = __builtin_sub_overflow(x, y, &r); break;
        case '*': bad = __builtin_mul_overflow(x, y, &r); break;
        default:
            bad = x == INT64_MIN && y == -1;
            if (!bad) r = op == '/' ? x / y : x % y;
    }
    *ret = bad ? overflow(c->arena, "integer") : CEL_INT_VALUE(r);
    return true;
}

static bool uint_op(struct call *c, char op, uint64_t x, uint64_t y, struct cel_value *ret) {
    uint64_t r = 0;
    bool bad = false;
    if ((op == '/' || op == '%') && y == 0) {
        *ret = cel_error(c->arena, op == '/' ? "division by zero" : "modulus by zero");
        return true;
    }
    if (op == '+') bad = __builtin_add_overflow(x, y, &r);
    else if (op == '-') bad = __builtin_sub_overflow(x, y, &r);
    else if (op == '*') bad = __builtin_mul_overflow(x, y, &r);
    else r = op == '/' ? x / y : x % y;
    *ret = bad ? overflow(c->arena, "unsigned integer") : CEL_VALUE(CEL_UINT, u, r);
    return true;
}

static bool time_op(struct call *c, char op, const struct cel_value *x, const struct cel_value *y, struct cel_value *ret) {
    int64_t ns;
    if (x->kind == CEL_TIMESTAMP && y->kind == CEL_TIMESTAMP && op == '-') {
        if (__builtin_mul_overflow(x->time.sec - y->time.sec, 1000000000ll, &ns) || __builtin_add_overflow(ns, (int64_t)x->time.nsec - y->time.nsec, &ns)) *ret = overflow(c->arena, "timestamp");
        else *ret = CEL_VALUE(CEL_DURATION, i, ns);
        return true;
    }
    if (x->kind == CEL_DURATION && y->kind == CEL_DURATION) {
        bool bad = op == '+' ? __builtin_add_overflow(x->i, y->i, &ns) : __builtin_sub_overflow(x->i, y->i, &ns);
        *ret = bad ? overflow(c->arena, "duration") : CEL_VALUE(CEL_DURATION, i, ns);
        return true;
    }
    const struct cel_value *t = x->kind == CEL_TIMESTAMP ? x : y, *d = x->kind == CEL_TIMESTAMP ? y : x;
    if (t->kind != CEL_TIMESTAMP || d->kind != CEL_DURATION || (op == '-' && t == y)) return false;
    int64_t nsec = t->time.nsec + (op == '+' ? d->i % 1000000000 : -(d->i % 1000000000)), sec = t->time.sec + (op == '+' ? d->i / 1000000000 : -(d->i / 1000000000));
    if (nsec < 0) nsec += 1000000000, sec--;
    if (nsec >= 1000000000) nsec -= 1000000000, sec++;
    *ret = (struct cel_value){.kind = CEL_TIMESTAMP, .time = {sec, (int32_t)nsec}};
    return true;
}

static bool concat(struct call *c, const struct cel_value *x, const struct cel_value *y, struct cel_value *ret) {
    struct cel_value v;
    if ((x->kind == CEL_STRING || x->kind == CEL_BYTES) && x->kind == y->kind) {
        char *s = arena_alloc(c->arena, x->str.len + y->str.len + 1);
        memcpy(s, x->str.s, x->str.len);
        memcpy(s + x->str.len, y->str.s, y->str.len);
        *ret = cel_str(s, x->str.len + y->str.len);
        ret->kind = x->kind;
        c->cost += ret->str.len / 10;
        return true;
    }
    if (x->kind != CEL_LIST || y->kind != CEL_LIST) return false;
    *ret = cel_list_new(c->arena);
    for (size_t i = 0; cel_list_at(c->arena, x, i, &v); i++) cel_list_push(c->arena, ret, &v);
    for (size_t i = 0; cel_list_at(c->arena, y, i, &v); i++) cel_list_push(c->arena, ret, &v);
    c->cost += ret->list->len;
    return true;
}

static bool arithmetic(struct call *c, char op, struct cel_value *ret) {
    const struct cel_value *x = &c->args[0], *y = &c->args[1];
    if (x->kind == CEL_INT && y->kind == CEL_INT) return int_op(c, op, x->i, y->i, ret);
    if (x->kind == CEL_UINT && y->kind == CEL_UINT) return uint_op(c, op, x->u, y->u, ret);
    if (x->kind == CEL_DOUBLE && y->kind == CEL_DOUBLE && op != '%') {
        *ret = CEL_VALUE(CEL_DOUBLE, d, op == '+' ? x->d + y->d : op == '-' ? x->d - y->d : op == '*' ? x->d * y->d : x->d / y->d);
        return true;
    }
    return ((op == '+' || op == '-') && time_op(c, op, x, y, ret)) || (op == '+' && concat(c, x, y, ret));
}

static bool negate(struct call *c, struct cel_value *ret) {
    const struct cel_value *x = &c->args[0];
    *ret = *x;
    if (x->kind == CEL_DOUBLE) ret->d = -x->d;
    else if ((x->kind == CEL_INT || x->kind == CEL_DURATION) && x->i == INT64_MIN) *ret = overflow(c->arena, "integer");
    else if (x->kind == CEL_INT || x->kind == CEL_DURATION) ret->i = -x->i;
    else return false;
    return true;
}

static bool order(struct call *c, struct cel_value *ret) {
    bool ok;
    int v = cel_compare(&c->args[0], &c->args[1], &ok);
    char op = c->name[1];
    bool nan = (c->args[0].kind == CEL_DOUBLE && isnan(c->args[0].d)) || (c->args[1].kind == CEL_DOUBLE && isnan(c->args[1].d)), equal = c->name[2] == '=';
    if (!ok) return false;
    *ret = CEL_BOOL_VALUE(!nan && ((op == '<' ? v < 0 : v > 0) || (equal && v == 0)));
    if (c->args[0].kind == CEL_STRING) c->cost += MIN(c->args[0].str.len, c->args[1].str.len) / 10;
    return true;
}

static bool contained(struct call *c, struct cel_value *ret) {
    struct cel_value v;
    const struct cel_value *in = &c->args[1];
    *ret = CEL_BOOL_VALUE(false);
    if (in->kind == CEL_MAP) ret->b = cel_map_find(c->arena, in, &c->args[0], &v);
    else if (in->kind != CEL_LIST) return false;
    else for (size_t i = 0; !ret->b && cel_list_at(c->arena, in, i, &v); i++, c->cost++) ret->b = cel_equal(c->arena, &v, &c->args[0]);
    return true;
}

static bool operators(struct call *c, struct cel_value *ret) {
    if (c->len == 2 && (strcmp(c->name, "_==_") == 0 || strcmp(c->name, "_!=_") == 0)) {
        *ret = CEL_BOOL_VALUE(cel_equal(c->arena, &c->args[0], &c->args[1]) == (c->name[1] == '='));
        if (c->args[0].kind == CEL_STRING) c->cost += c->args[0].str.len / 10;
        return true;
    }
    if (c->len == 2 && strchr("<>", c->name[1])) return order(c, ret);
    if (c->len == 2) return arithmetic(c, c->name[1], ret);
    if (strcmp(c->name, "!_") == 0 && c->args[0].kind == CEL_BOOL) {
        *ret = CEL_BOOL_VALUE(!c->args[0].b);
        return true;
    }
    return strcmp(c->name, "-_") == 0 && negate(c, ret);
}

/* ---- conversions ---- */

static const char *text_of(struct call *c, const struct cel_value *v) { return arena_strndup(c->arena, v->str.s, v->str.len); }

static bool to_int(struct call *c, const struct cel_value *v, struct cel_value *ret) {
    *ret = CEL_INT_VALUE(0);
    switch (v->kind) {
        case CEL_INT: ret->i = v->i; return true;
        case CEL_UINT:
            if (v->u > INT64_MAX) *ret = overflow(c->arena, "integer");
            else ret->i = (int64_t)v->u;
            return true;
        case CEL_DOUBLE:
            if (!(v->d > -9223372036854775808.0 && v->d < 9223372036854775808.0)) *ret = overflow(c->arena, "integer");
            else ret->i = (int64_t)v->d;
            return true;
        case CEL_STRING:
            if (!str_to_i64(text_of(c, v), &ret->i)) *ret = cel_error(c->arena, "type conversion error from 'string' to 'int'");
            return true;
        case CEL_TIMESTAMP: ret->i = v->time.sec; return true;
        case CEL_DURATION: ret->i = v->i; return true;
        default: return false;
    }
}

static bool to_uint(struct call *c, const struct cel_value *v, struct cel_value *ret) {
    *ret = CEL_VALUE(CEL_UINT, u, 0);
    if (v->kind == CEL_UINT) ret->u = v->u;
    else if (v->kind == CEL_INT && v->i >= 0) ret->u = (uint64_t)v->i;
    else if (v->kind == CEL_DOUBLE && v->d >= 0 && v->d < 18446744073709551616.0) ret->u = (uint64_t)v->d;
    else if (v->kind == CEL_INT || v->kind == CEL_DOUBLE) *ret = overflow(c->arena, "unsigned integer");
    else if (v->kind != CEL_STRING) return false;
    else if (!str_to_u64(text_of(c, v), &ret->u)) *ret = cel_error(c->arena, "type conversion error from 'string' to 'uint'");
    return true;
}

static bool to_double(struct call *c, const struct cel_value *v, struct cel_value *ret) {
    char *end;
    *ret = CEL_VALUE(CEL_DOUBLE, d, 0);
    if (v->kind == CEL_DOUBLE) ret->d = v->d;
    else if (v->kind == CEL_INT) ret->d = (double)v->i;
    else if (v->kind == CEL_UINT) ret->d = (double)v->u;
    else if (v->kind != CEL_STRING) return false;
    else {
        const char *text = text_of(c, v);
        ret->d = strtod(text, &end);
        if (!*text || *end) *ret = cel_error(c->arena, "type conversion error from 'string' to 'double'");
    }
    return true;
}

static bool to_string(struct call *c, const struct cel_value *v, struct cel_value *ret) {
    yyjson_mut_doc *doc = json_mut_new(c->arena, NULL);
    yyjson_mut_val *json;
    switch (v->kind) {
        case CEL_STRING: *ret = *v; return true;
        case CEL_BYTES: *ret = cel_str(v->str.s, v->str.len); return true;
        case CEL_INT: *ret = cel_string_value(c->arena, arena_printf(c->arena, "%lld", (long long)v->i)); return true;
        case CEL_UINT: *ret = cel_string_value(c->arena, arena_printf(c->arena, "%llu", (unsigned long long)v->u)); return true;
        case CEL_BOOL: *ret = cel_string_value(c->arena, v->b ? "true" : "false"); return true;
        case CEL_DOUBLE: {
            struct buf out = BUF_INIT;
            json_write_double(&out, v->d);
            *ret = cel_string_value(c->arena, out.data);
            buf_release(&out);
            return true;
        }
        case CEL_TIMESTAMP: case CEL_DURATION: case CEL_QUANTITY: case CEL_URL: case CEL_SEMVER:
            json = cel_to_json(c->arena, doc, v);
            *ret = cel_string_value(c->arena, yyjson_mut_get_str(json));
            return true;
        default: return false;
    }
}

static bool to_time(struct call *c, const struct cel_value *v, struct cel_value *ret) {
    struct api_time t;
    *ret = *v;
    if (v->kind == CEL_TIMESTAMP) return true;
    if (v->kind == CEL_INT) {
        *ret = (struct cel_value){.kind = CEL_TIMESTAMP, .time = {v->i, 0}};
        return true;
    }
    if (v->kind != CEL_STRING) return false;
    if (micro_time_parse(text_of(c, v), &t, NULL) != 0) *ret = cel_error(c->arena, "type conversion error from 'string' to 'google.protobuf.Timestamp'");
    else *ret = (struct cel_value){.kind = CEL_TIMESTAMP, .time = {t.sec, t.nsec}};
    return true;
}

static bool to_duration(struct call *c, const struct cel_value *v, struct cel_value *ret) {
    int64_t ns;
    *ret = *v;
    if (v->kind == CEL_DURATION) return true;
    if (v->kind != CEL_STRING) return false;
    *ret = duration_parse(text_of(c, v), &ns) ? CEL_VALUE(CEL_DURATION, i, ns) : cel_error(c->arena, "type conversion error from 'string' to 'google.protobuf.Duration'");
    return true;
}

static bool conversion(struct call *c, struct cel_value *ret) {
    const struct cel_value *v = &c->args[0];
    const char *n = c->name;
    if (strcmp(n, "int") == 0) return to_int(c, v, ret);
    if (strcmp(n, "uint") == 0) return to_uint(c, v, ret);
    if (strcmp(n, "double") == 0) return to_double(c, v, ret);
    if (strcmp(n, "string") == 0) return to_string(c, v, ret);
    if (strcmp(n, "timestamp") == 0) return to_time(c, v, ret);
    if (strcmp(n, "duration") == 0) return to_duration(c, v, ret);
    *ret = *v;
    if (strcmp(n, "dyn") == 0) return true;
    if (strcmp(n, "bytes") == 0 && (v->kind == CEL_STRING || v->kind == CEL_BYTES)) {
        ret->kind = CEL_BYTES;
        return true;
    }
    if (strcmp(n, "bool") == 0 && v->kind == CEL_BOOL) return true;
    if (strcmp(n, "bool") == 0 && v->kind == CEL_STRING) {
        static const char *const yes[] = {"1", "t", "T", "TRUE", "true", "True", NULL}, *const no[] = {"0", "f", "F", "FALSE", "false", "False", NULL};
        const char *text = text_of(c, v);
        *ret = str_in(text, yes) ? CEL_BOOL_VALUE(true) : str_in(text, no) ? CEL_BOOL_VALUE(false) : cel_error(c->arena, "type conversion error from 'string' to 'bool'");
        return true;
    }
    if (strcmp(n, "type") != 0) return false;
    const char *name = cel_kind_name(v);
    *ret = (struct cel_value){.kind = CEL_TYPE, .str = {name, strlen(name)}};
    return true;
}

/* ---- parts of times ---- */

static int64_t time_part(const char *name, const struct tm *tm, int64_t nsec) {
    if (strcmp(name, "getFullYear") == 0) return tm->tm_year + 1900;
    if (strcmp(name, "getMonth") == 0) return tm->tm_mon;
    if (strcmp(name, "getDayOfYear") == 0) return tm->tm_yday;
    if (strcmp(name, "getDayOfMonth") == 0) return tm->tm_mday - 1;
    if (strcmp(name, "getDate") == 0) return tm->tm_mday;
    if (strcmp(name, "getDayOfWeek") == 0) return tm->tm_wday;
    if (strcmp(name, "getHours") == 0) return tm->tm_hour;
    if (strcmp(name, "getMinutes") == 0) return tm->tm_min;
    return strcmp(name, "getSeconds") == 0 ? tm->tm_sec : nsec / 1000000;
}

static bool parts(struct call *c, struct cel_value *ret) {
    const struct cel_value *v = &c->args[0];
    struct tm tm;
    int h = 0, m = 0;
    if (strncmp(c->name, "get", 3) != 0 || !c->method) return false;
    if (v->kind == CEL_DURATION) {
        int64_t unit = strcmp(c->name, "getHours") == 0 ? 3600000000000ll : strcmp(c->name, "getMinutes") == 0 ? 60000000000ll : strcmp(c->name, "getSeconds") == 0 ? 1000000000ll : 1000000ll;
        *ret = CEL_INT_VALUE(v->i / unit);
        return true;
    }
    if (v->kind != CEL_TIMESTAMP) return false;
    time_t sec = (time_t)v->time.sec;
    if (c->len == 2 && c->args[1].kind == CEL_STRING) { /* an offset; names of zones are not known here */
        const char *zone = text_of(c, &c->args[1]);
        if (sscanf(zone, "%d:%d", &h, &m) == 2) sec += h * 3600 + (*zone == '-' ? -m : m) * 60;
        else if (strcmp(zone, "UTC") != 0 && *zone) {
            *ret = cel_error(c->arena, "unknown time zone %s", zone);
            return true;
        }
    }
    gmtime_r(&sec, &tm);
    *ret = CEL_INT_VALUE(time_part(c->name, &tm, v->time.nsec));
    return true;
}

static bool size(struct call *c, struct cel_value *ret) {
    struct cel_value v = c->args[0];
    int64_t n = 0;
    if (v.kind == CEL_LIST || v.kind == CEL_MAP) n = (int64_t)cel_size(&v);
    else if (v.kind == CEL_BYTES) n = (int64_t)v.str.len;
    else if (v.kind != CEL_STRING) return false;
    else for (size_t i = 0; i < v.str.len; i++) n += ((unsigned char)v.str.s[i] & 0xC0) != 0x80;
    *ret = CEL_INT_VALUE(n);
    return true;
}

bool cel_call_standard(struct call *c, struct cel_value *ret) {
    if (c->len == 0) return false;
    if (strcmp(c->name, "@in") == 0) return c->len == 2 && contained(c, ret);
    if (*c->name == '_' || *c->name == '!' || *c->name == '-') return operators(c, ret);
    if (strcmp(c->name, "size") == 0 && c->len == 1) return size(c, ret);
    if (!c->method && c->len == 1 && conversion(c, ret)) return true;
    return parts(c, ret);
}
