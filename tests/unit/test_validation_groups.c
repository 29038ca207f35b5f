/* CustomResourceDefinitions, their objects, and admission's registrations: what is wrong with them, in upstream's words. */
#include "api/structural.h"
#include "api/validation/crd.h"
#include "api/validation/groups.h"
#include "wire/json.h"
#include "validation_testing.h"

#define DEFINITION(more, versions) "{'metadata':{'name':'things.a.example'},'spec':{'group':'a.example','scope':'Namespaced','names':{'plural':'things','kind':'Thing'" more "},'versions':[" versions "]}}"
#define VERSION(schema) "{'name':'v1','served':true,'storage':true,'schema':{'openAPIV3Schema':" schema "}}"
#define SCHEMA(schema) DEFINITION("", VERSION("{'type':'object','properties':{'a':" schema "}}"))
#define AT "spec.validation.openAPIV3Schema"
#define LABEL_1035 "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"

static void definitions(void **state UNUSED) {
    static const struct validation_case cases[] = {
        {SCHEMA("{'type':'integer','default':3}"), ""},
        {DEFINITION(",'shortNames':['']", VERSION("{'type':'object'}")), "spec.names.shortNames[0]: Invalid value: \"\": " LABEL_1035},
        {DEFINITION("", "{'name':'v1','storage':true,'served':true,'schema':{'openAPIV3Schema':{'type':'object'}}},{'name':'v1','schema':{'openAPIV3Schema':{'type':'object'}}}"),
            "spec.versions: Invalid value: [{\"Name\":\"v1\",\"Served\":true,\"Storage\":true,\"Deprecated\":false,\"DeprecationWarning\":null,\"Schema\":null,\"Subresources\":null,\"AdditionalPrinterColumns\":null,\"SelectableFields\":null},"
            "{\"Name\":\"v1\",\"Served\":false,\"Storage\":false,\"Deprecated\":false,\"DeprecationWarning\":null,\"Schema\":null,\"Subresources\":null,\"AdditionalPrinterColumns\":null,\"SelectableFields\":null}]: must contain unique version names"},
        /* what cannot be structural at all is told only where nothing else is */
        {SCHEMA("{'$schema':'x','type':'string','pattern':'['}"), AT ": Invalid value: \"\": OpenAPIV3Schema 'schema' is not supported"},
        {SCHEMA("{'id':'x'}"), AT ".properties[a].id: Forbidden: id is not supported"},
        {SCHEMA("{'type':'array','x-kubernetes-list-type':'map','x-kubernetes-list-map-keys':['k'],'items':'odd'}"), AT ".properties[a].items: Required value: must be specified | " AT ".properties[a].items: Invalid value: {\"Schema\":null,\"JSONSchemas\":null}: must only have a single schema if x-kubernetes-list-type is map"},
        {SCHEMA("{'type':'string','pattern':'(a'}"), AT ".properties[a].pattern: Invalid value: \"(a\": must be a valid regular expression, but isn't: error parsing regexp: missing closing ): `(a`"},
        {SCHEMA("{'type':'string','pattern':'a{1001}'}"), AT ".properties[a].pattern: Invalid value: \"a{1001}\": must be a valid regular expression, but isn't: error parsing regexp: invalid repeat count: `{1001}`"},
        {SCHEMA("{'type':'string','default':'b','x-kubernetes-validations':[{'message':'m'}]}"), AT ".properties[a].x-kubernetes-validations[0].rule: Required value: rule is not specified"},
        {SCHEMA("{'type':'integer','x-kubernetes-validations':[{'rule':'self.','optionalOldSelf':false}]}"), AT ".properties[a].x-kubernetes-validations[0].rule: Invalid value: {\"Rule\":\"self.\",\"Message\":\"\",\"MessageExpression\":\"\",\"Reason\":null,\"FieldPath\":\"\",\"OptionalOldSelf\":false}: compilation failed: ERROR: <input>:1:6: Syntax error: no viable alternative at input '.'\n | self.\n | .....^ | " AT ".properties[a].x-kubernetes-validations[0].optionalOldSelf: Invalid value: false: may not be set if oldSelf is not used in rule"},
        /* a default is held to the schema as it is declared */
        {SCHEMA("{'x-kubernetes-int-or-string':true,'default':true}"), ""},
        {DEFINITION("", VERSION("{'type':'object','default':{}}")), AT ".default.apiVersion: Required value | " AT ".default.kind: Required value"},
        {DEFINITION("", "{'name':'v1','served':true,'storage':true,'schema':{'openAPIV3Schema':{'type':'object','properties':{'a':{'type':'string'}}}},'selectableFields':[{'jsonPath':'a'},{'jsonPath':'.a..'}]}"),
            "spec.selectableFields[0].jsonPath: Invalid value: \"a\": is an invalid path: expected [ or . but got: a | spec.selectableFields[1].jsonPath: Invalid value: \".a..\": is an invalid path: does not refer to a valid field"},
        {"{'metadata':{'name':'things.a.example'},'spec':{'group':'a.example','scope':'Namespaced','names':{'plural':'things','kind':'Thing'},'versions':[" VERSION("{'type':'object'}") "],'conversion':{'strategy':'Webhook','webhook':{'conversionReviewVersions':['v1'],'clientConfig':{'url':'http://u@h/p?q#f'}}}}}",
            "spec.conversion.webhookClientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: https://host[/path] | spec.conversion.webhookClientConfig.url: Invalid value: \"u\": user information is not permitted in the URL | spec.conversion.webhookClientConfig.url: Invalid value: \"f\": fragments are not permitted in the URL | spec.conversion.webhookClientConfig.url: Invalid value: \"q\": query parameters are not permitted in the URL"},
    };
    CHECK_CREATIONS(apiextensionsv1_CustomResourceDefinition_desc, validate_custom_resource_definition, cases);
}

/* A schema, a value, the value before it or NULL, and what is wrong. */
static void values(void **state UNUSED) {
    static const struct { const char *schema, *value, *old, *want; } cases[] = {
        {"{'type':'number','multipleOf':0.5}", "1.5", NULL, ""},
        {"{'type':'number','multipleOf':0.5}", "3", NULL, "<nil>: Invalid value: 0: factor MultipleOf declared for  must be positive: 0"},
        {"{'type':'number','minimum':1.5}", "1", NULL, ""},
        {"{'type':'integer'}", "9223372036854775807", NULL, ""},
        {"{'type':'integer','nullable':true,'enum':[1,null]}", "null", NULL, "<nil>: Unsupported value: null: supported values: \"1\", \"null\""},
        {"{'type':'number','enum':[1]}", "1.5", NULL, ""},
        {"{'format':'uuid'}", "1", NULL, "<nil>: Invalid value: \"int64\":  in body must be of type uuid: \"int64\""},
        {"{'type':'string','maxLength':-1}", "'a'", NULL, "<nil>: Too long: value is too long"},
        {"{'type':'object','required':['a','a']}", "{}", NULL, "a: Required value"},
        {"{'type':'object','properties':{'a':{'type':'string'}},'allOf':[{'properties':{'a':{'maxLength':1}}},{'properties':{'a':{'maxLength':1}}}]}", "{'a':'bb'}", NULL, "a: Too long: may not be more than 1 bytes | <nil>: Invalid value: \"\": \"\" must validate all the schemas (allOf). None validated"},
        {"{'type':'object','properties':{'a':{'type':'integer','maximum':1},'b':{'type':'integer'}}}", "{'a':2,'b':2}", "{'a':2,'b':1}", ""},
        {"{'type':'object','properties':{'a':{'type':'integer'},'b':{'type':'integer'}},'anyOf':[{'properties':{'a':{'maximum':1}}}]}", "{'a':2,'b':2}", "{'a':2,'b':1}", "<nil>: Invalid value: \"\": \"\" must validate at least one schema (anyOf) | a: Invalid value: 2: a in body should be less than or equal to 1"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        struct structural *s;
        yyjson_val *parsed[2] = {NULL, NULL};
        const char *texts[] = {cases[i].value, cases[i].old};
        for (size_t k = 0; k < 2; k++) {
            if (!texts[k]) continue;
            char *json = arena_strdup(a, texts[k]);
            for (char *p = json; *p; p++)
                if (*p == '\'') *p = '"';
            parsed[k] = yyjson_doc_get_root(json_parse_in(a, json, strlen(json), 0, NULL));
        }
        struct field_errors errs = field_errors_in(a);
        assert_int_equal(structural_new(a, object_from(a, &apiextensionsv1_JSONSchemaProps_desc, cases[i].schema), &s, NULL), 0);
        structural_validate(s, parsed[0], parsed[1], NULL, &errs);
        same_errors(&errs, cases[i].schema, cases[i].want);
    }
}

static void formats(void **state UNUSED) {
    static const struct { const char *format, *value; bool matches; } cases[] = {
        {"duration", "1h30m", true}, {"duration", "0", true}, {"duration", "every 2 weeks", true}, {"duration", "5", false}, {"duration", "5x", false}, {"byte", "YWJj", true}, {"byte", "", false}, {"date-time", "2020-01-01t00:00:00z", true},
        {"date-time", "2020-01-01T24:00:00Z", false}, {"ssn", "123456789", false}, {"ssn", "123-45-6789", true}, {"rgbcolor", "rgb(255,0,7)", true}, {"rgbcolor", "rgb(256,0,0)", false}, {"hostname", "a-b", true}, {"hostname", "a.b", false},
        {"hostname", "a.example", true}, {"nothing", "x", true}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (format_matches(cases[i].format, cases[i].value) != cases[i].matches) fail_msg("%s: %s", cases[i].format, cases[i].value);
    assert_false(format_known("goduration"));
}

static void patterns(void **state UNUSED) {
    static const struct { const char *pattern, *want; } cases[] = {
        {"^[a-z]{2,3}(?:x|y)*?\\d$", NULL}, {"[", "missing closing ]: `[`"}, {"a)", "unexpected ): `a)`"}, {"*", "missing argument to repetition operator: `*`"}, {"a**", "invalid nested repetition operator: `**`"},
        {"x{2,1}", "invalid repeat count: `{2,1}`"}, {"[z-a]", "invalid character class range: `z-a`"}, {"\\8", "invalid escape sequence: `\\8`"}, {"a\\", "trailing backslash at end of expression: ``"},
        {"(?=a)", "invalid or unsupported Perl syntax: `(?=`"}, {"(?<=a)", "invalid named capture: `(?<=a)`"}, {"a{,2}", NULL}, {"[]a]", NULL}, {"[[:word:]]", NULL}, {"[[:odd:]]", "invalid character class range: `[:odd:]`"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        const char *got = regex_syntax_error(a, cases[i].pattern);
        if (!str_eq(got, cases[i].want)) fail_msg("%s: %s", cases[i].pattern, str_or(got, "accepted"));
    }
}

#define POLICY(more) "{'metadata':{'name':'p'},'spec':{'matchConstraints':{'resourceRules':[{'operations':['CREATE'],'apiGroups':[''],'apiVersions':['v1'],'resources':['pods']}]}" more "}}"
#define WHERE(expression) ": compilation failed: ERROR: <input>:1:1: undeclared reference to '" expression "' (in container '')\n"

static void policies(void **state UNUSED) {
    static const struct validation_case cases[] = {
        {POLICY(",'variables':[{'name':'n','expression':'size(object.data)'}],'validations':[{'expression':'variables.n > 1 && request.userInfo.username != namespaceObject.metadata.name'}]"), ""},
        {POLICY(",'validations':[{'expression':'params.a'}]"), "spec.validations[0].expression: Invalid value: \"params.a\"" WHERE("params") " | params.a\n | ^"},
        {POLICY(",'validations':[{'expression':'object.a'}]"), "spec.validations[0].expression: Invalid value: \"object.a\": must evaluate to bool but got dyn"},
        {POLICY(",'validations':[{'expression':'request.nope'}]"), "spec.validations[0].expression: Invalid value: \"request.nope\": compilation failed: ERROR: <input>:1:8: undefined field 'nope'\n | request.nope\n | .......^"},
        {POLICY(",'auditAnnotations':[{'key':'k','valueExpression':'1'}]"), "spec.auditAnnotations[0].valueExpression: Invalid value: \"1\": must evaluate to one of [string null_type] but got int"},
    };
    static const struct update_case changes[] = {
        {POLICY(",'matchConditions':[{'name':'m','expression':'params.a'}],'validations':[{'expression':'true'}]"), POLICY(",'matchConditions':[{'name':'m','expression':'params.a'}],'validations':[{'expression':'false'}]"), ""}};
    CHECK_CREATIONS(admissionregistrationv1_ValidatingAdmissionPolicy_desc, validate_vap, cases);
    CHECK_UPDATES(admissionregistrationv1_ValidatingAdmissionPolicy_desc, validate_vap_update, changes);
}

#define MUTATES(operation, mutation) "{'metadata':{'name':'p'},'spec':{'reinvocationPolicy':'Never','matchConstraints':{'resourceRules':[{'operations':['" operation "'],'apiGroups':[''],'apiVersions':['v1'],'resources':['pods']}]},'mutations':[" mutation "]}}"

static void mutating_policies(void **state UNUSED) {
    static const struct validation_case cases[] = {
        {MUTATES("CREATE", "{'patchType':'ApplyConfiguration','applyConfiguration':{'expression':'Object{}'}}"), ""},
        {MUTATES("CREATE", "{'patchType':'JSONPatch','jsonPatch':{'expression':'object.a == 1 ? [JSONPatch{}] : []'}}"), ""},
        {MUTATES("DELETE", "{'patchType':'JSONPatch','jsonPatch':{'expression':' '},'applyConfiguration':{'expression':'Object{}'}}"), "spec.matchConstraints.resourceRules.operations: Unsupported value: \"DELETE\": supported values: \"*\", \"CONNECT\", \"CREATE\", \"UPDATE\" | spec.mutations[0].jsonPatch.expression: Required value | spec.mutations[0].applyConfiguration: Invalid value: \"{applyConfiguration}\": must not be specified when patchType is JSONPatch"},
        {MUTATES("CREATE", "{'patchType':'ApplyConfiguration','applyConfiguration':{'expression':'object'}}"), "spec.mutations[0].applyConfiguration.expression: Invalid value: \"object\": must evaluate to Object but got dyn"},
    };
    CHECK_CREATIONS(admissionregistrationv1beta1_MutatingAdmissionPolicy_desc, validate_map, cases);
}

#define HOOK(client) "{'metadata':{'name':'w'},'webhooks':[{'name':'a.b.c','sideEffects':'None','admissionReviewVersions':['v1'],'clientConfig':{" client "}}]}"
#define CLIENT "webhooks[0].clientConfig."

static void webhooks(void **state UNUSED) {
    static const struct validation_case cases[] = {
        {HOOK("'url':'https://h:8443/a'"), ""},
        {HOOK("'url':'::1'"), CLIENT "url: Required value: url must be a valid URL: parse \"::1\": missing protocol scheme; desired format: https://host[/path]"},
        {HOOK("'url':'1e3'"), CLIENT "url: Invalid value: \"\": 'https' is the only allowed URL scheme; desired format: https://host[/path] | " CLIENT "url: Invalid value: \"\": host must be specified; desired format: https://host[/path]"},
        {HOOK("'service':{'name':'s','path':'//'}"), CLIENT "service.name: Required value | " CLIENT "service.path: Invalid value: \"//\": segment[0] may not be empty"},
    };
    CHECK_CREATIONS(admissionregistrationv1_ValidatingWebhookConfiguration_desc, validate_vwebhooks, cases);
}

#define SCALES(reference, more) "{'metadata':{'name':'h','namespace':'n'},'spec':{'scaleTargetRef':{" reference "},'maxReplicas':2" more "}}"
#define DEPLOYMENT "'kind':'Deployment','name':'d','apiVersion':'apps/v1'"
#define OBJECT(version) ",'metrics':[{'type':'Object','object':{'describedObject':{'kind':'k','name':'n','apiVersion':'" version "'},'metric':{'name':'m'},'target':{'type':'Value','value':'1'}}}]"

static void autoscalers(void **state UNUSED) {
    static const struct validation_case cases[] = {
        {SCALES(DEPLOYMENT, OBJECT("")), ""},
        {SCALES("'kind':'ReplicationController','name':'r'", ""), ""},
        {SCALES("'kind':'Deployment','name':'d','apiVersion':'v1'", ""), "spec.scaleTargetRef.apiVersion: Invalid value: \"v1\": apiVersion must specify API group"},
        {SCALES(DEPLOYMENT, OBJECT("a/b/c")), "spec.metrics[0].object.describedObject.apiVersion: Invalid value: \"a/b/c\": unexpected GroupVersion string: a/b/c"},
        {SCALES(DEPLOYMENT, ",'behavior':{'scaleUp':{'tolerance':'-1','policies':[{'type':'Pods','value':1,'periodSeconds':1}]}}"), "spec.behavior.scaleUp.tolerance: Invalid value: \"-1\": must be greater than or equal to 0"},
        {SCALES(DEPLOYMENT, ",'metrics':[{'type':'Pods','pods':{'metric':{'name':'m'},'target':{'type':'AverageValue','averageValue':'0'}}}]"), "spec.metrics[0].pods.target.averageValue: Invalid value: \"0\": must be positive"},
    };
    CHECK_CREATIONS(autoscalingv2_HorizontalPodAutoscaler_desc, validate_hpa, cases);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(definitions), cmocka_unit_test(values), cmocka_unit_test(formats), cmocka_unit_test(patterns), cmocka_unit_test(policies), cmocka_unit_test(mutating_policies), cmocka_unit_test(webhooks), cmocka_unit_test(autoscalers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
