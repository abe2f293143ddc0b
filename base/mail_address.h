/* Addresses of mail, as settings name them. */
#ifndef FEDPUSH_BASE_MAIL_ADDRESS_H
#define FEDPUSH_BASE_MAIL_ADDRESS_H

#include "base/str.h"

enum { MAIL_ADDRESS_MAX_BYTES = 254 };

/* "ADDRESS" of "NAME <ADDRESS>", else all of it without blanks around. */
struct str mail_address_of(struct str from);
/* Takes the next address of "ADDRESS,…" from *rest; false: there is none. */
bool mail_address_next(struct str *rest, struct str *address);
/* Whether it may stand in a command of SMTP: one @, printable ASCII, no blank and none of
 * < > , ; " \\ ( ). */
bool mail_address_is_valid(struct str address);

#endif
