#include "http/parse.h"

#include <assert.h>
#include <llhttp.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/mem.h"

enum {
    PARSE_FRAMING_PER_BYTE = 16, /* chunk sizes and extensions allowed for each byte of body */
};

/* Offsets into the text, as it moves while it grows. */
struct parse_field {
    size_t name, value;
};

struct parser {
    struct http_message message;
    llhttp_t llhttp;
    struct buf text; /* target, names and values, each with a NUL behind it */
    struct parse_field fields[HTTP_FIELDS_MAX];
    size_t field_count;
    size_t max_head;
    size_t head_len;    /* bytes of the head so far */
    size_t framing_len; /* bytes since then that are not body: chunk sizes, trailers */
    uint64_t window;    /* the last 8 bytes of the head */
    bool line_started;  /* a byte of the request line was seen */
    bool line_done;
    bool head_done; /* llhttp saw the end of the head */
    bool all_done;
};

static struct parser *parser_of(llhttp_t *llhttp)
{
    return container_of(llhttp, struct parser, llhttp);
}

bool http_message_refuse(struct http_message *message, int status, const char *reason)
{
    if (message->status == 0) { /* the first reason is kept */
        message->status = status;
        message->reason = reason;
    }
    return false;
}

static int parser_refuse(struct parser *parser, int status, const char *reason)
{
    http_message_refuse(&parser->message, status, reason);
    return HPE_USER;
}

static int parser_add_text(struct parser *parser, const char *data, size_t len)
{
    switch (buf_append(&parser->text, data, len)) {
    case 0:
        return 0;
    case ERR_LIMIT:
        return parser_refuse(parser, 431, "request headers are too large");
    default:
        return parser_refuse(parser, 503, "out of memory");
    }
}

static int parser_on_text(llhttp_t *llhttp, const char *data, size_t len)
{
    struct parser *parser = parser_of(llhttp);

    return parser->head_done ? 0 : parser_add_text(parser, data, len); /* trailers are dropped */
}

static int parser_on_url_complete(llhttp_t *llhttp)
{
    return parser_add_text(parser_of(llhttp), "", 1);
}

static int parser_on_name_complete(llhttp_t *llhttp)
{
    struct parser *parser = parser_of(llhttp);
    size_t *count = &parser->field_count;
    size_t start = *count > 0 ? parser->fields[*count - 1].value : 0;

    if (parser->head_done)
        return 0;
    if (*count == HTTP_FIELDS_MAX)
        return parser_refuse(parser, 431, "too many request headers");
    start += strlen(parser->text.data + start) + 1; /* behind the last value, or the target */
    if (start == parser->text.len)
        return parser_refuse(parser, 400, "malformed request: header without a name");
    if (parser_add_text(parser, "", 1) != 0)
        return HPE_USER;
    parser->fields[*count] = (struct parse_field){.name = start, .value = parser->text.len};
    ++*count;
    return 0;
}

static int parser_on_value_complete(llhttp_t *llhttp)
{
    struct parser *parser = parser_of(llhttp);
    struct buf *text = &parser->text;
    size_t start, len;

    if (parser->head_done)
        return 0;
    start = parser->fields[parser->field_count - 1].value;
    for (len = text->len; len > start; len--) {
        if (text->data[len - 1] != ' ' && text->data[len - 1] != '\t')
            break;
    }
    buf_truncate(text, len);
    return parser_add_text(parser, "", 1);
}

static int parser_on_head(llhttp_t *llhttp)
{
    struct parser *parser = parser_of(llhttp);

    parser->head_done = true;
    llhttp->upgrade = 0; /* upgrades are passed over; the message is an ordinary one */
    return HPE_PAUSED;
}

static int parser_on_body(llhttp_t *llhttp, const char *data, size_t len)
{
    struct parser *parser = parser_of(llhttp);

    switch (buf_append(&parser->message.body, data, len)) {
    case 0:
        return 0;
    case ERR_LIMIT:
        return parser_refuse(parser, 413, "request body is too large");
    default:
        return parser_refuse(parser, 503, "out of memory");
    }
}

static int parser_on_chunk(llhttp_t *llhttp)
{
    struct parser *parser = parser_of(llhttp);
    const struct buf *body = &parser->message.body;

    if (llhttp->content_length > body->max - body->len)
        return parser_refuse(parser, 413, "request body is too large");
    return 0;
}

static int parser_on_all(llhttp_t *llhttp)
{
    parser_of(llhttp)->all_done = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t parser_settings = {
    .on_url = parser_on_text,
    .on_url_complete = parser_on_url_complete,
    .on_header_field = parser_on_text,
    .on_header_field_complete = parser_on_name_complete,
    .on_header_value = parser_on_text,
    .on_header_value_complete = parser_on_value_complete,
    .on_headers_complete = parser_on_head,
    .on_body = parser_on_body,
    .on_chunk_header = parser_on_chunk,
    .on_message_complete = parser_on_all,
};

struct http_message *http_message_create(size_t max_head, size_t max_body)
{
    struct parser *parser = mem_calloc(1, sizeof(*parser));
    struct http_message *message;

    if (parser == NULL)
        return NULL;
    message = &parser->message;
    llhttp_init(&parser->llhttp, HTTP_REQUEST, &parser_settings);
    parser->max_head = max_head;
    buf_init(&parser->text, max_head);
    buf_init(&message->body, max_body);
    message->method = "";
    message->path = "";
    message->query = "";
    return message;
}

void http_message_free(struct http_message *message)
{
    struct parser *parser;

    if (message == NULL)
        return;
    parser = container_of(message, struct parser, message);
    buf_free(&parser->text);
    buf_free(&message->body);
    mem_free(parser);
}

/* llhttp lets some shapes pass that others read differently: a line ended by LF alone, folded
 * lines, other protocols' names. They are found in the bytes of the head. */
static bool parser_check_byte(struct parser *parser, unsigned char c)
{
    uint64_t window = parser->window;
    unsigned char before = (unsigned char)(window & 0xff);

    parser->window = window << 8 | c;
    if ((before == '\r') != (c == '\n'))
        return false;
    if (before == '\n' && (c == ' ' || c == '\t'))
        return false;
    if (before == ' ' && c == ' ' && !parser->line_done)
        return false;
    if (c == '\r' && parser->line_started && !parser->line_done) {
        parser->line_done = true;
        return window >> 24 == UINT64_C(0x485454502f); /* "HTTP/", before the three of "1.1" */
    }
    if (c == '\r' || c == '\n' || c == '\t')
        return true;
    parser->line_started = true;
    return c >= 0x20 && c != 0x7f;
}

static bool parser_check_bytes(struct parser *parser, const char *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (!parser_check_byte(parser, (unsigned char)data[i]))
            return http_message_refuse(&parser->message, 400,
                                       "malformed request: control character, folded header line, "
                                       "doubled space or wrong line end");
    }
    return true;
}

static bool parser_version_is_known(struct parser *parser)
{
    return llhttp_get_http_major(&parser->llhttp) == 1 &&
           llhttp_get_http_minor(&parser->llhttp) <= 1;
}

static enum http_parsed parser_fail(struct parser *parser, llhttp_errno_t error)
{
    int status = 400;
    const char *reason = "malformed request";

    switch (error) {
    case HPE_INVALID_METHOD:
        reason = "malformed request: unknown method";
        break;
    case HPE_INVALID_URL:
        reason = "malformed request: invalid request target";
        break;
    case HPE_INVALID_VERSION:
        if (parser_version_is_known(parser)) /* something else is wrong behind it */
            break;
        FALLTHROUGH;
    case HPE_PAUSED_H2_UPGRADE:
        status = 505;
        reason = "only HTTP/1.0 and HTTP/1.1 are spoken here";
        break;
    case HPE_INVALID_HEADER_TOKEN:
        reason = "malformed request: invalid header";
        break;
    case HPE_UNEXPECTED_CONTENT_LENGTH:
    case HPE_INVALID_CONTENT_LENGTH:
        reason = "malformed request: invalid Content-Length";
        break;
    case HPE_INVALID_CHUNK_SIZE:
        reason = "malformed request: invalid chunk size";
        break;
    case HPE_INVALID_TRANSFER_ENCODING:
        reason = "malformed request: invalid Transfer-Encoding";
        break;
    default:
        break;
    }
    http_message_refuse(&parser->message, status, reason);
    return HTTP_PARSED_BAD;
}

/* Everything is said about the head: where the strings are, and whether it may be served. */
static bool parser_finish_head(struct parser *parser)
{
    struct http_message *message = &parser->message;
    llhttp_t *llhttp = &parser->llhttp;
    char *text = parser->text.data;

    message->method = llhttp_method_name((llhttp_method_t)llhttp_get_method(llhttp));
    message->minor = llhttp_get_http_minor(llhttp);
    message->keep_alive = llhttp_should_keep_alive(llhttp) != 0;
    message->has_body = (llhttp->flags & F_CHUNKED) != 0 || llhttp->content_length > 0;
    message->field_count = parser->field_count;
    for (size_t i = 0; i < message->field_count; i++) {
        message->fields[i].name = text + parser->fields[i].name;
        message->fields[i].value = text + parser->fields[i].value;
    }
    if (!parser_version_is_known(parser)) { /* llhttp knows 0.9 and 2.0 too */
        (void)parser_fail(parser, HPE_INVALID_VERSION);
        return false;
    }
    if (!http_message_check(message, text))
        return false;
    if (llhttp->content_length > message->body.max)
        return http_message_refuse(message, 413, "request body is too large");
    return true;
}

static enum http_parsed parser_run(struct parser *parser, const char *data, size_t len,
                                   size_t *used)
{
    llhttp_errno_t error = llhttp_execute(&parser->llhttp, data, len);

    *used = len;
    if (parser->message.status != 0)
        return HTTP_PARSED_BAD;
    if (error == HPE_OK)
        return HTTP_PARSED_PART;
    if (error != HPE_PAUSED)
        return parser_fail(parser, error);
    *used = (size_t)(llhttp_get_error_pos(&parser->llhttp) - data);
    llhttp_resume(&parser->llhttp);
    return parser->all_done ? HTTP_PARSED_ALL : HTTP_PARSED_HEAD;
}

static enum http_parsed parser_run_head(struct parser *parser, const char *data, size_t len,
                                        size_t *used)
{
    size_t room = parser->max_head - parser->head_len;
    enum http_parsed parsed = parser_run(parser, data, len < room ? len : room, used);

    parser->head_len += *used;
    if (parsed == HTTP_PARSED_BAD || !parser_check_bytes(parser, data, *used))
        return HTTP_PARSED_BAD;
    if (parsed == HTTP_PARSED_HEAD)
        return parser_finish_head(parser) ? HTTP_PARSED_HEAD : HTTP_PARSED_BAD;
    if (parser->head_len == parser->max_head) {
        http_message_refuse(&parser->message, 431, "request headers are too large");
        return HTTP_PARSED_BAD;
    }
    return HTTP_PARSED_PART;
}

static enum http_parsed parser_run_body(struct parser *parser, const char *data, size_t len,
                                        size_t *used)
{
    const struct buf *body = &parser->message.body;
    size_t before = body->len;
    enum http_parsed parsed = parser_run(parser, data, len, used);

    if (parsed == HTTP_PARSED_BAD)
        return parsed;
    parser->framing_len += *used - (body->len - before);
    if (parser->framing_len > parser->max_head + body->len * PARSE_FRAMING_PER_BYTE) {
        http_message_refuse(&parser->message, 431, "chunk sizes and trailers are too large");
        return HTTP_PARSED_BAD;
    }
    return parsed;
}

enum http_parsed http_message_parse(struct http_message *message, const char *data, size_t len,
                                    size_t *used)
{
    struct parser *parser = container_of(message, struct parser, message);

    assert(message->status == 0 && !parser->all_done);
    if (parser->head_done)
        return parser_run_body(parser, data, len, used);
    return parser_run_head(parser, data, len, used);
}

const char *http_message_field(const struct http_message *message, const char *name)
{
    for (size_t i = 0; i < message->field_count; i++) {
        if (strcasecmp(message->fields[i].name, name) == 0)
            return message->fields[i].value;
    }
    return NULL;
}

size_t http_message_field_count(const struct http_message *message, const char *name)
{
    size_t count = 0;

    for (size_t i = 0; i < message->field_count; i++) {
        if (strcasecmp(message->fields[i].name, name) == 0)
            count++;
    }
    return count;
}
