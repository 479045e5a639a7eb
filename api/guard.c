#include "api/guard.h"

#include <sys/socket.h>

#include "api/address.h"

static curl_socket_t on_open(void *ctx, curlsocktype purpose,
                             struct curl_sockaddr *to)
{
    struct api_guard *guard = ctx;
    struct api_address address;

    (void)purpose;
    guard->refused =
        !guard->allow_private && (!api_address_from(&to->addr, &address) ||
                                  api_address_is_private(&address));
    if (guard->refused)
        return CURL_SOCKET_BAD;
    return socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
}

void api_guard_set(struct api_guard *guard, CURL *easy, bool allow_private)
{
    *guard = (struct api_guard){.allow_private = allow_private};
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR,
                     allow_private ? "http,https" : "https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
    // a resolver that hangs is left to itself, not waited for in the loop
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, guard);
}
