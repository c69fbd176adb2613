#ifndef BFM_TESTS_HTTP_HARNESS_H
#define BFM_TESTS_HTTP_HARNESS_H

/*
 * A real server on a loop in a thread of its own, and blocking clients in the test's thread. Each
 * test file has its own handler; what a test wants done on the loop goes through harness_call().
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cmocka_all.h"
#include "http/http.h"

struct harness {
    struct loop *loop;
    struct http_server *server;
    unsigned port;
    pthread_t thread;
    uv_async_t wake;
    sem_t called;
    void (*call)(struct harness *harness, void *arg);
    void *call_arg;
    struct op stop;
    bool stopped;
};

static inline struct http_config harness_config(void)
{
    return (struct http_config){
        .host = "127.0.0.1",
        .max_body = 64 * 1024,
        .max_headers = 4096,
        .request_timeout_ms = 10000,
        .idle_timeout_ms = 10000,
        .write_timeout_ms = 10000,
        .max_connections = 2000,
        .max_write_queue = 64 * 1024,
    };
}

static inline void harness_on_wake(uv_async_t *wake)
{
    struct harness *harness = wake->data;

    harness->call(harness, harness->call_arg);
    sem_post(&harness->called);
}

static inline void *harness_run(void *arg)
{
    struct harness *harness = arg;

    loop_run(harness->loop);
    return NULL;
}

static inline void harness_start(struct harness *harness, const struct http_config *config,
                                 http_handler_fn *handler, http_access_fn *access)
{
    struct err err = {0};

    *harness = (struct harness){.loop = loop_create()};
    assert_non_null(harness->loop);
    sem_init(&harness->called, 0, 0);
    uv_async_init(loop_uv(harness->loop), &harness->wake, harness_on_wake);
    harness->wake.data = harness;
    assert_int_equal(
        http_server_start(harness->loop, config, handler, access, harness, &harness->server, &err),
        0);
    harness->port = http_server_port(harness->server);
    assert_true(harness->port > 0);
    assert_int_equal(pthread_create(&harness->thread, NULL, harness_run, harness), 0);
}

/* Runs `call` on the loop and waits until it has returned. */
static inline void harness_call(struct harness *harness,
                                void (*call)(struct harness *harness, void *arg), void *arg)
{
    harness->call = call;
    harness->call_arg = arg;
    uv_async_send(&harness->wake);
    while (sem_wait(&harness->called) != 0)
        continue;
}

static inline void harness_on_stopped(struct op *op, int rc)
{
    struct harness *harness = container_of(op, struct harness, stop);

    if (rc != 0)
        abort();
    harness->stopped = true;
    uv_close((uv_handle_t *)&harness->wake, NULL);
}

static inline void harness_do_stop(struct harness *harness, void *arg)
{
    (void)arg;
    op_init(&harness->stop, harness_on_stopped);
    http_server_stop(harness->server, &harness->stop);
}

static inline void harness_do_abort(struct harness *harness, void *arg)
{
    (void)arg;
    http_server_abort(harness->server);
}

/* Waits for the loop to end after harness_do_stop(); aborts if a handle is left. */
static inline void harness_join(struct harness *harness)
{
    pthread_join(harness->thread, NULL);
    assert_true(harness->stopped);
    sem_destroy(&harness->called);
    loop_destroy(harness->loop);
}

static inline void harness_stop(struct harness *harness)
{
    harness_call(harness, harness_do_stop, NULL);
    harness_join(harness);
}

struct client {
    int fd;
    char data[256 * 1024];
    size_t len; /* received, not taken yet */
};

struct response {
    int status;
    char head[8192];
    char body[200 * 1024];
    size_t body_len;
};

static inline void client_init(struct client *client, int family)
{
    struct timeval limit = {.tv_sec = 20};

    client->len = 0;
    client->fd = socket(family, SOCK_STREAM, 0);
    assert_true(client->fd >= 0);
    setsockopt(client->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(client->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

static inline void client_open(struct client *client, unsigned port)
{
    struct sockaddr_in address = {.sin_family = AF_INET};

    client_init(client, AF_INET);
    address.sin_port = htons((uint16_t)port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(client->fd, (struct sockaddr *)&address, sizeof(address)), 0);
}

static inline void client_close(struct client *client)
{
    close(client->fd);
}

static inline void client_send_bytes(struct client *client, const void *data, size_t len)
{
    size_t sent = 0;

    while (sent < len) {
        ssize_t rc = send(client->fd, (const char *)data + sent, len - sent, MSG_NOSIGNAL);

        assert_true(rc > 0);
        sent += (size_t)rc;
    }
}

static inline void client_send(struct client *client, const char *text)
{
    client_send_bytes(client, text, strlen(text));
}

/* More bytes; false at the end. A reset or a time-out fails the test. */
static inline bool client_receive(struct client *client)
{
    ssize_t rc;

    assert_true(client->len < sizeof(client->data) - 1);
    rc = recv(client->fd, client->data + client->len, sizeof(client->data) - 1 - client->len, 0);
    assert_true(rc >= 0);
    client->len += (size_t)rc;
    client->data[client->len] = '\0';
    return rc > 0;
}

static inline void client_take(struct client *client, void *out, size_t len)
{
    while (client->len < len)
        assert_true(client_receive(client));
    if (out != NULL)
        memcpy(out, client->data, len);
    client->len -= len;
    memmove(client->data, client->data + len, client->len);
    client->data[client->len] = '\0';
}

/* Everything up to and with `mark`, as a string. */
static inline void client_take_until(struct client *client, const char *mark, char *out,
                                     size_t size)
{
    char *at;
    size_t len;

    client->data[client->len] = '\0';
    while ((at = strstr(client->data, mark)) == NULL)
        assert_true(client_receive(client));
    len = (size_t)(at - client->data) + strlen(mark);
    assert_true(len < size);
    client_take(client, out, len);
    out[len] = '\0';
}

static inline const char *response_header(const struct response *response, const char *name)
{
    static char value[512];
    const char *line = response->head;
    size_t len = strlen(name);

    while ((line = strstr(line, "\r\n")) != NULL) {
        line += 2;
        if (strncasecmp(line, name, len) == 0 && line[len] == ':') {
            snprintf(value, sizeof(value), "%.*s", (int)strcspn(line + len + 2, "\r"),
                     line + len + 2);
            return value;
        }
    }
    return NULL;
}

static inline void client_read_chunks(struct client *client, struct response *response)
{
    char line[64];
    unsigned long size;

    do {
        client_take_until(client, "\r\n", line, sizeof(line));
        size = strtoul(line, NULL, 16);
        assert_true(response->body_len + size < sizeof(response->body));
        client_take(client, response->body + response->body_len, size);
        response->body_len += size;
        client_take_until(client, "\r\n", line, sizeof(line));
        assert_string_equal(line, "\r\n");
    } while (size > 0);
}

static inline void client_read_head(struct client *client, struct response *response)
{
    client_take_until(client, "\r\n\r\n", response->head, sizeof(response->head));
    assert_int_equal(sscanf(response->head, "HTTP/1.1 %d ", &response->status), 1);
    response->body_len = 0;
    response->body[0] = '\0';
}

static inline void client_read(struct client *client, struct response *response)
{
    const char *length;

    client_read_head(client, response);
    length = response_header(response, "Content-Length");
    if (length != NULL) {
        response->body_len = strtoul(length, NULL, 10);
        assert_true(response->body_len < sizeof(response->body));
        client_take(client, response->body, response->body_len);
    } else if (response_header(response, "Transfer-Encoding") != NULL) {
        client_read_chunks(client, response);
    }
    response->body[response->body_len] = '\0';
}

/* The server has nothing more to say and closes in order, not by a reset. */
static inline void client_expect_end(struct client *client)
{
    assert_int_equal(client->len, 0);
    assert_false(client_receive(client));
}

#endif
