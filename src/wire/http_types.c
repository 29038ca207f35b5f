#include "wire/http_types.h"
#include <string.h>
#include <strings.h>

const char *http_code_text(int code) {
    static const struct { int code; const char *text; } texts[] = {
        {200, "OK"}, {201, "Created"}, {101, "Switching Protocols"}, {202, "Accepted"}, {204, "No Content"}, {206, "Partial Content"},
        {301, "Moved Permanently"}, {302, "Found"}, {303, "See Other"}, {304, "Not Modified"}, {307, "Temporary Redirect"}, {308, "Permanent Redirect"},
        {400, "Bad Request"}, {401, "Unauthorized"}, {403, "Forbidden"}, {404, "Not Found"}, {405, "Method Not Allowed"}, {406, "Not Acceptable"},
        {408, "Request Timeout"}, {409, "Conflict"}, {410, "Gone"}, {411, "Length Required"}, {412, "Precondition Failed"}, {413, "Request Entity Too Large"},
        {414, "Request URI Too Long"}, {415, "Unsupported Media Type"}, {416, "Requested Range Not Satisfiable"}, {417, "Expectation Failed"},
        {422, "Unprocessable Entity"}, {426, "Upgrade Required"}, {429, "Too Many Requests"}, {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"}, {501, "Not Implemented"}, {502, "Bad Gateway"}, {503, "Service Unavailable"}, {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"}, {507, "Insufficient Storage"},
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (texts[i].code == code) return texts[i].text;
    return "";
}

const char *http_headers_get(const struct http_header *headers, size_t headers_len, const char *name) {
    for (size_t i = 0; i < headers_len; i++)
        if (strcasecmp(headers[i].name, name) == 0) return headers[i].value;
    return NULL;
}

static bool list_has(const char *list, const char *token) {
    size_t len = strlen(token);
    while (*list) {
        list += strspn(list, " \t,");
        size_t n = strcspn(list, ","), word = n;
        while (word && (list[word - 1] == ' ' || list[word - 1] == '\t')) word--;
        if (word == len && strncasecmp(list, token, len) == 0) return true;
        list += n;
    }
    return false;
}

bool http_headers_has_token(const struct http_header *headers, size_t headers_len, const char *name, const char *token) {
    for (size_t i = 0; i < headers_len; i++)
        if (strcasecmp(headers[i].name, name) == 0 && list_has(headers[i].value, token)) return true;
    return false;
}

bool http_header_is_hop(const char *name) {
    static const char *const hop[] = {"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "TE", "Trailer",
                                      "Transfer-Encoding", "Upgrade"};
    for (size_t i = 0; i < ARRAY_LEN(hop); i++)
        if (strcasecmp(name, hop[i]) == 0) return true;
    return false;
}
