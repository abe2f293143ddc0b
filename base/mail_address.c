#include "base/mail_address.h"

#include <string.h>

struct str mail_address_of(struct str from)
{
    size_t open = str_find(from, '<');

    if (open == from.len)
        return str_trim(from);
    struct str address = str_slice(from, open + 1);
    address.len = str_find(address, '>');
    return str_trim(address);
}

bool mail_address_next(struct str *rest, struct str *address)
{
    while (rest->len > 0) {
        size_t end = str_find(*rest, ',');
        *address = str_trim((struct str){rest->ptr, end});
        *rest = str_slice(*rest, end + 1);
        if (address->len > 0)
            return true;
    }
    return false;
}

bool mail_address_is_valid(struct str address)
{
    size_t at = str_find(address, '@');

    for (size_t i = 0; i < address.len; i++) {
        if (address.ptr[i] <= ' ' || address.ptr[i] > '~' ||
            strchr("<>,;\"\\()", address.ptr[i]) != NULL)
            return false;
    }
    return at > 0 && at + 1 < address.len && address.len <= MAIL_ADDRESS_MAX_BYTES &&
           str_find(str_slice(address, at + 1), '@') == address.len - at - 1;
}
