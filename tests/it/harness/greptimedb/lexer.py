"""SQL text to tokens, by GreptimeDB's rules: contract sections 4 and 7."""
import re
from collections import namedtuple

from .answers import SqlError

# kind: "word", "quoted" (identifier in ` or "), "string", "number", "symbol" or "end". value: what the token stands
# for, without quotes; text: as it was written; start: where.
Token = namedtuple("Token", "kind value text start")

_BLANK = re.compile(r"\s+|--[^\n]*")
_WORD = re.compile(r"[^\W\d][\w$]*")
_NUMBER = re.compile(r"\d+(\.\d*)?([eE][+-]?\d+)?|\.\d+")
_SYMBOL = re.compile(r"<>|!=|<=|>=|::|\|\||[-+*/%(),.;=<>@#:{}\[\]?&|^~!$\\]")


def tokenize(sql):
    """Every token, one of the kind "end" last."""
    tokens, at = [], 0
    while at < len(sql):
        blank = _BLANK.match(sql, at)
        if blank:
            at = blank.end()
        elif sql.startswith("/*", at):
            at = _find(sql, "*/", at + 2, "Unexpected EOF while in a multi-line comment")
        else:
            token, at = _next(sql, at)
            tokens.append(token)
    return tokens + [Token("end", "", "EOF", len(sql))]


def _find(sql, what, at, error):
    end = sql.find(what, at)
    if end < 0:
        raise SqlError(2000, "Invalid SQL syntax: sql parser error: %s" % error)
    return end + len(what)


def _next(sql, at):
    first = sql[at]
    if first == "'":
        return _quoted(sql, at, "'", "string", "Unterminated string literal")
    if first in '`"':
        return _quoted(sql, at, first, "quoted", "Expected close delimiter '%s' before EOF." % first)
    if sql.startswith("$$", at):
        end = _find(sql, "$$", at + 2, "Unterminated dollar-quoted string")
        return Token("string", sql[at + 2:end - 2], sql[at:end], at), end
    for kind, pattern in (("word", _WORD), ("number", _NUMBER), ("symbol", _SYMBOL)):
        found = pattern.match(sql, at)
        if found:
            return Token(kind, found.group(), found.group(), at), found.end()
    raise SqlError(2000, "Invalid SQL syntax: sql parser error: Unexpected character '%s'" % first)


def _quoted(sql, at, quote, kind, error):
    """Doubling is the only escape: a backslash is an ordinary character."""
    end = at
    while True:
        end = _find(sql, quote, end + 1, error)
        if not sql.startswith(quote, end):
            break
    return Token(kind, sql[at + 1:end - 1].replace(quote * 2, quote), sql[at:end], at), end


class Tokens:
    """A place in a list of tokens."""

    def __init__(self, sql):
        self._sql = sql
        self._tokens = tokenize(sql)
        self._at = 0

    def peek(self, ahead=0):
        return self._tokens[min(self._at + ahead, len(self._tokens) - 1)]

    def next(self):
        token = self.peek()
        self._at += 1
        return token

    def place(self):
        return self._at

    def text_since(self, place):
        last = self._tokens[min(self._at, len(self._tokens)) - 1]
        end = last.start + len(last.text) if last.kind != "end" else last.start
        return self._sql[self._tokens[place].start:end].rstrip("; \n")

    def is_word(self, *words, ahead=0):
        """Whether the tokens from here on are these keywords."""
        return all(self.peek(ahead + index).kind == "word" and self.peek(ahead + index).value.upper() == word
                   for index, word in enumerate(words))

    def is_symbol(self, symbol):
        return self.peek().kind == "symbol" and self.peek().value == symbol

    def take_word(self, *words):
        if not self.is_word(*words):
            return False
        self._at += len(words)
        return True

    def take_symbol(self, symbol):
        if not self.is_symbol(symbol):
            return False
        self._at += 1
        return True

    def expect_word(self, *words):
        if not self.take_word(*words):
            self.fail(" ".join(words))

    def expect_symbol(self, symbol):
        if not self.take_symbol(symbol):
            self.fail(symbol)

    def fail(self, expected):
        raise SqlError(2000, "Invalid SQL syntax: sql parser error: Expected: %s, found: %s" %
                       (expected, self.peek().text))
