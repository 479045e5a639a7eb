#include "api/request.h"

#include <jansson.h>
#include <string.h>
#include <strings.h>

#include "api/query.h"
#include "api/reply.h"

bool api_request_query_u64(struct api_request *req, const char *name,
                           uint64_t min, uint64_t max, uint64_t fallback,
                           uint64_t *out)
{
    const char *text = api_request_query(req, name);
    uint64_t v = fallback;

    if (text && (!api_query_number(text, &v) || v < min || v > max)) {
        api_reply_error(req, 400, name, "invalid_field",
                        "%s must be a whole number between %llu and %llu", name,
                        (unsigned long long)min, (unsigned long long)max);
        return false;
    }
    *out = v;
    return true;
}

const char *api_request_bearer(const struct api_request *req)
{
    static const char scheme[] = "Bearer ";
    const char *text = api_request_header(req, "Authorization");
    size_t len;

    if (!text || strncasecmp(text, scheme, sizeof scheme - 1) != 0)
        return NULL;
    text += sizeof scheme - 1;
    text += strspn(text, " ");
    len = strlen(text);
    return len > 0 && len <= API_ARG_LEN_MAX ? text : NULL;
}

json_t *api_request_json(struct api_request *req)
{
    json_error_t error;
    json_t *value = json_loadb(req->body ? (const char *)req->body : "",
                               req->body_len, JSON_REJECT_DUPLICATES, &error);

    if (!value)
        api_reply_error(req, 400, NULL, "invalid_json",
                        "the body is not valid JSON: line %d, column %d: %s",
                        error.line, error.column, error.text);
    return value;
}
