/* The kubelet's streaming endpoints: exec, attach, portForward and run. Upstream: pkg/kubelet/server, getExec and its siblings.
 *
 *   /exec/{ns}/{pod}/{container}   /exec/{ns}/{pod}/{uid}/{container}     ?command=..&input=1&output=1&error=1&tty=1
 *   /attach/...                                                           the same without command
 *   /portForward/{ns}/{pod}        /portForward/{ns}/{pod}/{uid}
 *   /run/{ns}/{pod}/{container}    /run/{ns}/{pod}/{uid}/{container}      ?cmd=..., no upgrade: the answer is the command's output
 *
 * The container runtime serves the stream itself at a URL that it hands out for one use; the client's upgrade goes on to there and the bytes are passed both
 * ways. Runs in the handler's fiber on a loop of the kubelet's server; the two callbacks may block: each call runs on a thread of its own.
 * Tests: tests/unit/test_kubelet_streaming.c. */
#ifndef CKUBE_KUBELET_STREAMING_H
#define CKUBE_KUBELET_STREAMING_H
#include <stdbool.h>
#include "api/schema.h"
#include "wire/http_server.h"

enum kubelet_stream_kind { KUBELET_STREAM_EXEC, KUBELET_STREAM_ATTACH, KUBELET_STREAM_PORT_FORWARD, KUBELET_STREAM_RUN };
struct kubelet_stream {
    enum kubelet_stream_kind kind;
    const char *namespace, *pod, *uid, *container; /* uid NULL: whichever has the name; container NULL for port-forward */
    struct string_list command;                    /* exec, run */
    bool tty, in, out, err;                        /* exec, attach */
};
struct kubelet_streaming {
    /* Asks the runtime (CRI Exec, Attach, PortForward) for the URL, into the arena. A Pod or container that is not there: 404. */
    int (*url)(void *ctx, const struct kubelet_stream *s, struct arena *a, const char **ret_url, struct status *reterr);
    /* Runs the command to its end (CRI ExecSync) and appends its output. */
    int (*run)(void *ctx, const struct kubelet_stream *s, struct buf *ret_output, struct status *reterr);
    void *ctx;
};
/* False: the path is none of ours. True: answered. Who may do so must have been checked before. */
bool kubelet_streaming_handle(const struct kubelet_streaming *k, struct http_request *req);
/* What a request asks for, without doing it. 1: it is ours; 0: not; -1: it is, but it makes no sense (400, 405). */
int kubelet_streaming_parse(struct http_request *req, struct kubelet_stream *ret, struct status *reterr);
#endif
