#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "grpc/grpc.h"
#include "io/signals.h"

/*
 * A gRPC server without a meaning, to be met by real clients:
 *
 *   /test.Echo/Unary   answers the message
 *   /test.Echo/Fail    fails with FAILED_PRECONDITION and the message as its text
 *   /test.Echo/Many    the message is a number: answers so many messages "0", "1", ..., as fast as
 *                      they are read
 *   /test.Echo/Chat    answers each message
 *   /test.Echo/Hang    never answers by itself; says "gone" on stdout when nobody waits any more
 *
 * Prints its port first. Arguments such as write=300 set limits: milliseconds until a peer that
 * takes nothing is cut off (write), a request has to be complete (request), a connection without
 * calls is closed (idle); bytes of requests that may be held (requests). Ends at SIGTERM with 0 if
 * nothing was left behind.
 */
struct echo {
    struct loop *loop;
    struct grpc_server *server;
    struct signals *signals;
    struct op stop;
};

static void echo_unary(void *arg, struct grpc_call *call)
{
    size_t len;
    const void *data = grpc_message(call, &len);

    (void)arg;
    grpc_add_metadata(call, "echo-path", grpc_path(call));
    grpc_send(call, data, len);
    grpc_finish(call, GRPC_OK, NULL);
}

static void echo_fail(void *arg, struct grpc_call *call)
{
    size_t len;
    const char *data = grpc_message(call, &len);

    (void)arg;
    grpc_finish(call, GRPC_FAILED_PRECONDITION, arena_strndup(grpc_arena(call), data, len));
}

struct many {
    long at, count;
};

static void many_on_gone(struct grpc_call *call)
{
    printf("gone after %ld\n", ((struct many *)grpc_data(call))->at);
    grpc_finish(call, GRPC_CANCELLED, NULL);
}

static void many_go_on(struct grpc_call *call)
{
    struct many *many = grpc_data(call);
    char text[32];
    int rc = 0;

    while (rc == 0 && many->at < many->count) {
        int len = snprintf(text, sizeof(text), "%ld", many->at++);

        rc = grpc_send(call, text, (size_t)len);
    }
    if (rc == 0)
        grpc_finish(call, GRPC_OK, NULL);
}

static void echo_many(void *arg, struct grpc_call *call)
{
    struct many *many = arena_calloc(grpc_arena(call), 1, sizeof(*many));
    size_t len;
    const char *data = grpc_message(call, &len);

    (void)arg;
    many->count = strtol(arena_strndup(grpc_arena(call), data, len), NULL, 10);
    grpc_set_data(call, many);
    grpc_on_gone(call, many_on_gone);
    grpc_on_drain(call, many_go_on);
    many_go_on(call);
}

static void chat_on_gone(struct grpc_call *call)
{
    grpc_finish(call, GRPC_UNAVAILABLE, "the server is stopping");
}

static void chat_on_message(struct grpc_call *call, const void *data, size_t len)
{
    if (data != NULL)
        grpc_send(call, data, len);
    else
        grpc_finish(call, GRPC_OK, NULL);
}

static void echo_chat(void *arg, struct grpc_call *call)
{
    (void)arg;
    grpc_set_endless(call);
    grpc_on_gone(call, chat_on_gone);
    grpc_on_message(call, chat_on_message);
}

static void hang_on_gone(struct grpc_call *call)
{
    printf("gone\n");
    grpc_finish(call, GRPC_CANCELLED, NULL);
}

static void echo_hang(void *arg, struct grpc_call *call)
{
    (void)arg;
    printf("hanging\n");
    grpc_on_gone(call, hang_on_gone);
}

static const struct grpc_method *echo_find(void *arg, const char *path)
{
    static const struct grpc_method methods[] = {
        {"/test.Echo/Unary", false, echo_unary}, {"/test.Echo/Fail", false, echo_fail},
        {"/test.Echo/Many", false, echo_many},   {"/test.Echo/Chat", true, echo_chat},
        {"/test.Echo/Hang", false, echo_hang},
    };

    (void)arg;
    for (size_t i = 0; i < ARRAY_SIZE(methods); i++)
        if (strcmp(methods[i].path, path) == 0)
            return &methods[i];
    return NULL;
}

static void echo_on_stopped(struct op *op, int rc)
{
    struct echo *echo = container_of(op, struct echo, stop);

    (void)rc;
    signals_stop(echo->signals);
}

static void echo_on_signal(void *arg, int signum)
{
    struct echo *echo = arg;

    (void)signum;
    op_init(&echo->stop, echo_on_stopped);
    grpc_server_stop(echo->server, &echo->stop);
}

static unsigned long echo_option(char **argv, const char *name, unsigned long fallback)
{
    size_t len = strlen(name);

    for (; *argv != NULL; argv++)
        if (strncmp(*argv, name, len) == 0)
            return strtoul(*argv + len, NULL, 10);
    return fallback;
}

int main(int argc, char **argv)
{
    struct echo echo = {.loop = loop_create()};
    const struct grpc_config config = {
        .host = "127.0.0.1",
        .max_message = 4 << 20,
        .max_headers = 16 << 10,
        .max_requests = echo_option(argv, "requests=", 64 << 20),
        .max_pending = 64 << 10,
        .max_answers = 64 << 20,
        .max_connections = 100,
        .max_streams = 1024,
        .request_timeout_ms = echo_option(argv, "request=", 60000),
        .idle_timeout_ms = echo_option(argv, "idle=", 60000),
        .write_timeout_ms = echo_option(argv, "write=", 60000),
        .ping_interval_ms = 1000,
    };
    const struct grpc_handlers handlers = {.find = echo_find, .arg = &echo};
    struct err err = {0};

    (void)argc;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (echo.loop == NULL ||
        grpc_server_start(echo.loop, &config, &handlers, &echo.server, &err) != 0) {
        fprintf(stderr, "%s\n", err_text(&err));
        return 1;
    }
    printf("%u\n", grpc_server_port(echo.server));
    echo.signals = signals_start(echo.loop, echo_on_signal, &echo);
    loop_run(echo.loop);
    loop_destroy(echo.loop);
    return 0;
}
