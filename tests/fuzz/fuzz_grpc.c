/*
 * Bytes of a gRPC connection, behind the preface and the first SETTINGS: frames of HTTP/2, headers,
 * messages. They go through a real connection, in pieces whose sizes the input chooses, to handlers
 * of every shape. Nothing may be left behind, and no handler may be called without its call being
 * finished once. The second byte, unless it is 0, says which allocation fails.
 */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "grpc/conn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0";

enum {
    PREFACE_LEN = sizeof(preface), /* the last byte of the frame is the NUL at the end */
};

static struct loop *loop;
static struct grpc_server *server;
static size_t opened, closed, begun, finished;

static void fuzz_finish(struct grpc_call *call, enum grpc_status status)
{
    finished++;
    grpc_finish(call, status, "100% \xc3\xa4");
}

static void fuzz_unary(void *arg, struct grpc_call *call)
{
    size_t len;
    const void *message = grpc_message(call, &len);

    (void)arg;
    begun++;
    grpc_add_metadata(call, "fuzz", "yes");
    grpc_send(call, message, len);
    fuzz_finish(call, GRPC_OK);
}

static void fuzz_on_gone(struct grpc_call *call)
{
    fuzz_finish(call, GRPC_CANCELLED);
}

static void fuzz_hang(void *arg, struct grpc_call *call)
{
    (void)arg;
    begun++;
    grpc_on_gone(call, fuzz_on_gone);
}

static void fuzz_on_message(struct grpc_call *call, const void *data, size_t len)
{
    if (data != NULL)
        grpc_send(call, data, len);
    else
        fuzz_finish(call, GRPC_OK);
}

static void fuzz_chat(void *arg, struct grpc_call *call)
{
    (void)arg;
    begun++;
    grpc_set_endless(call);
    grpc_on_gone(call, fuzz_on_gone);
    grpc_on_message(call, fuzz_on_message);
}

static const struct grpc_method *fuzz_find(void *arg, const char *path)
{
    static const struct grpc_method methods[] = {
        {"/u", false, fuzz_unary}, {"/h", false, fuzz_hang}, {"/c", true, fuzz_chat}};

    (void)arg;
    for (size_t i = 0; i < ARRAY_SIZE(methods); i++)
        if (strcmp(methods[i].path, path) == 0)
            return &methods[i];
    return NULL;
}

static void fuzz_opened(void *arg, struct grpc_call *call)
{
    (void)arg;
    (void)call;
    opened++;
}

static void fuzz_closed(void *arg, const struct grpc_call *call)
{
    (void)arg;
    (void)call;
    closed++;
}

static void fuzz_start(void)
{
    const struct grpc_config config = {.host = "127.0.0.1",
                                       .max_message = 4096,
                                       .max_headers = 1024,
                                       .max_requests = 1 << 20,
                                       .max_pending = 4096,
                                       .max_answers = 64 << 20,
                                       .max_connections = 4,
                                       .max_streams = 100,
                                       .request_timeout_ms = 10000,
                                       .idle_timeout_ms = 10000,
                                       .write_timeout_ms = 10000,
                                       .ping_interval_ms = 1000};
    const struct grpc_handlers handlers = {
        .find = fuzz_find, .opened = fuzz_opened, .closed = fuzz_closed};
    struct err err;

    log_configure(LOG_FATAL, LOG_TEXT);
    loop = loop_create();
    if (loop == NULL || grpc_server_start(loop, &config, &handlers, &server, &err) != 0)
        abort();
}

static void fuzz_turn(void)
{
    uv_run(loop_uv(loop), UV_RUN_NOWAIT);
}

/* What the server has to say is thrown away. */
static void fuzz_read(int fd)
{
    char answer[65536];

    while (recv(fd, answer, sizeof(answer), MSG_DONTWAIT) > 0)
        continue;
}

static void fuzz_send(int fd, const void *data, size_t len)
{
    if (send(fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        return;
    fuzz_turn();
    fuzz_read(fd);
}

static int fuzz_connect(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)grpc_server_port(server)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct linger reset = {.l_onoff = 1}; /* no port is left in TIME_WAIT */
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)) != 0 ||
        connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        abort();
    while (grpc_server_connections(server) == 0)
        fuzz_turn();
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t step;
    int fd;

    if (size < 3)
        return 0;
    if (server == NULL)
        fuzz_start();
    opened = closed = begun = finished = 0;
    fd = fuzz_connect();
    fuzz_send(fd, preface, PREFACE_LEN);
    step = (size_t)data[0] * 4 + 1;
    mem_fail_at(data[1], data[1] % 2);
    for (size_t at = 2; at < size; at += step)
        fuzz_send(fd, data + at, step < size - at ? step : size - at);
    mem_fail_at(0, 0);
    close(fd);
    while (grpc_server_connections(server) > 0 || begun != finished)
        fuzz_turn();
    fuzz_turn();
    if (opened != closed)
        abort();
    return 0;
}
