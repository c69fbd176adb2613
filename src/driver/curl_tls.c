#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

#include "driver/curl_private.h"

/* Files of TLS are looked at before they are used: libcurl finds out with the first connection, and
 * does not say which file it is. */

static int curl_tls_open(const char *path, const char *what, FILE **out, struct err *err)
{
    *out = fopen(path, "re");
    if (*out == NULL)
        return err_set(err, ERR_INVALID, "%s %s cannot be read: %s", what, path, strerror(errno));
    return 0;
}

/* The first certificate of the file. */
static int curl_tls_read_cert(const char *path, const char *what, X509 **out, struct err *err)
{
    char no_password[] = ""; /* or OpenSSL would ask the terminal */
    FILE *file;
    int rc = curl_tls_open(path, what, &file, err);

    *out = NULL;
    if (rc != 0)
        return rc;
    *out = PEM_read_X509(file, NULL, NULL, no_password);
    fclose(file);
    ERR_clear_error();
    if (*out == NULL)
        return err_set(err, ERR_INVALID, "%s %s holds no certificate in PEM format", what, path);
    return 0;
}

static int curl_tls_read_key(const char *path, EVP_PKEY **out, struct err *err)
{
    char no_password[] = "";
    FILE *file;
    int rc = curl_tls_open(path, "the TLS key file", &file, err);

    *out = NULL;
    if (rc != 0)
        return rc;
    *out = PEM_read_PrivateKey(file, NULL, NULL, no_password);
    fclose(file);
    ERR_clear_error();
    if (*out == NULL)
        return err_set(err, ERR_INVALID,
                       "the TLS key file %s holds no private key in PEM format without a password",
                       path);
    return 0;
}

static int curl_tls_check_ca(const char *path, struct err *err)
{
    X509 *cert;
    int rc = curl_tls_read_cert(path, "the TLS CA file", &cert, err);

    X509_free(cert);
    return rc;
}

static int curl_tls_check_pair(const char *cert_path, const char *key_path, struct err *err)
{
    X509 *cert = NULL;
    EVP_PKEY *key = NULL;
    int rc = curl_tls_read_cert(cert_path, "the TLS certificate file", &cert, err);

    if (rc == 0)
        rc = curl_tls_read_key(key_path, &key, err);
    if (rc == 0 && X509_check_private_key(cert, key) != 1)
        rc = err_set(err, ERR_INVALID,
                     "the TLS key file %s does not belong to the certificate of %s", key_path,
                     cert_path);
    ERR_clear_error();
    EVP_PKEY_free(key);
    X509_free(cert);
    return rc;
}

int curl_tls_check(const struct curl_peer_settings *settings, struct err *err)
{
    const char *cert = settings->cert_file, *key = settings->key_file;
    int rc = 0;

    if (settings->ca_file != NULL)
        rc = curl_tls_check_ca(settings->ca_file, err);
    if (rc != 0)
        return rc;
    if (cert == NULL && key == NULL)
        return 0;
    if (cert == NULL)
        return err_set(err, ERR_INVALID, "the TLS key file %s comes without a certificate", key);
    /* One file may hold both. */
    return curl_tls_check_pair(cert, key != NULL ? key : cert, err);
}
