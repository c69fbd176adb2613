"""Statements: which there are, and what is refused before anything runs (contract sections 4, 5 and 7)."""
from types import SimpleNamespace

from . import expressions
from .answers import NotInDouble, SqlError
from .lexer import Tokens
from .parser_table import canonical, parse_alter_table, parse_create_table, parse_name, parse_options

# GreptimeDB has them, and no test needs them.
ELSEWHERE = ("ADMIN", "CLOSE", "COMMENT", "COPY", "DECLARE", "DESC", "DESCRIBE", "EXPLAIN", "FETCH", "KILL", "REPLACE",
             "TQL", "VALUES", "WITH")
VARIABLES = ("TIME_ZONE", "TIMEZONE", "CLIENT_ENCODING", "DATESTYLE", "SEARCH_PATH", "QUERY_TIMEOUT",
             "MAX_EXECUTION_TIME", "SQL_MODE", "AUTOCOMMIT", "NAMES")


def statement(kind, **fields):
    fields.setdefault("is_ddl", False)
    fields.setdefault("writes", fields["is_ddl"])
    return SimpleNamespace(kind=kind, **fields)


def parse(sql):
    """All statements of a request; SqlError if one of them cannot be parsed."""
    tokens, found, needs_delimiter = Tokens(sql), [], False
    while True:
        while tokens.take_symbol(";"):
            needs_delimiter = False
        if tokens.peek().kind == "end":
            break
        if needs_delimiter:
            unsupported(tokens)
        place = tokens.place()
        found.append(_parse_one(tokens))
        found[-1].text = tokens.text_since(place)
        needs_delimiter = True
    if not found:
        raise SqlError(1004, "Invalid SQL, error: empty statements")
    return found


def unsupported(tokens):
    raise SqlError(1001, "SQL statement is not supported, keyword: %s" % tokens.peek().text)


def _parse_one(tokens):
    first = tokens.peek()
    if first.kind == "word":
        word = first.value.upper()
        if word in PARSERS:
            return PARSERS[word](tokens)
        if word in ELSEWHERE:
            raise NotInDouble(word)
    return unsupported(tokens)


# --- databases and tables ---

def _create(tokens):
    tokens.next()
    if tokens.take_word("DATABASE") or tokens.take_word("SCHEMA"):
        if_not_exists = tokens.take_word("IF", "NOT", "EXISTS")
        name = ".".join(parse_name(tokens))
        parse_options(tokens)
        return statement("create_database", is_ddl=True, name=name, if_not_exists=if_not_exists)
    if tokens.take_word("TABLE"):
        return statement("create_table", is_ddl=True, **parse_create_table(tokens))
    for word in ("EXTERNAL", "VIEW", "OR", "FLOW", "TRIGGER", "TEMPORARY"):
        if tokens.is_word(word):
            raise NotInDouble("CREATE " + word)
    return unsupported(tokens)


def _drop(tokens):
    tokens.next()
    for word in ("DATABASE", "SCHEMA"):
        if tokens.take_word(word):
            if_exists = tokens.take_word("IF", "EXISTS")
            return statement("drop_database", is_ddl=True, name=".".join(parse_name(tokens)), if_exists=if_exists)
    if tokens.take_word("TABLE"):
        if_exists = tokens.take_word("IF", "EXISTS")
        names = [parse_name(tokens)]
        while tokens.take_symbol(","):
            names.append(parse_name(tokens))
        return statement("drop_table", is_ddl=True, names=names, if_exists=if_exists)
    for word in ("VIEW", "FLOW", "TRIGGER"):
        if tokens.is_word(word):
            raise NotInDouble("DROP " + word)
    return unsupported(tokens)


def _alter(tokens):
    tokens.next()
    if tokens.take_word("DATABASE") or tokens.take_word("SCHEMA"):
        name = ".".join(parse_name(tokens))
        if not tokens.take_word("SET") and not tokens.take_word("UNSET"):
            tokens.fail("SET or UNSET")
        while tokens.peek().kind == "string" or tokens.is_symbol("=") or tokens.is_symbol(","):
            tokens.next()
        return statement("alter_database", is_ddl=True, name=name)
    if tokens.take_word("TABLE"):
        return statement("alter_table", is_ddl=True, **parse_alter_table(tokens))
    return unsupported(tokens)


def _truncate(tokens):
    tokens.next()
    tokens.take_word("TABLE")
    return statement("truncate", is_ddl=True, name=parse_name(tokens))


# --- rows ---

def _insert(tokens):
    tokens.next()
    tokens.expect_word("INTO")
    name, columns = parse_name(tokens), None
    if tokens.take_symbol("("):
        columns = [canonical(tokens.next())]
        while tokens.take_symbol(","):
            columns.append(canonical(tokens.next()))
        tokens.expect_symbol(")")
    if tokens.is_word("SELECT"):
        raise NotInDouble("INSERT ... SELECT")
    tokens.expect_word("VALUES")
    rows = [expressions.parse_list(tokens)]
    while tokens.take_symbol(","):
        rows.append(expressions.parse_list(tokens))
    return statement("insert", writes=True, name=name, columns=columns, rows=rows)


def _where(tokens):
    return expressions.parse(tokens) if tokens.take_word("WHERE") else None


def _delete(tokens):
    tokens.next()
    tokens.expect_word("FROM")
    return statement("delete", writes=True, name=parse_name(tokens), where=_where(tokens))


def _select(tokens):
    tokens.next()
    items = [_select_item(tokens)]
    while tokens.take_symbol(","):
        items.append(_select_item(tokens))
    name = parse_name(tokens) if tokens.take_word("FROM") else None
    where = _where(tokens)
    order = []
    if tokens.take_word("ORDER", "BY"):
        order.append(_order_item(tokens))
        while tokens.take_symbol(","):
            order.append(_order_item(tokens))
    limit = int(tokens.next().value) if tokens.take_word("LIMIT") else None
    return statement("select", items=items, name=name, where=where, order=order, limit=limit)


def _select_item(tokens):
    """(name, expression); the expression of * is None."""
    if tokens.take_symbol("*"):
        return "*", None
    place = tokens.place()
    expression = expressions.parse(tokens)
    name = tokens.text_since(place).strip('`"')
    if tokens.take_word("AS"):
        name = canonical(tokens.next())
    elif tokens.peek().kind == "quoted":
        name = tokens.next().value
    return name, expression


def _order_item(tokens):
    """(expression, descending)"""
    expression = expressions.parse(tokens)
    descending = tokens.take_word("DESC")
    if not descending:
        tokens.take_word("ASC")
    return expression, descending


# --- the rest ---

def _show(tokens):
    tokens.next()
    if tokens.take_word("DATABASES") or tokens.take_word("SCHEMAS"):
        if tokens.peek().kind == "end" or tokens.is_symbol(";"):
            tokens.next()  # it swallows what ends it
            return statement("show_databases", like=None, where=None)
        return statement("show_databases", like=_like(tokens), where=_where(tokens))
    if tokens.take_word("TABLES"):
        database = None
        if tokens.take_word("FROM") or tokens.take_word("IN"):
            database = canonical(tokens.next())
        return statement("show_tables", database=database, like=_like(tokens))
    raise NotInDouble("SHOW " + tokens.peek().text)


def _like(tokens):
    return tokens.next().value if tokens.take_word("LIKE") else None


def _set(tokens):
    tokens.next()
    for word in ("SESSION", "LOCAL", "GLOBAL"):
        tokens.take_word(word)
    name = tokens.next().value
    while tokens.peek().kind != "end" and not tokens.is_symbol(";"):
        tokens.next()
    return statement("set", name=name, is_known=name.upper() in VARIABLES)


def _use(tokens):
    tokens.next()
    return statement("use", database=canonical(tokens.next()))


PARSERS = {"CREATE": _create, "DROP": _drop, "ALTER": _alter, "TRUNCATE": _truncate, "INSERT": _insert,
           "DELETE": _delete, "SELECT": _select, "SHOW": _show, "SET": _set, "USE": _use}
