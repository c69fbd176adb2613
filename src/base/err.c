#include "base/err.h"

#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

static const struct {
    int code;
    const char *name;
    const char *text;
} err_table[] = {
#define ERR_ROW(name, code, text) {code, #name, text},
    ERR_MAP(ERR_ROW)
#undef ERR_ROW
};

const char *err_code_text(int code)
{
    for (size_t i = 0; i < ARRAY_SIZE(err_table); i++)
        if (err_table[i].code == code)
            return err_table[i].text;
    return code == 0 ? "success" : "unknown error";
}

const char *err_code_name(int code)
{
    for (size_t i = 0; i < ARRAY_SIZE(err_table); i++)
        if (err_table[i].code == code)
            return err_table[i].name;
    return code == 0 ? "OK" : "UNKNOWN";
}

int err_vset(struct err *err, int code, const char *format, va_list args)
{
    int len;

    if (err == NULL)
        return code;
    err_clear(err);
    err->code = code;
    len = vsnprintf(err->text, sizeof(err->text), format, args);
    if (len >= (int)sizeof(err->text))
        err->text[utf8_cut(err->text, sizeof(err->text) - 1)] = '\0';
    return code;
}

int err_set(struct err *err, int code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    err_vset(err, code, format, args);
    va_end(args);
    return code;
}

int err_prefix(struct err *err, const char *format, ...)
{
    struct err old = *err;
    char head[256];
    va_list args;

    va_start(args, format);
    vsnprintf(head, sizeof(head), format, args);
    va_end(args);
    err_set(err, old.code, "%s: %s", head, err_text(&old));
    err->statement = old.statement;
    err->line = old.line;
    memcpy(err->sqlstate, old.sqlstate, sizeof(err->sqlstate));
    return err->code;
}

void err_clear(struct err *err)
{
    if (err == NULL)
        return;
    err->code = 0;
    err->statement = 0;
    err->line = 0;
    err->sqlstate[0] = '\0';
    err->text[0] = '\0';
}

const char *err_text(const struct err *err)
{
    return err->text[0] != '\0' ? err->text : err_code_text(err->code);
}
