#include "worker/redirect.h"

#include <curl/curl.h>
#include <stdlib.h>

bool redirect_is(unsigned status)
{
    return status == 300 || status == 301 || status == 302 || status == 303 || status == 307 ||
           status == 308;
}

bool redirect_is_followed(unsigned status, bool get)
{
    return get || status == 303 || status == 307 || status == 308;
}

bool redirect_target(const struct url *url, struct str location, struct url *target)
{
    CURLU *parts = curl_url();
    char *base = str_dup(url->text);
    char *relative = str_dup(location);
    char *absolute = NULL;
    struct err err;
    bool good = parts != NULL && location.len > 0 &&
                curl_url_set(parts, CURLUPART_URL, base, CURLU_PATH_AS_IS) == CURLUE_OK &&
                curl_url_set(parts, CURLUPART_URL, relative, 0) == CURLUE_OK &&
                curl_url_get(parts, CURLUPART_URL, &absolute, 0) == CURLUE_OK &&
                url_parse(target, str_of(absolute), &err) == FP_OK;

    curl_free(absolute);
    curl_url_cleanup(parts);
    free(relative);
    free(base);
    return good;
}
