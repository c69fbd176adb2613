#include <errno.h>
#include <openssl/x509_vfy.h>
#include <string.h>

#include "driver/curl_private.h"

/* libcurl's reasons as ours. Its own texts name hosts, so each known code has one here. */

static const struct {
    CURLcode code;
    const char *text;
} curl_reasons[] = {
    {CURLE_SSL_CONNECT_ERROR, "the TLS handshake failed"},
    {CURLE_SSL_CERTPROBLEM, "the client's certificate is not usable"},
    {CURLE_SSL_CIPHER, "no TLS cipher is shared"},
    {CURLE_SSL_CACERT_BADFILE, "the file of TLS authorities is not usable"},
    {CURLE_SSL_CLIENTCERT, "the server wants a client certificate"},
    {CURLE_GOT_NOTHING, "the server closed it without an answer"},
    {CURLE_SEND_ERROR, "sending failed"},
    {CURLE_RECV_ERROR, "receiving failed"},
    {CURLE_PARTIAL_FILE, "the answer is not complete"},
    {CURLE_BAD_CONTENT_ENCODING, "the answer cannot be read"},
    {CURLE_WEIRD_SERVER_REPLY, "the answer is not HTTP"},
    {CURLE_UNSUPPORTED_PROTOCOL, "the answer is not HTTP/1.1"},
    {CURLE_HTTP2, "the answer is not HTTP/1.1"},
};

static const char *curl_reason_of_connect(CURL *easy)
{
    long os_errno = 0;

    curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &os_errno);
    switch (os_errno) {
    case ECONNREFUSED:
        return "connection refused";
    case EHOSTUNREACH:
    case ENETUNREACH:
        return "no route to the host";
    case EMFILE:
    case ENFILE:
        return "no file descriptor is left";
    default:
        return "the connection could not be opened";
    }
}

static const char *curl_reason_of_certificate(CURL *easy)
{
    long verified = X509_V_OK;

    curl_easy_getinfo(easy, CURLINFO_SSL_VERIFYRESULT, &verified);
    if (verified == X509_V_OK || verified == X509_V_ERR_UNSPECIFIED) /* not come to yet */
        return "the server's certificate is for another name";
    return X509_verify_cert_error_string(verified);
}

static const char *curl_reason_of(CURL *easy, CURLcode code)
{
    if (code == CURLE_COULDNT_CONNECT)
        return curl_reason_of_connect(easy);
    if (code == CURLE_PEER_FAILED_VERIFICATION)
        return curl_reason_of_certificate(easy);
    for (size_t i = 0; i < ARRAY_SIZE(curl_reasons); i++)
        if (curl_reasons[i].code == code)
            return curl_reasons[i].text;
    return NULL;
}

static const char *curl_stage_of(CURL *easy, const struct curl_call *call)
{
    long bytes = 0;

    curl_easy_getinfo(easy, CURLINFO_REQUEST_SIZE, &bytes);
    if (!call->began || bytes == 0)
        return "cannot connect";
    return call->out->sent == CURL_NOT_SENT ? "the request could not be sent to its end"
                                            : "the connection broke";
}

int curl_error_of(CURL *easy, CURLcode code, const struct curl_call *call, struct err *err)
{
    const bool unsent = call->out->sent == CURL_NOT_SENT;
    const char *where = curl_stage_of(easy, call);
    const char *reason = curl_reason_of(easy, code);

    err_clear(err);
    if (code == CURLE_OK)
        return 0;
    if (call->no_memory || code == CURLE_OUT_OF_MEMORY || call->out->body.rc == ERR_NOMEM)
        return err_set(err, ERR_NOMEM, "out of memory");
    if (call->out->body.rc != 0)
        return err_set(err, ERR_LIMIT, "the answer is larger than %zu bytes", call->out->body.max);
    if (code == CURLE_OPERATION_TIMEDOUT && unsent)
        return err_set(err, ERR_UNREACHABLE, "%s: timed out", where);
    if (code == CURLE_OPERATION_TIMEDOUT)
        return err_set(err, ERR_TIMEOUT, "no answer in time");
    if (reason == NULL)
        return err_set(err, ERR_UNREACHABLE, "%s: libcurl reports error %d", where, (int)code);
    return err_set(err, ERR_UNREACHABLE, "%s: %s", where, reason);
}
