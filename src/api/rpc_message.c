#include <string.h>

#include "api/rpc.h"
#include "base/clock.h"
#include "base/utf8.h"

/* Protocol Buffers, as far as protobuf-c does not do it itself (Encoding, "Message Structure"). */

enum {
    WIRE_VARINT = 0,
    WIRE_64 = 1,
    WIRE_BYTES = 2,
    WIRE_32 = 5,
    MESSAGE_DEPTH_MAX = 16,
    MESSAGE_FIELDS_MAX = 100000, /* some ten times what any list may have: each takes memory */
};

/* --- what comes --- */

static bool wire_varint(struct wire *wire, uint64_t *out)
{
    *out = 0;
    for (unsigned shift = 0; shift < 64 && wire->at < wire->end; shift += 7) {
        uint8_t byte = *wire->at++;

        *out |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

static bool wire_take(struct wire *wire, uint64_t len, struct wire *out)
{
    if (len > (uint64_t)(wire->end - wire->at))
        return false;
    *out = (struct wire){wire->at, wire->at + len};
    wire->at = out->end;
    return true;
}

bool wire_next(struct wire *wire, struct wire_field *out)
{
    uint64_t tag, value;

    *out = (struct wire_field){0};
    if (wire->at == wire->end || !wire_varint(wire, &tag) || tag >> 3 > UINT32_MAX)
        return false;
    out->number = (unsigned)(tag >> 3);
    switch (tag & 7) {
    case WIRE_VARINT:
        return wire_varint(wire, &value);
    case WIRE_64:
        return wire_take(wire, 8, &out->bytes);
    case WIRE_32:
        return wire_take(wire, 4, &out->bytes);
    case WIRE_BYTES:
        out->has_length = true;
        return wire_varint(wire, &value) && wire_take(wire, value, &out->bytes);
    default:
        return false;
    }
}

struct message_check {
    int depth;
    size_t fields;
    struct err *err;
};

static int wire_check(const ProtobufCMessageDescriptor *descriptor, struct wire wire,
                      struct message_check *check);

static int wire_check_bytes(const ProtobufCFieldDescriptor *field, struct wire wire,
                            struct message_check *check)
{
    size_t len = (size_t)(wire.end - wire.at);

    if (field == NULL)
        return 0;
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return wire_check(field->descriptor, wire, check);
    if (field->type != PROTOBUF_C_TYPE_STRING)
        return 0;
    if (memchr(wire.at, '\0', len) != NULL)
        return err_set(check->err, ERR_INVALID, "field \"%s\" has a NUL character in it",
                       field->name);
    if (!utf8_is_valid((const char *)wire.at, len))
        return err_set(check->err, ERR_INVALID, "field \"%s\" is not valid UTF-8", field->name);
    return 0;
}

static int wire_check_field(const ProtobufCMessageDescriptor *descriptor,
                            const struct wire_field *field, struct message_check *check)
{
    if (++check->fields > MESSAGE_FIELDS_MAX)
        return err_set(check->err, ERR_INVALID, "the message has more than %d fields",
                       MESSAGE_FIELDS_MAX);
    if (!field->has_length)
        return 0;
    return wire_check_bytes(protobuf_c_message_descriptor_get_field(descriptor, field->number),
                            field->bytes, check);
}

/* protobuf-c takes strings as they are, and they would end at a NUL; and however many fields there
 * are, of which the smallest takes it thirty times its bytes. */
static int wire_check(const ProtobufCMessageDescriptor *descriptor, struct wire wire,
                      struct message_check *check)
{
    int rc = ++check->depth > MESSAGE_DEPTH_MAX ? ERR_INVALID : 0;
    struct wire_field field;

    while (rc == 0 && wire_next(&wire, &field))
        rc = wire_check_field(descriptor, &field, check);
    if (rc == 0 && (wire.at < wire.end || field.number != 0))
        rc = ERR_INVALID;
    if (rc != 0 && check->err->code == 0)
        err_set(check->err, rc, "the message is no %s", descriptor->name);
    check->depth--;
    return rc;
}

static void *message_alloc(void *arg, size_t size)
{
    return arena_alloc(arg, size);
}

static void message_free(void *arg, void *ptr)
{
    (void)arg; /* goes with the arena */
    (void)ptr;
}

int rpc_read(const ProtobufCMessageDescriptor *descriptor, const void *data, size_t len,
             struct arena *arena, ProtobufCMessage **out, struct err *err)
{
    ProtobufCAllocator allocator = {
        .alloc = message_alloc, .free = message_free, .allocator_data = arena};
    struct message_check check = {.err = err};
    struct wire wire = {data, (const uint8_t *)data + len};
    int rc;

    err_clear(err);
    rc = wire_check(descriptor, wire, &check);
    if (rc != 0)
        return rc;
    *out = protobuf_c_message_unpack(descriptor, &allocator, len, data);
    return *out != NULL ? 0 : err_set(err, ERR_INVALID, "the message is no %s", descriptor->name);
}

/* --- what goes --- */

struct message_buffer {
    ProtobufCBuffer base;
    struct buf *out;
};

static void message_append(ProtobufCBuffer *buffer, size_t len, const uint8_t *data)
{
    buf_append(container_of(buffer, struct message_buffer, base)->out, data, len);
}

int rpc_put(struct buf *out, const ProtobufCMessage *message)
{
    struct message_buffer buffer = {.base.append = message_append, .out = out};

    protobuf_c_message_pack_to_buffer(message, &buffer.base);
    return out->rc;
}

static void put_varint(struct buf *out, uint64_t value)
{
    while (value >= 0x80) {
        buf_putc(out, (char)(value | 0x80));
        value >>= 7;
    }
    buf_putc(out, (char)value);
}

int rpc_put_message(struct buf *out, unsigned field, const ProtobufCMessage *message)
{
    put_varint(out, field << 3 | WIRE_BYTES);
    put_varint(out, protobuf_c_message_get_packed_size(message));
    return rpc_put(out, message);
}

int rpc_put_bytes(struct buf *out, unsigned field, const void *data, size_t len)
{
    put_varint(out, field << 3 | WIRE_BYTES);
    put_varint(out, len);
    return buf_append(out, data, len);
}

int rpc_put_string(struct buf *out, unsigned field, const char *text)
{
    return rpc_put_bytes(out, field, text, strlen(text));
}

int rpc_put_int(struct buf *out, unsigned field, int64_t value)
{
    if (value == 0)
        return out->rc;
    put_varint(out, field << 3 | WIRE_VARINT);
    put_varint(out, (uint64_t)value);
    return out->rc;
}

int rpc_put_some_of(struct buf *out, unsigned field, const struct buf *text)
{
    if (text->len > 0)
        rpc_put_bytes(out, field, text->data, text->len);
    if (text->rc != 0)
        out->rc = text->rc;
    return out->rc;
}

char *rpc_time(int64_t wall_us, char out[RPC_TIME_SIZE])
{
    out[0] = '\0';
    if (wall_us != 0)
        clock_format(wall_us, out);
    return out;
}
