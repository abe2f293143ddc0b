#include "admin/web_status.h"

#include <jansson.h>
#include <stdlib.h>

#include "admin/words.h"

static const struct {
    int status;
    const char *text;
} statuses[] = {
    {200, "OK"},
    {204, "No Content"},
    {302, "Found"},
    {304, "Not Modified"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {413, "Content Too Large"},
    {415, "Unsupported Media Type"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
};

const char *web_status_text(int status)
{
    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
        if (statuses[i].status == status)
            return statuses[i].text;
    }
    return "Status";
}

json_t *web_problem_json(int status, const struct err *why)
{
    struct err other;

    if (why->phrase == PHRASE_NONE) {
        err_say(&other, why->code, PHRASE_ASK_OTHER, SAYS(SAY_TEXT("reason", why->message)));
        why = &other;
    }
    return json_pack("{s:s, s:s, s:i, s:o, s:s, s:o}", "type", "about:blank", "title",
                     web_status_text(status), "status", status, "detail",
                     words_json(str_of(why->message)), "code", phrase_code(why->phrase), "params",
                     json_loads(why->params, 0, NULL));
}

void web_problem_put(struct buf *out, int status, const struct err *why)
{
    json_t *problem = web_problem_json(status, why);
    char *text = json_dumps(problem, JSON_COMPACT);

    if (text == NULL)
        abort(); /* out of memory */
    buf_put_str(out, str_of(text));
    free(text);
    json_decref(problem);
}
