"""Runs parsed statements one after another (contract section 4)."""
import copy
import datetime
import re

from . import expressions
from .answers import NotInDouble, SqlError, records
from .catalog import CATALOG, STRING
from .lexer import Tokens

UNITS = {"TimestampSecond": 1, "TimestampMillisecond": 1000, "TimestampMicrosecond": 10 ** 6,
         "TimestampNanosecond": 10 ** 9}


class Session:
    """One request: USE lasts until its end."""

    def __init__(self, catalog, schema, role):
        self.catalog, self.schema, self.role = catalog, schema, role

    def run(self, statement):
        """The statement's element of the output."""
        is_read = statement.kind in ("select", "show_databases", "show_tables")
        if (self.role == "ro" and statement.writes) or (self.role == "wo" and is_read):
            raise SqlError(7006, "User is not authorized to perform this action")
        return getattr(self, "_" + statement.kind)(statement)

    def _place(self, name):
        """(schema, table) of a name's parts."""
        if len(name) == 1:
            return self.schema, name[0]
        if len(name) == 3 and name[0] != CATALOG:
            raise SqlError(4001, "Table not found: %s" % ".".join(name))
        return name[-2], name[-1]

    def _table(self, name, text="Table not found: %s"):
        return self.catalog.table(*self._place(name), text)

    # --- databases ---

    def _create_database(self, statement):
        self.catalog.create_database(statement.name, statement.if_not_exists)
        return {"affectedrows": 1}

    def _drop_database(self, statement):
        self.catalog.drop_database(statement.name, statement.if_exists, self.schema)
        return {"affectedrows": 0}

    def _alter_database(self, statement):
        self.catalog.database(statement.name)
        return {"affectedrows": 0}

    def _use(self, statement):
        if not self.catalog.has_database(statement.database):
            raise SqlError(1004, "Failed to find schema, schema info: %s" % statement.database)
        self.schema = statement.database
        return records([], [])

    def _set(self, statement):
        if not statement.is_known:
            raise SqlError(1001, "Not supported: Unsupported set variable %s" % statement.name)
        return {"affectedrows": 0}

    # --- tables ---

    def _create_table(self, statement):
        schema, name = self._place(statement.name)
        if statement.like is None:
            parts = (statement.columns, statement.time_index, statement.primary_key, statement.options)
        else:
            like = self._table(statement.like)
            parts = (copy.deepcopy(like.columns), like.time_index, list(like.primary_key), dict(like.options))
        self.catalog.create_table(schema, name, *parts, statement.if_not_exists)
        return {"affectedrows": 0}

    def _drop_table(self, statement):
        for name in statement.names:
            self.catalog.drop_table(*self._place(name), statement.if_exists)
        return {"affectedrows": 0}

    def _truncate(self, statement):
        self._table(statement.name).rows.clear()
        return {"affectedrows": 0}

    def _alter_table(self, statement):
        table = self._table(statement.name)
        if statement.what == "add":
            _add_columns(table, statement.columns)
        elif statement.what == "drop":
            _changeable(table, statement.column)
            table.columns = [column for column in table.columns if column.name != statement.column]
            for row in table.rows.values():
                row.pop(statement.column)
        elif statement.what == "modify":
            _changeable(table, statement.column).data_type = statement.data_type
        elif statement.what == "rename":
            self.catalog.rename_table(*self._place(statement.name), statement.new[-1])
        return {"affectedrows": 0}

    # --- rows ---

    def _insert(self, statement):
        table = self._table(statement.name)
        names = statement.columns or [column.name for column in table.columns]
        for name in names:
            if table.column(name) is None:
                raise SqlError(4002, "Column %s not found in table %s" % (name, table.name))
        rows = []
        for values in statement.rows:
            if len(values) != len(names):
                raise SqlError(2000, "Columns and values number mismatch, columns: %d, values: %d" %
                               (len(names), len(values)))
            rows.append(_full_row(table, dict(zip(names, values))))
        for row in rows:
            table.put(row)
        return {"affectedrows": len(rows)}

    def _delete(self, statement):
        table = self._table(statement.name)
        gone = [key for key, row in table.rows.items() if statement.where is None or statement.where(row)]
        for key in gone:
            del table.rows[key]
        return {"affectedrows": len(gone)}

    def _select(self, statement):
        """Its rows are looked at after the whole request ran: a function."""
        if statement.name is None:
            columns, rows = [], [{}]
        else:
            schema, name = self._place(statement.name)
            found = self.catalog.view(name) if schema == "information_schema" else None
            if found is None:
                table = self._table(statement.name, "Failed to plan SQL: Table not found: %s")
                found = [(column.name, column.data_type) for column in table.columns], list(table.rows.values())
            columns, rows = found
        return lambda: _project(statement, columns, rows)

    # --- SHOW ---

    def _show_databases(self, statement):
        names = [name for name in self.catalog.visible_databases() if _is_like(name, statement.like)]
        if statement.where is not None:
            names = [name for name in names if statement.where({"Database": name, "database": name})]
        return records([("Database", STRING)], [[name] for name in names])

    def _show_tables(self, statement):
        database = statement.database or self.schema
        names = list(self.catalog.databases.get(database, {}))
        if database == "information_schema":
            names = ["columns", "schemata", "tables"]
        return records([("Tables_in_" + database, STRING)],
                       [[name] for name in sorted(names) if _is_like(name, statement.like)])


def _is_like(name, pattern):
    return pattern is None or expressions.like(name, pattern)


# --- ALTER TABLE ---

def _changeable(table, name):
    column = table.column(name)
    if column is None:
        raise SqlError(4002, "Column %s not exists in table %s" % (name, table.name))
    if table.semantic(name) != "FIELD":
        raise SqlError(1004, "Invalid alter request: column %s is a tag or the time index" % name)
    return column


def _add_columns(table, added):
    new = []
    for column, if_not_exists, is_tag in added:
        if table.column(column.name) is not None:
            if if_not_exists:
                continue
            raise SqlError(4003, "Column %s already exists in table %s" % (column.name, table.name))
        if column.nullable is None:
            raise SqlError(1004, "Invalid alter request: no default value for the new column %s" % column.name)
        new.append((column, is_tag))
    for column, is_tag in new:
        table.columns.append(column)
        if is_tag:
            table.primary_key.append(column.name)
            table.rows = {key[:-1] + (None,) + key[-1:]: row for key, row in table.rows.items()}
        for row in table.rows.values():
            row[column.name] = _default(column)


# --- rows ---

def _default(column):
    if not column.has_default:
        return None
    return _store(column, expressions.parse(Tokens(column.default))(None))


def _full_row(table, given):
    row = {}
    for column in table.columns:
        if column.name in given:
            row[column.name] = _store(column, given[column.name](None))
        elif column.has_default or column.nullable:
            row[column.name] = _default(column)
        if row.get(column.name) is None and not column.nullable:
            raise SqlError(1004, "Invalid insert request: column %s is not null but has no default" % column.name)
    return row


def _store(column, value):
    if value is None:
        return None
    if column.data_type in UNITS:
        return _timestamp(value, UNITS[column.data_type]) if isinstance(value, str) else value
    wrong = isinstance(value, str) != (column.data_type in (STRING, "Date", "Decimal", "Binary", "Json"))
    if wrong and column.data_type != "Decimal":
        raise SqlError(2000, "Column %s expect type: %s, actual: %s" %
                       (column.name, column.data_type, type(value).__name__))
    return list(value.encode()) if column.data_type == "Binary" else value


def _timestamp(text, unit):
    found = re.fullmatch(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(\.\d+)?Z?", text)
    if found is None:
        raise SqlError(2000, "Failed to parse value to timestamp: %s" % text)
    moment = datetime.datetime.fromisoformat("%s %s+00:00" % found.group(1, 2))
    return int(moment.timestamp()) * unit + int(float(found.group(3) or 0) * unit)


def _key(value):
    return (value is not None, 0 if value is None else value)


def _project(statement, columns, rows):
    if statement.where is not None:
        rows = [row for row in rows if statement.where(row)]
    for expression, descending in reversed(statement.order):
        rows = sorted(rows, key=lambda row, read=expression: _key(read(row)), reverse=descending)
    if any(isinstance(expression, expressions.Aggregate) for _, expression in statement.items):
        return _aggregate(statement, rows)
    if statement.limit is not None:
        rows = rows[:statement.limit]
    types, names, readers = dict(columns), [], []
    for name, expression in statement.items:
        if expression is None:
            names += [column for column, _ in columns]
            readers += [lambda row, column=column: row[column] for column, _ in columns]
        else:
            names.append(name)
            readers.append(expression)
    found = [[read(row) for read in readers] for row in rows]
    schema = [(name, types.get(name) or _type_of([row[at] for row in found])) for at, name in enumerate(names)]
    return records(schema, found)


def _aggregate(statement, rows):
    if not all(isinstance(expression, expressions.Aggregate) for _, expression in statement.items):
        raise NotInDouble("GROUP BY")
    return records([(name, "Int64") for name, _ in statement.items],
                   [[expression.over(rows) for _, expression in statement.items]])


def _type_of(values):
    if any(isinstance(value, str) for value in values):
        return STRING
    return "Float64" if any(isinstance(value, float) for value in values) else "Int64"
