#include "wire/grpc_status.h"
#include <stdio.h>
#include <string.h>

const char *grpc_code_name(int code) {
    static const char *const names[GRPC_CODES] = {"OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists", "PermissionDenied",
        "ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented", "Internal", "Unavailable", "DataLoss", "Unauthenticated"};
    return names[code >= 0 && code < GRPC_CODES ? code : GRPC_UNKNOWN];
}

void grpc_message_decode(struct buf *ret, const uint8_t *value, size_t len) {
    buf_clear(ret);
    for (size_t i = 0; i < len; i++) {
        unsigned v;
        char hex[3] = {0};
        if (value[i] == '%' && i + 2 < len && (memcpy(hex, value + i + 1, 2), sscanf(hex, "%2x", &v) == 1)) {
            buf_append_char(ret, (char)v);
            i += 2;
        } else buf_append_char(ret, (char)value[i]);
    }
}
