#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "store/mysql_private.h"
#include "store/text.h"

enum {
    SCRIPT_PIECE_MAX = 4 * 1024 * 1024,
    SCRIPT_PACKET_DEFAULT = 1024 * 1024, /* until the server was asked */
    SCRIPT_PACKET_MIN = 64 * 1024,
    SCRIPT_SLACK = 16 * 1024, /* of a packet: for what stands around a row */
    SCRIPT_BUF_MAX = 1024 * 1024 * 1024,
    SCRIPT_FIRST_CAP = 4,
};

void mystore_script_init(struct mystore_script *script, const struct store_my *my)
{
    size_t packet = my->packet_max > 0 ? my->packet_max : SCRIPT_PACKET_DEFAULT;

    if (packet < SCRIPT_PACKET_MIN)
        packet = SCRIPT_PACKET_MIN;
    *script =
        (struct mystore_script){.database = my->database, .packet_max = packet - SCRIPT_SLACK};
    buf_init(&script->piece, SCRIPT_BUF_MAX);
    buf_init(&script->row, SCRIPT_BUF_MAX);
    buf_init(&script->clean, SCRIPT_BUF_MAX);
}

void mystore_script_clear(struct mystore_script *script)
{
    for (size_t i = 0; i < script->count; i++)
        buf_free(&script->pieces[i]);
    script->count = 0;
    script->rc = 0;
    buf_truncate(&script->piece, 0);
}

void mystore_script_free(struct mystore_script *script)
{
    mystore_script_clear(script);
    mem_free(script->pieces);
    script->pieces = NULL;
    script->cap = 0;
    buf_free(&script->clean);
    buf_free(&script->row);
    buf_free(&script->piece);
}

/* --- pieces --- */

static int script_grow(struct mystore_script *script)
{
    size_t cap = script->cap > 0 ? script->cap * 2 : SCRIPT_FIRST_CAP;
    struct buf *pieces = mem_realloc(script->pieces, cap * sizeof(*pieces));

    if (pieces == NULL)
        return ERR_NOMEM;
    script->pieces = pieces;
    script->cap = cap;
    return 0;
}

static void script_close_piece(struct mystore_script *script)
{
    if (script->piece.rc != 0 && script->rc == 0)
        script->rc = script->piece.rc;
    if (script->piece.len == 0 || script->rc != 0)
        return;
    if (script->count == script->cap && script_grow(script) != 0) {
        script->rc = ERR_NOMEM;
        return;
    }
    script->pieces[script->count++] = script->piece;
    buf_init(&script->piece, SCRIPT_BUF_MAX);
}

void mystore_break(struct mystore_script *script)
{
    script_close_piece(script);
}

int mystore_script_close(struct mystore_script *script, struct err *err)
{
    script_close_piece(script);
    if (script->rc == 0)
        return 0;
    if (script->rc == ERR_DB)
        return err_set(err, ERR_DB,
                       "the state database refused a row: it is larger than the server's "
                       "max_allowed_packet");
    return err_set(err, script->rc, "%s", err_code_text(script->rc));
}

/* --- what stands between rows --- */

/* "@@name" is a variable of the server. */
static void script_put_sql(struct buf *out, const char *database, const char *sql)
{
    const char *at;

    while ((at = strchr(sql, '@')) != NULL) {
        bool variable = at[1] == '@';

        buf_append(out, sql, (size_t)(at - sql));
        buf_puts(out, variable ? "@@" : database);
        sql = variable ? at + 2 : at + 1;
    }
    buf_puts(out, sql);
}

static void script_put_time(struct buf *out, int64_t us)
{
    int64_t fraction = us % 1000000;
    time_t seconds = (time_t)(us / 1000000);
    struct tm tm;

    if (fraction < 0) {
        fraction += 1000000;
        seconds--;
    }
    if (gmtime_r(&seconds, &tm) == NULL || tm.tm_year + 1900 > 9999 || tm.tm_year + 1900 < 1000) {
        buf_puts(out, "NULL"); /* no clock says that */
        return;
    }
    buf_printf(out, "'%04d-%02d-%02d %02d:%02d:%02d.%06d'", tm.tm_year + 1900, tm.tm_mon + 1,
               tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)fraction);
}

/* The text, or a copy of it that is UTF-8. */
static const char *script_clean(struct mystore_script *script, const char *text)
{
    if (text == NULL || utf8_is_valid(text, strlen(text)))
        return text;
    buf_truncate(&script->clean, 0);
    if (text_put_clean(&script->clean, text) != 0)
        script->rc = script->clean.rc;
    return buf_str(&script->clean);
}

static void script_put_literal(struct mystore_script *script, struct buf *out, const char *text)
{
    text = script_clean(script, text);
    if (maria_put_literal(out, text) != 0 && script->rc == 0)
        script->rc = out->rc != 0 ? out->rc : ERR_NOMEM;
}

void mystore_sql(struct mystore_script *script, const char *sql)
{
    script_put_sql(&script->piece, script->database, sql);
}

void mystore_put_text(struct mystore_script *script, const char *text)
{
    script_put_literal(script, &script->piece, text);
}

void mystore_put_number(struct mystore_script *script, int64_t number)
{
    buf_printf(&script->piece, "%" PRId64, number);
}

void mystore_put_time(struct mystore_script *script, int64_t us)
{
    script_put_time(&script->piece, us);
}

/* --- statements of their own --- */

static size_t script_piece_max(const struct mystore_script *script)
{
    return script->packet_max < SCRIPT_PIECE_MAX ? script->packet_max : SCRIPT_PIECE_MAX;
}

void mystore_statement_begin(struct mystore_script *script)
{
    script->statement_at = script->piece.len;
}

void mystore_statement_end(struct mystore_script *script)
{
    struct buf *piece = &script->piece, *row = &script->row;
    size_t at = script->statement_at;

    if (piece->rc != 0)
        return;
    if (piece->len - at > script->packet_max && script->rc == 0)
        script->rc = ERR_DB;
    if (at == 0 || piece->len <= script_piece_max(script))
        return;
    buf_truncate(row, 0);
    if (buf_append(row, piece->data + at, piece->len - at) != 0) {
        script->rc = row->rc;
        return;
    }
    buf_truncate(piece, at);
    script_close_piece(script);
    buf_append(piece, row->data, row->len);
}

/* --- rows --- */

void mystore_rows_begin(struct mystore_script *script, const char *head, const char *tail,
                        size_t rows_max)
{
    script->head = head;
    script->tail = tail;
    script->rows_max = rows_max > 0 ? rows_max : SIZE_MAX;
    script->rows = 0;
}

void mystore_rows_end(struct mystore_script *script)
{
    if (script->rows > 0) {
        mystore_sql(script, script->tail);
        buf_putc(&script->piece, ';');
    }
    script->rows = 0;
}

void mystore_row_begin(struct mystore_script *script)
{
    buf_truncate(&script->row, 0);
    buf_putc(&script->row, '(');
}

void mystore_row_end(struct mystore_script *script)
{
    struct buf *row = &script->row;

    if (buf_putc(row, ')') != 0 && script->rc == 0)
        script->rc = row->rc;
    if (row->len > script->packet_max && script->rc == 0)
        script->rc = ERR_DB;
    if (script->rows >= script->rows_max)
        mystore_rows_end(script);
    if (script->piece.len > 0 && script->piece.len + row->len > script_piece_max(script)) {
        mystore_rows_end(script);
        script_close_piece(script);
    }
    if (script->rows == 0)
        mystore_sql(script, script->head);
    else
        buf_putc(&script->piece, ',');
    buf_append(&script->piece, row->data, row->len);
    script->rows++;
}

static struct buf *script_next_value(struct mystore_script *script)
{
    if (script->row.len > 1)
        buf_putc(&script->row, ',');
    return &script->row;
}

void mystore_row_text(struct mystore_script *script, const char *text)
{
    script_put_literal(script, script_next_value(script), text);
}

void mystore_row_text_cut(struct mystore_script *script, const char *text, size_t characters)
{
    struct buf *out = script_next_value(script);

    if (text == NULL || strlen(text) <= characters) {
        script_put_literal(script, out, text);
        return;
    }
    buf_puts(out, "LEFT(");
    script_put_literal(script, out, text);
    buf_printf(out, ",%zu)", characters);
}

void mystore_row_number(struct mystore_script *script, int64_t number)
{
    buf_printf(script_next_value(script), "%" PRId64, number);
}

void mystore_row_time(struct mystore_script *script, int64_t us)
{
    if (us == 0)
        buf_puts(script_next_value(script), "NULL");
    else
        script_put_time(script_next_value(script), us);
}

void mystore_row_sql(struct mystore_script *script, const char *keyword)
{
    buf_puts(script_next_value(script), keyword);
}
