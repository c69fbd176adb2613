#include <pg_query.h>
#include <pg_query/pg_query.pb-c.h>
#include <string.h>

#include "base/base.h"
#include "base/mem.h"
#include "model/sqlscan.h"

/*
 * Calls in a parse tree. The tree has some hundred kinds of nodes; it is walked by what the
 * messages say about themselves. The library writes and reads trees by recursion without a limit,
 * so longer text, which could hold a deeper tree than a thread's stack, is not given to it.
 */
enum {
    CALLS_TEXT_MAX = 8 * 1024,
    CALLS_LOCAL_ARGUMENT = 2, /* of set_config() */
};

typedef bool calls_wanted_fn(const char *name);

static const char *calls_name(const PgQuery__FuncCall *call)
{
    const PgQuery__Node *last = call->n_funcname > 0 ? call->funcname[call->n_funcname - 1] : NULL;

    return last != NULL && last->node_case == PG_QUERY__NODE__NODE_STRING ? last->string->sval : "";
}

/* set_config(name, value, true) ends with the transaction. */
static bool calls_is_local(const PgQuery__FuncCall *call)
{
    const PgQuery__Node *flag;

    if (call->n_args <= CALLS_LOCAL_ARGUMENT || strcmp(calls_name(call), "set_config") != 0)
        return false;
    flag = call->args[CALLS_LOCAL_ARGUMENT];
    return flag->node_case == PG_QUERY__NODE__NODE_A_CONST &&
           flag->a_const->val_case == PG_QUERY__A__CONST__VAL_BOOLVAL &&
           flag->a_const->boolval->boolval;
}

/* What keeps a query to be run by somebody else calls nothing now. */
static bool calls_only_stores(const ProtobufCMessageDescriptor *kind)
{
    return kind == &pg_query__create_function_stmt__descriptor ||
           kind == &pg_query__view_stmt__descriptor || kind == &pg_query__rule_stmt__descriptor;
}

static size_t calls_count(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    const char *start = (const char *)message;
    uint32_t chosen;
    size_t count;

    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        memcpy(&count, start + field->quantifier_offset, sizeof(count));
        return count;
    }
    if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) == 0)
        return 1;
    memcpy(&chosen, start + field->quantifier_offset, sizeof(chosen));
    return chosen == field->id;
}

static bool calls_in_message(const ProtobufCMessage *message, calls_wanted_fn *wanted);

static bool calls_in_field(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                           calls_wanted_fn *wanted)
{
    const char *start = (const char *)message;
    size_t count = calls_count(message, field);
    const ProtobufCMessage *one, *const *items;

    memcpy(&items, start + field->offset, sizeof(items));
    if (field->label != PROTOBUF_C_LABEL_REPEATED) {
        memcpy(&one, start + field->offset, sizeof(one));
        items = &one;
    }
    for (size_t i = 0; i < count; i++)
        if (items[i] != NULL && calls_in_message(items[i], wanted))
            return true;
    return false;
}

static bool calls_in_message(const ProtobufCMessage *message, calls_wanted_fn *wanted)
{
    const ProtobufCMessageDescriptor *kind = message->descriptor;

    if (calls_only_stores(kind))
        return false;
    if (kind == &pg_query__func_call__descriptor) {
        const PgQuery__FuncCall *call = (const PgQuery__FuncCall *)message;

        if (wanted(calls_name(call)) && !calls_is_local(call))
            return true;
    }
    for (unsigned i = 0; i < kind->n_fields; i++)
        if (kind->fields[i].type == PROTOBUF_C_TYPE_MESSAGE &&
            calls_in_field(message, &kind->fields[i], wanted))
            return true;
    return false;
}

static enum sql_calls calls_in_tree(const PgQueryProtobuf *bytes, calls_wanted_fn *wanted)
{
    PgQuery__ParseResult *tree =
        pg_query__parse_result__unpack(NULL, bytes->len, (const uint8_t *)bytes->data);
    enum sql_calls found;

    if (tree == NULL)
        return SQL_CALLS_UNKNOWN;
    found = calls_in_message(&tree->base, wanted) ? SQL_CALLS_SOME : SQL_CALLS_NONE;
    pg_query__parse_result__free_unpacked(tree, NULL);
    return found;
}

enum sql_calls sql_find_calls(const char *text, size_t len, calls_wanted_fn *wanted)
{
    enum sql_calls found = SQL_CALLS_UNKNOWN;
    PgQueryProtobufParseResult result;
    char *copy = len <= CALLS_TEXT_MAX ? mem_strndup(text, len) : NULL;

    if (copy == NULL)
        return SQL_CALLS_UNKNOWN;
    result = pg_query_parse_protobuf(copy);
    if (result.error == NULL)
        found = calls_in_tree(&result.parse_tree, wanted);
    pg_query_free_protobuf_parse_result(result);
    mem_free(copy);
    return found;
}
