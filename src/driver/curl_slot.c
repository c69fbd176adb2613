#include <string.h>

#include "base/mem.h"
#include "driver/curl_private.h"

/* The options of an easy handle. */

static size_t curl_slot_on_body(char *data, size_t size, size_t count, void *arg)
{
    struct curl_slot *slot = arg;

    (void)size; /* always 1 */
    return buf_append(&slot->call->out->body, data, count) == 0 ? count : CURL_WRITEFUNC_ERROR;
}

static void curl_slot_ignore(void *text)
{
    (void)text;
}

/*
 * Called whenever a request is about to be sent. libcurl sends it again by itself when a kept
 * connection breaks without an answer; the server may have acted on the first one all the same, so
 * that this is for the caller to decide. Nothing is lost if none of it had left.
 */
static int curl_slot_on_send(void *arg, char *remote_ip, char *local_ip, int remote_port,
                             int local_port)
{
    struct curl_slot *slot = arg;
    long sent = 0;

    curl_slot_ignore(remote_ip);
    curl_slot_ignore(local_ip);
    (void)remote_port;
    (void)local_port;
    curl_easy_getinfo(slot->easy, CURLINFO_REQUEST_SIZE, &sent); /* reads a number */
    if (!slot->call->began)
        slot->peer->began_count++;
    slot->call->began = true;
    slot->call->repeated = sent > 0;
    return sent > 0 ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

static CURLcode curl_slot_set_http(CURL *easy)
{
    CURLcode rc = curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");

    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    return rc != CURLE_OK ? rc : curl_easy_setopt(easy, CURLOPT_PROXY, "");
}

static CURLcode curl_slot_set_connection(struct curl_slot *slot)
{
    const struct curl_peer *peer = slot->peer;
    const struct curl_peer_settings *settings = &peer->settings;
    CURL *easy = slot->easy;

    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, curl_client_open_socket);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, slot);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, curl_client_close_socket);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, peer->client);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)settings->connect_timeout_ms);
    curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, (long)(settings->max_idle_ms + 999) / 1000);
    curl_easy_setopt(easy, CURLOPT_DNS_CACHE_TIMEOUT, 3600L); /* of the peer's own entry */
    return curl_easy_setopt(easy, CURLOPT_CONNECT_TO, peer->connect_to);
}

static CURLcode curl_slot_set_tls(CURL *easy, const struct curl_peer_settings *settings)
{
    CURLcode rc = CURLE_OK;

    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, settings->insecure ? 0L : 1L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, settings->insecure ? 0L : 2L);
    /* Without a folder of authorities only the file counts, and libcurl reads it once, not for
     * every connection. */
    curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    if (settings->ca_file != NULL)
        rc = curl_easy_setopt(easy, CURLOPT_CAINFO, settings->ca_file);
    if (rc == CURLE_OK && settings->cert_file != NULL)
        rc = curl_easy_setopt(easy, CURLOPT_SSLCERT, settings->cert_file);
    if (rc == CURLE_OK && settings->key_file != NULL)
        rc = curl_easy_setopt(easy, CURLOPT_SSLKEY, settings->key_file);
    if (rc == CURLE_OK) /* or OpenSSL would ask the terminal */
        rc = curl_easy_setopt(easy, CURLOPT_KEYPASSWD, "");
    return rc;
}

static CURLcode curl_slot_set_all(struct curl_slot *slot)
{
    CURLcode rc = curl_slot_set_http(slot->easy);

    curl_easy_setopt(slot->easy, CURLOPT_PRIVATE, slot);
    curl_easy_setopt(slot->easy, CURLOPT_WRITEFUNCTION, curl_slot_on_body);
    curl_easy_setopt(slot->easy, CURLOPT_WRITEDATA, slot);
    curl_easy_setopt(slot->easy, CURLOPT_PREREQFUNCTION, curl_slot_on_send);
    curl_easy_setopt(slot->easy, CURLOPT_PREREQDATA, slot);
    if (rc == CURLE_OK)
        rc = curl_slot_set_connection(slot);
    if (rc == CURLE_OK)
        rc = curl_slot_set_tls(slot->easy, &slot->peer->settings);
    return rc;
}

struct curl_slot *curl_slot_create(struct curl_peer *peer)
{
    struct curl_slot *slot = mem_calloc(1, sizeof(*slot));

    if (slot == NULL)
        return NULL;
    slot->peer = peer;
    slot->easy = curl_easy_init();
    if (slot->easy == NULL || curl_slot_set_all(slot) != CURLE_OK) {
        curl_slot_free(slot);
        return NULL;
    }
    return slot;
}

void curl_slot_free(struct curl_slot *slot)
{
    curl_easy_cleanup(slot->easy);
    curl_slist_free_all(slot->headers);
    curl_slist_free_all(slot->addresses);
    mem_free(slot);
}

/* --- of one request --- */

static int curl_slot_add(struct curl_slist **list, const char *text)
{
    struct curl_slist *longer = curl_slist_append(*list, text);

    if (longer == NULL)
        return ERR_NOMEM;
    *list = longer;
    return 0;
}

static int curl_slot_set_lists(struct curl_slot *slot, const struct curl_request *request)
{
    struct buf type;
    int rc;

    curl_slist_free_all(slot->headers);
    curl_slist_free_all(slot->addresses);
    slot->headers = NULL;
    slot->addresses = NULL;
    buf_init(&type, 1024);
    if (request->content_type != NULL)
        buf_printf(&type, "Content-Type: %s", request->content_type);
    else
        buf_puts(&type, "Content-Type:");
    rc = type.rc != 0 ? type.rc : curl_slot_add(&slot->headers, type.data);
    buf_free(&type);
    if (rc == 0)
        rc = curl_slot_add(&slot->headers, "Expect:");
    for (size_t i = 0; rc == 0 && request->headers != NULL && request->headers[i] != NULL; i++)
        rc = curl_slot_add(&slot->headers, request->headers[i]);
    if (rc == 0)
        rc = curl_slot_add(&slot->addresses, slot->peer->entry);
    curl_easy_setopt(slot->easy, CURLOPT_HTTPHEADER, slot->headers);
    curl_easy_setopt(slot->easy, CURLOPT_RESOLVE, slot->addresses);
    return rc;
}

static CURLcode curl_slot_set_user(struct curl_slot *slot)
{
    const struct curl_peer_settings *settings = &slot->peer->settings;
    CURLcode rc;

    if (settings->username == NULL)
        return CURLE_OK;
    curl_easy_setopt(slot->easy, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
    rc = curl_easy_setopt(slot->easy, CURLOPT_USERNAME, settings->username);
    if (rc != CURLE_OK)
        return rc;
    return curl_easy_setopt(slot->easy, CURLOPT_PASSWORD,
                            settings->password != NULL ? settings->password : "");
}

static void curl_slot_set_body(struct curl_slot *slot, const struct curl_request *request)
{
    if (strcmp(request->method, "POST") != 0) {
        curl_easy_setopt(slot->easy, CURLOPT_HTTPGET, 1L);
        return;
    }
    curl_easy_setopt(slot->easy, CURLOPT_POST, 1L);
    curl_easy_setopt(slot->easy, CURLOPT_POSTFIELDS, request->body != NULL ? request->body : "");
    curl_easy_setopt(slot->easy, CURLOPT_POSTFIELDSIZE_LARGE,
                     (curl_off_t)(request->body != NULL ? request->len : 0));
}

static int curl_slot_set_url(struct curl_slot *slot, const char *path)
{
    struct buf url;
    int rc;

    buf_init(&url, 64 << 10);
    buf_printf(&url, "%s%s", slot->peer->origin, path);
    rc = url.rc;
    if (rc == 0 && curl_easy_setopt(slot->easy, CURLOPT_URL, url.data) != CURLE_OK)
        rc = ERR_NOMEM;
    buf_free(&url);
    return rc;
}

int curl_slot_prepare(struct curl_slot *slot, struct curl_call *call)
{
    const struct curl_request *request = call->request;
    int rc = curl_slot_set_url(slot, request->path);

    if (rc == 0)
        rc = curl_slot_set_lists(slot, request);
    if (rc == 0 && curl_slot_set_user(slot) != CURLE_OK)
        rc = ERR_NOMEM;
    curl_slot_set_body(slot, request);
    curl_easy_setopt(slot->easy, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
    return rc;
}
