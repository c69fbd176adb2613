#include "base/clock.h"
#include "grpc/conn.h"

/* What nghttp2 tells: headers, data and ends of streams become calls; floods end connections. */

enum {
    SESSION_DATA_MIN = 1024, /* bytes of a frame that took a peer something to ask for */
    SESSION_WINDOWS = 2,     /* opened for it, or for a call: of the stream and the connection */
};

static struct grpc_call *session_call(nghttp2_session *session, int32_t stream_id)
{
    return nghttp2_session_get_stream_user_data(session, stream_id);
}

static bool session_is_request(const nghttp2_frame *frame)
{
    return frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST;
}

/* A stream that is refused was not touched: the client may ask again, elsewhere or later. */
static int session_on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct grpc_conn *conn = arg;
    const struct grpc_server *server = conn->server;
    struct grpc_call *call;

    if (!session_is_request(frame))
        return 0;
    if (conn->sm.state != CONN_OPEN || server->requests >= server->config.max_requests)
        return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                         NGHTTP2_REFUSED_STREAM);
    call = grpc_call_create(conn, frame->hd.stream_id);
    if (call == NULL)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    return nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, call);
}

static int session_on_header(nghttp2_session *session, const nghttp2_frame *frame,
                             const uint8_t *name, size_t name_len, const uint8_t *value,
                             size_t value_len, uint8_t flags, void *arg)
{
    struct grpc_call *call = session_call(session, frame->hd.stream_id);

    (void)flags;
    (void)arg;
    if (!session_is_request(frame) || call == NULL)
        return 0;
    if (grpc_call_add_header(call, name, name_len, value, value_len) != 0)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    return 0;
}

/* Frames that cost a peer nothing and us something: more than so many a second end the connection.
 */
static void session_count_control(struct grpc_conn *conn)
{
    uint64_t now = loop_sched(conn->server->loop)->now_ms;

    if (now - conn->control_since_ms >= 1000) {
        conn->control_since_ms = now;
        conn->control_frames = 0;
    }
    if (++conn->control_frames > GRPC_CONTROL_FRAMES_MAX)
        grpc_conn_drain(conn, NGHTTP2_ENHANCE_YOUR_CALM, "too many frames");
}

/* A call, or data that were taken: clients open windows for them, not always at once. */
static void session_expect_windows(struct grpc_conn *conn)
{
    if (conn->windows_due < GRPC_CONTROL_FRAMES_MAX)
        conn->windows_due += SESSION_WINDOWS;
}

/* A client may look whether we are there, but not all the time while nothing goes on. */
static void session_count_ping(struct grpc_conn *conn)
{
    uint64_t now = loop_sched(conn->server->loop)->now_ms;
    bool early = conn->ping_ms != 0 && now - conn->ping_ms < conn->server->config.ping_interval_ms;

    conn->ping_ms = now != 0 ? now : 1;
    if (early && ++conn->strikes >= GRPC_STRIKES_MAX)
        grpc_conn_drain(conn, NGHTTP2_ENHANCE_YOUR_CALM, "too_many_pings");
}

static void session_on_control(struct grpc_conn *conn, const nghttp2_frame *frame)
{
    bool is_ack = (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0;

    if (frame->hd.type == NGHTTP2_WINDOW_UPDATE && conn->windows_due > 0)
        conn->windows_due--;
    else
        session_count_control(conn);
    if (frame->hd.type == NGHTTP2_PING && !is_ack)
        session_count_ping(conn);
    if (frame->hd.type == NGHTTP2_SETTINGS && !conn->began) {
        conn->began = true;
        grpc_conn_on_calls(conn);
    }
}

static int session_on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct grpc_conn *conn = arg;
    struct grpc_call *call = NULL;

    if (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS) {
        session_on_control(conn, frame);
        return 0;
    }
    if (frame->hd.type == NGHTTP2_DATA && frame->hd.length == 0)
        session_count_control(conn);
    call = session_call(session, frame->hd.stream_id);
    if (call == NULL)
        return 0;
    if (session_is_request(frame)) {
        session_expect_windows(conn);
        grpc_call_open(call);
    }
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0)
        grpc_call_half_close(call);
    return 0;
}

static int session_on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int error,
                                    void *arg)
{
    (void)session;
    (void)frame;
    (void)error;
    session_count_control(arg);
    return 0;
}

static int session_on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id,
                           const uint8_t *data, size_t len, void *arg)
{
    struct grpc_call *call = session_call(session, stream_id);

    (void)flags;
    (void)arg;
    if (call != NULL)
        grpc_call_receive(call, data, len);
    return 0;
}

static int session_on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t error,
                                   void *arg)
{
    struct grpc_call *call = session_call(session, stream_id);

    (void)error;
    (void)arg;
    if (call != NULL)
        grpc_call_detach(call);
    return 0;
}

/* Streams that we have to reset because of what the peer did are as cheap for it as those that it
 * resets itself. */
static void session_count_reset(struct grpc_conn *conn, const nghttp2_frame *frame)
{
    if (frame->rst_stream.error_code != NGHTTP2_NO_ERROR)
        session_count_control(conn);
}

/* Who takes much data has to open windows as often. */
static void session_count_data(struct grpc_conn *conn, const nghttp2_frame *frame)
{
    if (frame->hd.type == NGHTTP2_DATA && frame->hd.length >= SESSION_DATA_MIN)
        session_expect_windows(conn);
}

/* What was sent in earnest forgives PINGs. A request that is answered before it is complete need
 * not be sent any further. */
static int session_on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct grpc_conn *conn = arg;
    const struct grpc_call *call;

    if (frame->hd.type == NGHTTP2_RST_STREAM)
        session_count_reset(conn, frame);
    if (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    session_count_data(conn, frame);
    conn->ping_ms = 0;
    conn->strikes = 0;
    call = session_call(session, frame->hd.stream_id);
    if (call == NULL || call->half_closed || (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0)
        return 0;
    return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                     NGHTTP2_NO_ERROR);
}

int grpc_session_make_callbacks(nghttp2_session_callbacks **out)
{
    if (nghttp2_session_callbacks_new(out) != 0)
        return ERR_NOMEM;
    nghttp2_session_callbacks_set_on_begin_headers_callback(*out, session_on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(*out, session_on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(*out, session_on_frame);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(*out, session_on_invalid_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(*out, session_on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(*out, session_on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(*out, session_on_sent);
    return 0;
}
