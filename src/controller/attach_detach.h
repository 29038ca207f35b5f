/* What the attach-detach controller knows: which CSI volumes are attached to which nodes as far as it saw to it, and which Pods want them there. Upstream: the desired and the
 * actual state of the world of pkg/controller/volume/attachdetach/cache, in one.
 *
 * All of this belongs to the controller's only worker: no locks. A volume is known by upstream's unique name, "kubernetes.io/csi/DRIVER^HANDLE". */
#ifndef CKUBE_CONTROLLER_ATTACH_DETACH_H
#define CKUBE_CONTROLLER_ATTACH_DETACH_H
#include "base/map.h"
#include "controller/controller.h"

#define CSI_VOLUME_PREFIX "kubernetes.io/csi/"

enum attachment_state {
    ATTACHMENT_NONE,        /* nothing was begun */
    ATTACHMENT_ATTACHING,   /* its VolumeAttachment was asked for, and is waited for */
    ATTACHMENT_ATTACHED,
    ATTACHMENT_UNCERTAIN,   /* attaching or detaching failed, or was under way before a restart: there may be a VolumeAttachment */
    ATTACHMENT_DETACHING,   /* the deletion of its VolumeAttachment was asked for */
};

struct attached_volume;
/* A volume on a node. */
struct attachment {
    struct attachment *next;        /* of the same volume */
    struct attached_volume *volume;
    char *node;
    char *name;                     /* of its VolumeAttachment */
    char *pv;                       /* the PersistentVolume, NULL: not known */
    enum attachment_state state;
    bool reported;                  /* the Node's status.volumesAttached shall name it */
    bool multi_attach_reported;
    struct map *pods;               /* that want it: UID -> "namespace/name" */
    int64_t began_ns;               /* what is under way */
    int64_t detach_requested_ns;    /* since when no Pod wants it; 0: one does */
    int64_t retry_at_ns, backoff_ms; /* after a failure; 0: there was none */
};

struct attached_volume {
    char *name, *driver, *handle;
    bool exclusive;                 /* its access modes allow one node */
    bool verify;                    /* look whether it is still attached */
    struct attachment *attachments;
};

struct attach_detach {
    struct controller *c;
    struct informer *pods, *claims, *volumes, *nodes, *drivers, *attachments;
    int pods_by_claim, pods_by_node, volumes_by_name;
    bool populated;
    struct map *known;              /* unique name -> struct attached_volume */
    struct map *by_attachment;      /* name of a VolumeAttachment -> struct attachment, unowned */
    struct map *written;            /* node -> volumesAttached as it was last written; "" when that is in doubt */
    pthread_mutex_t mutex;          /* of last_in_use */
    struct map *last_in_use;        /* node that is gone -> its volumesInUse, names between newlines */
};

/* ---- attach_detach.c ---- */
void attach_detach_again(struct attach_detach *ad, const struct attached_volume *v, int64_t ms); /* sync it no later than in so many milliseconds */
void attach_detach_report(struct attach_detach *ad, const char *node);                           /* its status is to be written, soon */

/* ---- attach_detach_operations.c ---- */
struct attachment *attachment_new(struct attach_detach *ad, struct attached_volume *v, const char *node, const char *pv);
void attachment_free(struct attach_detach *ad, struct attachment *at);
/* One step for each of the volume's attachments: what is under way is looked after, what nobody wants is detached, then what Pods want is attached. */
int attached_volume_step(struct attach_detach *ad, struct arena *a, struct attached_volume *v, struct status *reterr);
/* Writes a Node's status.volumesAttached if it is not as it should be. */
int attach_detach_write_node(struct attach_detach *ad, struct arena *a, const char *node, struct status *reterr);
bool node_is_out_of_service(const struct corev1_Node *node); /* NULL: no */
#endif
