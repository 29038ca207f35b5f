/* Rules are not compiled or enforced yet: docs/status.md says so. */
#include "api/cel/rules.h"

void cel_check_rule(const struct structural *s UNUSED, bool root UNUSED, const struct apiextensionsv1_ValidationRule *rule UNUSED, const struct field_path *uncorrelatable UNUSED, const struct field_path *at UNUSED,
                    struct field_errors *errs UNUSED) {}
void structural_validate_rules(const struct structural *s UNUSED, yyjson_val *x UNUSED, yyjson_val *old UNUSED, const struct field_path *at UNUSED, struct field_errors *errs UNUSED) {}
