/* CertificateSigningRequests as a table. Upstream: printers/internalversion. */
#include "api/printers_certificates.h"
#include "api/time.h"
#include "base/str.h"

void printers_certificate_signing_request(struct row *row, const void *obj) {
    const struct certificatesv1_CertificateSigningRequest *csr = obj;
    bool approved = false, denied = false, failed = false;
    LIST_FOREACH(c, &csr->status.conditions) {
        approved |= str_eq(c->type, "Approved");
        denied |= str_eq(c->type, "Denied");
        failed |= str_eq(c->type, "Failed");
    }
    cell_str(row, csr->metadata.name);
    cell_age(row, &csr->metadata.creationTimestamp);
    cell_str(row, csr->spec.signerName);
    cell_str(row, csr->spec.username);
    cell_str(row, csr->spec.expirationSeconds.has ? human_duration(row->arena, csr->spec.expirationSeconds.value) : "<none>");
    cell_printf(row, "%s%s%s", denied ? "Denied" : approved ? "Approved" : "Pending", failed ? ",Failed" : "", csr->status.certificate.len ? ",Issued" : "");
}
