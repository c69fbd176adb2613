"""Expressions: of INSERT values, DEFAULT, WHERE and the select list."""
import re
import time

from .answers import NotInDouble, SqlError

COMPARE = {"=": lambda a, b: a == b, "<>": lambda a, b: a != b, "!=": lambda a, b: a != b, "<": lambda a, b: a < b,
           "<=": lambda a, b: a <= b, ">": lambda a, b: a > b, ">=": lambda a, b: a >= b}
ADD = {"+": lambda a, b: a + b, "-": lambda a, b: a - b}
VERSION = "1.1.4"


class Aggregate:
    """count(...) of the rows of a group, which is all of them."""

    def __init__(self, column):
        self.column = column

    def over(self, rows):
        return len(rows) if self.column is None else sum(row[self.column] is not None for row in rows)


def like(value, pattern):
    """_ is one character, % any number of them."""
    parts = {"%": ".*", "_": "."}
    return re.fullmatch("".join(parts.get(char, re.escape(char)) for char in pattern), value, re.DOTALL) is not None


def parse(tokens):
    """An expression: a function of a row (a dict; None where there is none), or an Aggregate."""
    return _or(tokens)


def _scalar(function, tokens):
    if isinstance(function, Aggregate):
        raise NotInDouble("an aggregate inside an expression, near %s" % tokens.peek().text)
    return function


def _or(tokens):
    left = _and(tokens)
    while tokens.take_word("OR"):
        left = (lambda a, b: lambda row: a(row) or b(row))(_scalar(left, tokens), _scalar(_and(tokens), tokens))
    return left


def _and(tokens):
    left = _not(tokens)
    while tokens.take_word("AND"):
        left = (lambda a, b: lambda row: a(row) and b(row))(_scalar(left, tokens), _scalar(_not(tokens), tokens))
    return left


def _not(tokens):
    if tokens.take_word("NOT"):
        inner = _scalar(_not(tokens), tokens)
        return lambda row: not inner(row)
    return _comparison(tokens)


def _nulls_unknown(operator, left, right):
    def compare(row):
        a, b = left(row), right(row)
        return None if a is None or b is None else operator(a, b)
    return compare


def _comparison(tokens):
    left = _sum(tokens)
    for symbol, operator in COMPARE.items():
        if tokens.is_symbol(symbol):
            tokens.next()
            return _nulls_unknown(operator, _scalar(left, tokens), _scalar(_sum(tokens), tokens))
    if tokens.take_word("IS"):
        wanted = not tokens.take_word("NOT")
        tokens.expect_word("NULL")
        return lambda row, left=_scalar(left, tokens): (left(row) is None) is wanted
    positive = not (tokens.is_word("NOT") and tokens.take_word("NOT"))
    if tokens.take_word("LIKE"):
        matches = _nulls_unknown(like, _scalar(left, tokens), _scalar(_sum(tokens), tokens))
        return lambda row: matches(row) is positive
    if tokens.take_word("IN"):
        choices = parse_list(tokens)
        return lambda row, left=_scalar(left, tokens): (left(row) in [one(row) for one in choices]) is positive
    if not positive:
        tokens.fail("IN or LIKE after NOT")
    return left


def parse_list(tokens):
    """( expression, ... )"""
    tokens.expect_symbol("(")
    found = [_scalar(parse(tokens), tokens)]
    while tokens.take_symbol(","):
        found.append(_scalar(parse(tokens), tokens))
    tokens.expect_symbol(")")
    return found


def _sum(tokens):
    left = _product(tokens)
    while tokens.is_symbol("+") or tokens.is_symbol("-"):
        left = _nulls_unknown(ADD[tokens.next().value], _scalar(left, tokens), _scalar(_product(tokens), tokens))
    return left


def _divide(a, b):
    if b == 0:
        raise SqlError(3001, "Failed to execute the query: Arrow error: Divide by zero error")
    return a // b if isinstance(a, int) and isinstance(b, int) else a / b


def _product(tokens):
    left = _primary(tokens)
    while tokens.is_symbol("*") or tokens.is_symbol("/"):
        operator = _divide if tokens.next().value == "/" else lambda a, b: a * b
        left = _nulls_unknown(operator, _scalar(left, tokens), _scalar(_primary(tokens), tokens))
    return left


def _number(text):
    return int(text) if text.isdigit() else float(text)


def _primary(tokens):
    if tokens.take_symbol("("):
        inner = parse(tokens)
        tokens.expect_symbol(")")
        return inner
    if tokens.take_symbol("-"):
        inner = _scalar(_primary(tokens), tokens)
        return lambda row: -inner(row)
    token = tokens.peek()
    if token.kind in ("string", "number"):
        tokens.next()
        value = token.value if token.kind == "string" else _number(token.value)
        return lambda row: value
    if token.kind == "word" and token.value.upper() in ("NULL", "TRUE", "FALSE"):
        tokens.next()
        value = {"NULL": None, "TRUE": True, "FALSE": False}[token.value.upper()]
        return lambda row: value
    if token.kind not in ("word", "quoted"):
        tokens.fail("an expression")
    return _name(tokens)


def _name(tokens):
    """A function call, or a column, which may be qualified."""
    token = tokens.next()
    name = token.value.lower() if token.kind == "word" else token.value
    if tokens.take_symbol("("):
        return _call(name, tokens)
    while tokens.take_symbol("."):
        token = tokens.next()
        name = token.value.lower() if token.kind == "word" else token.value

    def read(row):
        if row is None or name not in row:
            raise SqlError(3000, "Failed to plan SQL: No field named %s." % name)
        return row[name]

    return read


def _call(name, tokens):
    if name == "count":
        column = None
        if not tokens.take_symbol("*"):
            token = tokens.next()
            column = None if token.kind == "number" else token.value
        tokens.expect_symbol(")")
        return Aggregate(column)
    constants = {"version": lambda row: VERSION, "now": lambda row: int(time.time() * 1000),
                 "current_timestamp": lambda row: int(time.time() * 1000)}
    if name not in constants:
        raise NotInDouble("the function %s" % name)
    tokens.expect_symbol(")")
    return constants[name]
