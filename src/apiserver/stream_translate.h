/* Streaming subresources on their way to the kubelet: exec, attach and port-forward. Upstream: apiserver/pkg/util/proxy, streamtranslator.go and streamtunnel.go.
 *
 * - A WebSocket client of exec or attach that offers v5.channel.k8s.io is answered here and translated to SPDY (v4.channel.k8s.io) towards the kubelet: only
 *   v5 can close stdin, and runtimes do not speak it.
 * - A WebSocket client of port-forward that offers SPDY/3.1+portforward.k8s.io gets its SPDY bytes tunnelled.
 * - Every other upgrade (SPDY, WebSocket v4 and base64) is passed on as it is, by wire/upstream_proxy.
 * Runs in the handler's fiber on the request's loop; once the streams stand it returns and they live on there. Memory: at most about 256 KiB wait in each
 * direction, then the sender is paused; a WebSocket message may have 32 MiB. Tests: tests/unit/test_stream_translate.c. */
#ifndef CKUBE_APISERVER_STREAM_TRANSLATE_H
#define CKUBE_APISERVER_STREAM_TRANSLATE_H
#include "wire/upstream_proxy.h"

enum stream_kind { STREAM_REMOTE_COMMAND, STREAM_PORT_FORWARD };
/* PodExecOptions and PodAttachOptions; unused for port-forward. */
struct stream_options { bool in, out, err, tty; };

/* Answers the request from `target` (the kubelet's URL for it; its headers carry our credentials). -1 with a status only while nothing has been answered:
 * the caller then serves it. A request that asks for no upgrade: 400 "Upgrade request required". */
int stream_proxy(struct http_request *req, enum stream_kind kind, const struct stream_options *options, const struct proxy_target *target, struct status *reterr);
#endif
