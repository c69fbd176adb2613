"""CREATE TABLE and ALTER TABLE (contract section 7)."""
from . import expressions
from .answers import NotInDouble, SqlError
from .catalog import STRING, Column

TIMESTAMPS = {0: "TimestampSecond", 3: "TimestampMillisecond", 6: "TimestampMicrosecond", 9: "TimestampNanosecond"}
TYPES = {
    "INT": "Int32", "INTEGER": "Int32", "TINYINT": "Int8", "SMALLINT": "Int16", "BIGINT": "Int64", "INT8": "Int64",
    "INT16": "Int16", "INT32": "Int32", "INT64": "Int64", "UINT8": "UInt8", "UINT16": "UInt16", "UINT32": "UInt32",
    "UINT64": "UInt64", "FLOAT": "Float32", "FLOAT32": "Float32", "DOUBLE": "Float64", "FLOAT64": "Float64",
    "STRING": STRING, "TEXT": STRING, "VARCHAR": STRING, "CHAR": STRING, "BOOLEAN": "Boolean", "BOOL": "Boolean",
    "BINARY": "Binary", "VARBINARY": "Binary", "DATE": "Date", "DECIMAL": "Decimal", "JSON": "Json",
    "TIMESTAMP": "TimestampMillisecond", "DATETIME": "TimestampMicrosecond", "TIMESTAMP_S": "TimestampSecond",
    "TIMESTAMP_MS": "TimestampMillisecond", "TIMESTAMP_US": "TimestampMicrosecond",
    "TIMESTAMP_NS": "TimestampNanosecond",
}
# Of the SQL parser's table of keywords: those of the contract, and more that somebody may use for a column.
KEYWORDS = frozenset("""
    action add all alter and any array as at begin between bigint binary boolean by call case cast catalog char
    character check checksum code collation column comment commit condition connection constraint content count
    create current cursor cycle data database date day default delete desc describe descriptor detail distinct
    domain double drop each else end engine error escape event exists explain external extract false fields file
    filter first float following for foreign format from full function global grant group groups hash having header
    hour id identity if in index inner input insert int integer interval into is join json key label language last
    left level like limit local location lock map match message metadata method minute mode month name not null
    number object of offset on only open operation option options or order out over owner parameter partition
    password path percent period plan position precision primary priority procedure query range rank read region
    replace reset result return role row rows rule schema second sequence session set size source start state
    statement status step string table tag tags target temporary text then time timestamp to token top trigger true
    type uint32 uint64 union unique unknown update url use user using uuid value values version view when where
    window with without work write year zone
""".split())


def canonical(token):
    """Unquoted identifiers are lower-cased; a string is taken where a name is expected."""
    if token.kind == "word":
        return token.value.lower()
    if token.kind in ("quoted", "string"):
        return token.value
    raise SqlError(2000, "Invalid SQL syntax: sql parser error: Expected: identifier, found: %s" % token.text)


def parse_name(tokens):
    """The parts of a name, 1 to 3."""
    parts = [canonical(tokens.next())]
    while tokens.take_symbol("."):
        parts.append(canonical(tokens.next()))
    return parts


def parse_options(tokens):
    """WITH ( 'k' = 'v', k = 'v' ), which may be absent."""
    options = {}
    if not tokens.take_word("WITH"):
        return options
    tokens.expect_symbol("(")
    while not tokens.take_symbol(")"):
        key = ".".join(parse_name(tokens))
        tokens.expect_symbol("=")
        options[key] = tokens.next().value
        if not tokens.is_symbol(")"):
            tokens.expect_symbol(",")
    return options


def parse_type(tokens):
    token = tokens.next()
    word = token.value.upper()
    if token.kind != "word" or word not in TYPES:
        raise SqlError(2000, "Invalid SQL syntax: unsupported SQL data type: %s" % token.text)
    if word == "DOUBLE":
        tokens.take_word("PRECISION")
    numbers = []
    if tokens.take_symbol("("):
        numbers.append(int(tokens.next().value))
        while tokens.take_symbol(","):
            numbers.append(int(tokens.next().value))
        tokens.expect_symbol(")")
    tokens.take_word("UNSIGNED")
    if word == "TIMESTAMP" and numbers:
        if numbers[0] not in TIMESTAMPS:
            raise SqlError(2000, "Invalid SQL syntax: timestamp precision %d" % numbers[0])
        return TIMESTAMPS[numbers[0]]
    return TYPES[word]


def parse_column_name(tokens):
    token = tokens.next()
    name = canonical(token)
    if token.kind == "word" and name in KEYWORDS:
        raise SqlError(2000, "Invalid SQL, error: Cannot use keyword '%s' as column name. Hint: add quotes to the name."
                       % token.value)
    return name


class ColumnDefinition:
    def __init__(self, tokens):
        name = parse_column_name(tokens)
        self.column = Column(name, parse_type(tokens))
        self.is_time_index = self.is_primary_key = self.not_null = False
        while self._option(tokens):
            pass

    def _option(self, tokens):
        if tokens.take_word("TIME", "INDEX"):
            self.is_time_index = True
            self.column.nullable = False
        elif tokens.take_word("PRIMARY", "KEY"):
            self.is_primary_key = True
        elif tokens.take_word("NOT", "NULL"):
            self.not_null, self.column.nullable = True, False
        elif tokens.take_word("DEFAULT"):
            tokens_of_default = tokens.place()
            expressions.parse(tokens)
            self.column.default = tokens.text_since(tokens_of_default)
            self.column.has_default = True
        elif tokens.take_word("COMMENT"):
            tokens.next()
        elif tokens.take_word("INVERTED", "INDEX") or tokens.take_word("SKIPPING", "INDEX"):
            parse_options(tokens)
        elif tokens.take_word("FULLTEXT"):
            tokens.take_word("INDEX")
            parse_options(tokens)
        else:
            return tokens.take_word("NULL")
        return True


def _names_in_parentheses(tokens):
    tokens.expect_symbol("(")
    names = [canonical(tokens.next())]
    while tokens.take_symbol(","):
        names.append(canonical(tokens.next()))
    tokens.expect_symbol(")")
    return names


class _Layout:
    """The inside of CREATE TABLE ( ... )."""

    def __init__(self, tokens):
        self.definitions, self.time_indexes, self.primary_keys = [], [], []
        tokens.expect_symbol("(")
        self._take(tokens)
        while tokens.take_symbol(","):
            self._take(tokens)
        tokens.expect_symbol(")")

    def _take(self, tokens):
        if tokens.take_word("TIME", "INDEX"):
            self.time_indexes += _names_in_parentheses(tokens)
        elif tokens.take_word("PRIMARY", "KEY"):
            self.primary_keys.append(_names_in_parentheses(tokens))
        else:
            definition = ColumnDefinition(tokens)
            self.definitions.append(definition)
            if definition.is_time_index:
                self.time_indexes.append(definition.column.name)
            if definition.is_primary_key:
                self.primary_keys.append([definition.column.name])

    def check(self):
        """(columns, time index, primary key)"""
        columns = [definition.column for definition in self.definitions]
        by_name = {column.name: column for column in columns}
        if len(by_name) != len(columns):
            raise SqlError(2000, "Invalid SQL, error: duplicated column names")
        if not self.time_indexes:
            raise SqlError(2000, "Missing time index constraint")
        if len(self.time_indexes) > 1:
            raise SqlError(2000, "Invalid SQL, error: expected only one time index constraint but actual %d" %
                           len(self.time_indexes))
        time_index = by_name.get(self.time_indexes[0])
        if time_index is None or not time_index.data_type.startswith("Timestamp"):
            raise SqlError(2000, "Invalid time index: %s" % self.time_indexes[0])
        time_index.nullable = False
        if len(self.primary_keys) > 1:
            raise SqlError(2000, "Invalid SQL, error: found definition of primary keys in multiple places")
        primary_key = self.primary_keys[0] if self.primary_keys else []
        for name in primary_key:
            if name not in by_name or name == time_index.name:
                raise SqlError(2000, "Invalid column definition of primary key: %s" % name)
        return columns, time_index.name, primary_key


def parse_create_table(tokens):
    if_not_exists = tokens.take_word("IF", "NOT", "EXISTS")
    name = parse_name(tokens)
    if tokens.take_word("LIKE"):
        return {"name": name, "if_not_exists": if_not_exists, "like": parse_name(tokens)}
    columns, time_index, primary_key = _Layout(tokens).check()
    if tokens.take_word("PARTITION"):
        raise NotInDouble("PARTITION")
    options = {}
    if tokens.take_word("ENGINE"):
        tokens.expect_symbol("=")
        options["engine"] = tokens.next().value
    options.update(parse_options(tokens))
    return {"name": name, "if_not_exists": if_not_exists, "like": None, "columns": columns, "time_index": time_index,
            "primary_key": primary_key, "options": options}


def parse_alter_table(tokens):
    name = parse_name(tokens)
    if tokens.take_word("ADD"):
        return {"name": name, "what": "add", "columns": _parse_adds(tokens)}
    if tokens.take_word("DROP"):
        tokens.expect_word("COLUMN")
        if tokens.is_word("IF", "EXISTS"):
            tokens.fail("a column's name")
        return {"name": name, "what": "drop", "column": canonical(tokens.next())}
    if tokens.take_word("MODIFY"):
        tokens.expect_word("COLUMN")
        column = canonical(tokens.next())
        if tokens.is_word("SET") or tokens.is_word("UNSET") or tokens.is_word("DROP"):
            raise NotInDouble("MODIFY COLUMN ... SET")
        return {"name": name, "what": "modify", "column": column, "data_type": parse_type(tokens)}
    if tokens.take_word("RENAME"):
        tokens.take_word("TO")
        return {"name": name, "what": "rename", "new": parse_name(tokens)}
    if tokens.take_word("SET") or tokens.take_word("UNSET"):
        while tokens.peek().kind == "string" or tokens.is_symbol("=") or tokens.is_symbol(","):
            tokens.next()
        return {"name": name, "what": "options"}
    return tokens.fail("ADD or DROP or MODIFY or RENAME or SET after ALTER TABLE")


def _parse_adds(tokens):
    """[(column, if_not_exists, first or after)]"""
    found = []
    while True:
        tokens.expect_word("COLUMN")
        if_not_exists = tokens.take_word("IF", "NOT", "EXISTS")
        definition = ColumnDefinition(tokens)
        if definition.not_null and not definition.column.has_default:
            definition.column.nullable = None  # refused when it runs
        if not tokens.take_word("FIRST") and tokens.take_word("AFTER"):
            tokens.next()
        found.append((definition.column, if_not_exists, definition.is_primary_key))
        if not tokens.take_symbol(","):
            return found
        tokens.expect_word("ADD")
