#include <assert.h>
#include <openssl/err.h>
#include <sys/socket.h>

#include "driver/maria_private.h"

/* What anybody left in the thread's queue would be taken for a failure of this call: the connector
 * does not look whose it is. */
static void maria_io_enter(struct maria_io *io, enum maria_call call)
{
    ERR_clear_error();
    io->call = call;
}

int maria_io_connect(struct maria_io *io, const char *host, const char *user, const char *password,
                     const char *database, unsigned port, const char *socket)
{
    const unsigned long flags = CLIENT_MULTI_STATEMENTS | CLIENT_MULTI_RESULTS | CLIENT_FOUND_ROWS |
                                CLIENT_REMEMBER_OPTIONS;

    maria_io_enter(io, MARIA_CALL_CONNECT);
    io->waits = mysql_real_connect_start(&io->answer.connected, io->my, host, user, password,
                                         database, port, socket, flags);
    return io->waits;
}

int maria_io_query(struct maria_io *io, const char *sql, size_t len)
{
    maria_io_enter(io, MARIA_CALL_QUERY);
    io->waits = mysql_real_query_start(&io->answer.rc, io->my, sql, len);
    return io->waits;
}

int maria_io_fetch(struct maria_io *io)
{
    maria_io_enter(io, MARIA_CALL_FETCH);
    io->waits = mysql_fetch_row_start(&io->answer.row, io->rows);
    return io->waits;
}

int maria_io_free(struct maria_io *io)
{
    maria_io_enter(io, MARIA_CALL_FREE);
    io->waits = mysql_free_result_start(io->rows);
    if (io->waits == 0)
        io->rows = NULL;
    return io->waits;
}

int maria_io_next(struct maria_io *io)
{
    maria_io_enter(io, MARIA_CALL_NEXT);
    io->waits = mysql_next_result_start(&io->answer.rc, io->my);
    return io->waits;
}

int maria_io_reset(struct maria_io *io)
{
    maria_io_enter(io, MARIA_CALL_RESET);
    io->waits = mysql_reset_connection_start(&io->answer.rc, io->my);
    return io->waits;
}

int maria_io_continue(struct maria_io *io, int happened)
{
    assert(io->waits != 0);
    maria_io_enter(io, io->call);
    switch (io->call) {
    case MARIA_CALL_CONNECT:
        io->waits = mysql_real_connect_cont(&io->answer.connected, io->my, happened);
        break;
    case MARIA_CALL_QUERY:
        io->waits = mysql_real_query_cont(&io->answer.rc, io->my, happened);
        break;
    case MARIA_CALL_FETCH:
        io->waits = mysql_fetch_row_cont(&io->answer.row, io->rows, happened);
        break;
    case MARIA_CALL_FREE:
        io->waits = mysql_free_result_cont(io->rows, happened);
        if (io->waits == 0)
            io->rows = NULL;
        break;
    case MARIA_CALL_NEXT:
        io->waits = mysql_next_result_cont(&io->answer.rc, io->my, happened);
        break;
    case MARIA_CALL_RESET:
        io->waits = mysql_reset_connection_cont(&io->answer.rc, io->my, happened);
        break;
    }
    return io->waits;
}

/* The server is not to go on sending to nobody: what ends without the socket's goodbye is reset. */
static void maria_io_shut(int fd)
{
    const struct linger none = {.l_onoff = 1, .l_linger = 0};

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
    shutdown(fd, SHUT_RDWR);
}

/* What is suspended holds memory and the socket, and lets go of them only by running to its end: a
 * time-out ends waits for a plain socket, and the shut socket those of TLS. */
void maria_io_abort(struct maria_io *io, int fd)
{
    if (fd >= 0)
        maria_io_shut(fd);
    while (io->waits != 0)
        maria_io_continue(io, MYSQL_WAIT_TIMEOUT);
}

void maria_io_close(struct maria_io *io, int fd)
{
    int waits;

    if (io->my == NULL)
        return;
    if (io->waits != 0 || io->rows != NULL)
        maria_io_abort(io, fd);
    if (io->rows != NULL) {
        maria_io_free(io);
        maria_io_abort(io, -1);
    }
    ERR_clear_error();
    waits = mysql_close_start(io->my); /* says goodbye */
    if (waits != 0 && fd >= 0)
        maria_io_shut(fd);
    while (waits != 0)
        waits = mysql_close_cont(io->my, MYSQL_WAIT_TIMEOUT);
    *io = (struct maria_io){.my = NULL};
}
