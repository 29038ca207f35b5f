/* What the controllers of CertificateSigningRequests share. */
#ifndef CKUBE_CONTROLLER_CERTIFICATES_H
#define CKUBE_CONTROLLER_CERTIFICATES_H
#include "controller/controller.h"
#include "wire/x509_csr.h"

/* Whether it waits to be approved or denied. */
bool csr_pending(const struct certificatesv1_CertificateSigningRequest *r);
/* NULL: it may have a kubelet's serving certificate, by what it says; otherwise why not, in upstream's words. */
const char *csr_not_kubelet_serving(const struct certificatesv1_CertificateSigningRequest *r, const struct x509_csr *x);
/* Adds "Approved" with the reason AutoApproved and writes it. */
int csr_auto_approve(struct controller *c, struct arena *a, const struct certificatesv1_CertificateSigningRequest *r, const char *message, struct status *reterr);
#endif
