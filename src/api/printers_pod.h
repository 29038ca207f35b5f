/* The STATUS of a Pod as kubectl shows it, and its row. */
#ifndef CKUBE_API_PRINTERS_POD_H
#define CKUBE_API_PRINTERS_POD_H
#include "api/printers.h"

void printers_pod(struct row *row, const void *pod);
#endif
