/* Any header of a request: nobody who was forwarded is on this machine, and no name is ours that
 * isn't spelt so. */
#include <arpa/inet.h>
#include <assert.h>
#include <string.h>

#include "admin/visitor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char listen_text[] = "127.0.0.1:4480";
static char url_text[] = "https://fed.test/admin";
static char proxies_text[] = "127.0.0.1, 10.0.0.0/8";

static bool mentions(const struct web_head *head, const char *name)
{
    return web_head_field(head, str_of(name)).ptr != NULL;
}

static void check(const struct visit_rules *rules, const struct web_head *head,
                  const struct web_peer *peer)
{
    const struct web_request request = {.head = head, .peer = peer};
    struct visitor visitor;

    visitor_read(&visitor, rules, &request);
    if (visitor.loopback)
        assert(peer->loopback && !mentions(head, "Forwarded") &&
               !mentions(head, "X-Forwarded-For") && !mentions(head, "X-Real-IP"));
    if (!visit_is_proxy(rules, peer)) {
        assert(memcmp(visitor.address, peer->address, sizeof(visitor.address)) == 0);
        struct str host = web_head_field(head, STR("Host"));
        if (visitor.our_host)
            assert(str_equal_nocase(host, STR("fed.test")) ||
                   str_equal_nocase(host, STR("fed.test:443")) || str_ends_with(host, STR("4480")));
    }
    (void)visitor_came_by_url(rules, head);
    if (visitor_is_same_origin(rules, head) && mentions(head, "Origin")) {
        struct str origin = web_head_field(head, STR("Origin"));
        assert(str_equal_nocase(origin, STR("https://fed.test")) ||
               (str_starts_with(origin, STR("http://")) && str_ends_with(origin, STR("4480"))));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct web_peer peers[] = {
        {.family = AF_INET, .loopback = true, .address = {127, 0, 0, 1}}, /* a proxy */
        {.family = AF_INET, .loopback = true, .address = {127, 0, 0, 2}},
        {.family = AF_INET, .address = {192, 0, 2, 1}},
        {.family = AF_UNIX, .local = true, .loopback = true},
    };
    struct config config = {
        .admin_listen = listen_text, .admin_url = url_text, .admin_trusted_proxies = proxies_text};
    struct visit_rules rules;
    struct web_head head;
    struct buf text;

    buf_init(&text, 65536);
    buf_put_str(&text, STR("GET / HTTP/1.1\r\n"));
    buf_put(&text, data, size);
    buf_put_str(&text, STR("\r\n\r\n"));
    size_t end = web_head_find_end(buf_str(&text));
    if (!text.overflow && web_head_parse(&head, (struct str){text.ptr, end}) == 0) {
        visit_rules_init(&rules, &config);
        for (size_t i = 0; i < sizeof(peers) / sizeof(peers[0]); i++)
            check(&rules, &head, &peers[i]);
        visit_rules_clear(&rules);
    }
    buf_clear(&text);
    return 0;
}
