/* PrioritySort: the order of the queue, which scheduling_queue.c keeps itself. Upstream: plugins/queuesort. */
#include "scheduler/plugins/plugins.h"

const struct plugin plugin_priority_sort = {.name = "PrioritySort", .id = PLUGIN_PRIORITY_SORT, .queue_sort = true};
