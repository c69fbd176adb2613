#include <string.h>

#include "api/rpc.h"
#include "api/rpc_descriptors.h"
#include "reflection_v1.pb-c.h"

/* The standard reflection service (GRPC Server Reflection Protocol): v1, and v1alpha, whose
 * messages are the same. It tells what migration.proto tells. */

const char *const rpc_services[] = {
    "migration.MigrationService",
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    NULL,
};

enum {
    SERVICES = ARRAY_SIZE(rpc_services) - 1,
    /* fields of FileDescriptorProto and of what is in it (google/protobuf/descriptor.proto) */
    FILE_NAME = 1,
    FILE_PACKAGE = 2,
    FILE_MESSAGE = 4,
    FILE_ENUM = 5,
    FILE_SERVICE = 6,
    ANY_NAME = 1,
    SERVICE_METHOD = 2,
    MESSAGE_NESTED = 3,
    MESSAGE_ENUM = 4,
};

static bool wire_is(const struct wire *bytes, const char *text, size_t len)
{
    return (size_t)(bytes->end - bytes->at) == len && memcmp(bytes->at, text, len) == 0;
}

/* What `wire` has as its field `number`, empty if it has none. */
static struct wire wire_find(struct wire wire, unsigned number)
{
    struct wire_field field;

    while (wire_next(&wire, &field))
        if (field.number == number)
            return field.bytes;
    return (struct wire){0};
}

/* Whether something is called "name", or is "name.rest" and has that within. */
static bool names_symbol(struct wire wire, const char *symbol, const unsigned *inner, size_t count);

static bool holds_symbol(struct wire wire, const char *symbol, const unsigned *kinds, size_t count)
{
    static const unsigned inner[] = {SERVICE_METHOD, MESSAGE_NESTED, MESSAGE_ENUM};
    struct wire_field field;

    while (wire_next(&wire, &field))
        for (size_t i = 0; i < count; i++)
            if (field.number == kinds[i] && field.has_length &&
                names_symbol(field.bytes, symbol, inner, ARRAY_SIZE(inner)))
                return true;
    return false;
}

static bool names_symbol(struct wire wire, const char *symbol, const unsigned *inner, size_t count)
{
    struct wire name = wire_find(wire, ANY_NAME);
    size_t len = strcspn(symbol, ".");

    if (!wire_is(&name, symbol, len))
        return false;
    return symbol[len] == '\0' || holds_symbol(wire, symbol + len + 1, inner, count);
}

static bool file_has_symbol(struct wire file, const char *symbol)
{
    static const unsigned kinds[] = {FILE_MESSAGE, FILE_ENUM, FILE_SERVICE};
    struct wire package = wire_find(file, FILE_PACKAGE);
    size_t len = (size_t)(package.end - package.at);

    return strncmp(symbol, (const char *)package.at, len) == 0 && symbol[len] == '.' &&
           holds_symbol(file, symbol + len + 1, kinds, ARRAY_SIZE(kinds));
}

static bool file_is_named(struct wire file, const char *name)
{
    struct wire own = wire_find(file, FILE_NAME);

    return wire_is(&own, name, strlen(name));
}

/* The first file for which the question is answered with yes. */
static bool find_file(bool (*is_it)(struct wire file, const char *text), const char *text,
                      ProtobufCBinaryData *out)
{
    struct wire set = {rpc_descriptors, rpc_descriptors_end};
    struct wire_field file;

    while (wire_next(&set, &file)) {
        if (!is_it(file.bytes, text))
            continue;
        out->data = (uint8_t *)(uintptr_t)file.bytes.at;
        out->len = (size_t)(file.bytes.end - file.bytes.at);
        return true;
    }
    return false;
}

/* --- answers --- */

static void reflection_send(struct grpc_call *call, struct err *failure,
                            Grpc__Reflection__V1__ServerReflectionResponse *answer)
{
    Grpc__Reflection__V1__ErrorResponse refusal;
    struct buf out;

    grpc__reflection__v1__error_response__init(&refusal);
    if (failure->code != 0) {
        refusal.error_code = (int32_t)rpc_status(failure);
        refusal.error_message = rpc_text(err_text(failure));
        answer->message_response_case =
            GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE;
        answer->error_response = &refusal;
    }
    buf_init(&out, RPC_ANSWER_MAX);
    if (rpc_put(&out, &answer->base) != 0 || grpc_send(call, buf_str(&out), out.len) == ERR_NOMEM)
        grpc_finish(call, GRPC_RESOURCE_EXHAUSTED, err_code_text(ERR_NOMEM));
    buf_free(&out);
}

static void reflection_send_file(struct grpc_call *call,
                                 Grpc__Reflection__V1__ServerReflectionResponse *answer,
                                 bool (*is_it)(struct wire file, const char *text),
                                 const char *text)
{
    Grpc__Reflection__V1__FileDescriptorResponse file;
    ProtobufCBinaryData data;
    struct err failure = {0};

    grpc__reflection__v1__file_descriptor_response__init(&file);
    if (!find_file(is_it, text, &data))
        err_set(&failure, ERR_NOT_FOUND, "not found: %.200s", text);
    file.n_file_descriptor_proto = 1;
    file.file_descriptor_proto = &data;
    answer->message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE;
    answer->file_descriptor_response = &file;
    reflection_send(call, &failure, answer);
}

static void reflection_send_services(struct grpc_call *call,
                                     Grpc__Reflection__V1__ServerReflectionResponse *answer)
{
    Grpc__Reflection__V1__ListServiceResponse list;
    Grpc__Reflection__V1__ServiceResponse services[SERVICES];
    Grpc__Reflection__V1__ServiceResponse *pointers[SERVICES];
    struct err none = {0};

    grpc__reflection__v1__list_service_response__init(&list);
    for (size_t i = 0; i < SERVICES; i++) {
        grpc__reflection__v1__service_response__init(&services[i]);
        services[i].name = rpc_text(rpc_services[i]);
        pointers[i] = &services[i];
    }
    list.n_service = SERVICES;
    list.service = pointers;
    answer->message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE;
    answer->list_services_response = &list;
    reflection_send(call, &none, answer);
}

/* proto3 has no extensions. */
static void reflection_refuse_extension(struct grpc_call *call,
                                        Grpc__Reflection__V1__ServerReflectionResponse *answer)
{
    struct err failure;

    err_set(&failure, ERR_NOT_FOUND, "there are no extensions");
    reflection_send(call, &failure, answer);
}

static void reflection_answer(struct grpc_call *call,
                              Grpc__Reflection__V1__ServerReflectionRequest *asked)
{
    Grpc__Reflection__V1__ServerReflectionResponse answer;
    struct err failure;

    grpc__reflection__v1__server_reflection_response__init(&answer);
    answer.valid_host = asked->host;
    answer.original_request = asked;
    switch (asked->message_request_case) {
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME:
        reflection_send_file(call, &answer, file_is_named, asked->file_by_filename);
        break;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL:
        reflection_send_file(call, &answer, file_has_symbol, asked->file_containing_symbol);
        break;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES:
        reflection_send_services(call, &answer);
        break;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_EXTENSION:
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_ALL_EXTENSION_NUMBERS_OF_TYPE:
        reflection_refuse_extension(call, &answer);
        break;
    default:
        err_set(&failure, ERR_INVALID, "the request asks for nothing that is known here");
        reflection_send(call, &failure, &answer);
        break;
    }
}

static void reflection_on_message(struct grpc_call *call, const void *data, size_t len)
{
    ProtobufCMessage *message;
    struct arena arena;
    struct err err;

    if (data == NULL) {
        grpc_finish(call, GRPC_OK, NULL);
        return;
    }
    arena_init(&arena);
    if (rpc_read(&grpc__reflection__v1__server_reflection_request__descriptor, data, len, &arena,
                 &message, &err) == 0)
        reflection_answer(call, (Grpc__Reflection__V1__ServerReflectionRequest *)(void *)message);
    else
        grpc_finish(call, rpc_status(&err), err_text(&err));
    arena_free(&arena);
}

static void reflection_on_gone(struct grpc_call *call)
{
    grpc_finish(call, GRPC_UNAVAILABLE, "the server is stopping");
}

void rpc_begin_reflection(void *arg, struct grpc_call *call)
{
    (void)arg;
    grpc_set_endless(call);
    grpc_on_gone(call, reflection_on_gone);
    grpc_on_message(call, reflection_on_message);
}
