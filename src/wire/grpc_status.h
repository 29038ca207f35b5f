/* How a gRPC call ends: what the blocking client (grpc.h) and the one on a loop (grpc_channel.h) share. */
#ifndef CKUBE_WIRE_GRPC_STATUS_H
#define CKUBE_WIRE_GRPC_STATUS_H
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"

enum { GRPC_OK = 0, GRPC_CANCELED = 1, GRPC_UNKNOWN = 2, GRPC_INVALID_ARGUMENT = 3, GRPC_DEADLINE_EXCEEDED = 4, GRPC_NOT_FOUND = 5, GRPC_RESOURCE_EXHAUSTED = 8,
       GRPC_OUT_OF_RANGE = 11, GRPC_UNIMPLEMENTED = 12, GRPC_INTERNAL = 13, GRPC_UNAVAILABLE = 14, GRPC_CODES = 17 };

/* As grpc-go prints a code; "Unknown" for one that there is not. */
const char *grpc_code_name(int code);
/* Replaces *ret by the words of a grpc-message trailer, which come percent-encoded. */
void grpc_message_decode(struct buf *ret, const uint8_t *value, size_t len);
#endif
