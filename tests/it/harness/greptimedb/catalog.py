"""Databases, tables and rows, kept in a file so that they outlive a kill."""
import itertools
import os
import pickle
import re
import time

from .answers import SqlError

NAME = re.compile(r"^[a-zA-Z_:-][a-zA-Z0-9_:\-\.@#]*$")
CATALOG = "greptime"
READ_ONLY = ("information_schema", "pg_catalog")
ALWAYS = ("greptime_private", "information_schema", "pg_catalog", "public")
STRING = "String"


class Column:
    def __init__(self, name, data_type, nullable=True, default=None, has_default=False):
        self.name, self.data_type, self.nullable = name, data_type, nullable
        self.default, self.has_default = default, has_default  # default: an expression


class Table:
    def __init__(self, number, name, columns, time_index, primary_key, options):
        self.number, self.name, self.columns = number, name, columns
        self.time_index, self.primary_key, self.options = time_index, primary_key, options
        self.created = int(time.time())
        self.rows = {}  # primary key and time index, or a running number with append_mode: {column: value}
        self._numbers = itertools.count()

    def column(self, name):
        for column in self.columns:
            if column.name == name:
                return column
        return None

    def put(self, row):
        if self.options.get("append_mode") == "true":
            self.rows[next(self._numbers)] = row
        else:
            self.rows[tuple(row[name] for name in self.primary_key + [self.time_index])] = row

    def semantic(self, name):
        if name == self.time_index:
            return "TIMESTAMP"
        return "TAG" if name in self.primary_key else "FIELD"


class Catalog:
    """Its methods are called with the server's lock held; save() writes all of it."""

    def __init__(self, path):
        self.path = path
        self.databases = {name: {} for name in ALWAYS}
        self.next_table = 1024
        if os.path.exists(path):
            with open(path, "rb") as file:
                self.databases, self.next_table = pickle.load(file)

    def save(self):
        with open(self.path + ".new", "wb") as file:
            pickle.dump((self.databases, self.next_table), file)
        os.rename(self.path + ".new", self.path)

    # --- databases ---

    def has_database(self, name):
        return name in self.databases

    def visible_databases(self):
        return sorted(name for name in self.databases if name != "pg_catalog")

    def create_database(self, name, if_not_exists):
        if not NAME.match(name):
            raise SqlError(1002, "Unexpected, violated: Invalid database name: %s" % name)
        if name in self.databases:
            if not if_not_exists:
                raise SqlError(1004, "Schema %s already exists" % name)
            return
        self.databases[name] = {}

    def drop_database(self, name, if_exists, in_use):
        if name in READ_ONLY:
            raise SqlError(1001, "Schema `%s` is read-only" % name)
        if name == in_use:
            raise SqlError(1004, "Schema `%s` is in use" % name)
        if name not in self.databases:
            if not if_exists:
                raise SqlError(1004, "Failed to find schema, schema info: %s" % name)
            return
        del self.databases[name]

    def database(self, name):
        if name not in self.databases:
            raise SqlError(1004, "Failed to find schema, schema info: %s" % name)
        return self.databases[name]

    # --- tables ---

    def writable(self, schema):
        if schema in READ_ONLY:
            raise SqlError(1001, "Schema `%s` is read-only" % schema)
        return self.databases.get(schema, {})

    def table(self, schema, name, text="Table not found: %s"):
        table = self.writable(schema).get(name)
        if table is None:
            raise SqlError(4001, text % ("%s.%s.%s" % (CATALOG, schema, name)))
        return table

    def create_table(self, schema, name, columns, time_index, primary_key, options, if_not_exists):
        self.writable(schema)
        if not NAME.match(name):
            raise SqlError(1004, "Invalid table name: %s" % name)
        tables = self.database(schema)
        if name in tables:
            if not if_not_exists:
                raise SqlError(4000, "Table already exists: `%s.%s.%s`" % (CATALOG, schema, name))
            return
        tables[name] = Table(self.next_table, name, columns, time_index, primary_key, options)
        self.next_table += 1

    def drop_table(self, schema, name, if_exists):
        if if_exists and name not in self.writable(schema):
            return
        self.table(schema, name)
        del self.databases[schema][name]

    def rename_table(self, schema, name, new):
        table = self.table(schema, name)
        if not NAME.match(new):
            raise SqlError(1002, "Unexpected, violated: Invalid table name: %s" % new)
        if new in self.databases[schema]:
            raise SqlError(4000, "Table already exists: `%s.%s.%s`" % (CATALOG, schema, new))
        table.name = new
        self.databases[schema][new] = self.databases[schema].pop(name)

    # --- information_schema ---

    def view(self, name):
        """(columns, rows) of information_schema.{name}; None if there is no such view."""
        views = {"schemata": self._schemata, "tables": self._tables, "columns": self._columns}
        return views[name]() if name in views else None

    def _schemata(self):
        columns = [(name, STRING) for name in ("catalog_name", "schema_name", "default_character_set_name",
                                               "default_collation_name", "sql_path", "options")]
        return columns, [dict(zip((name for name, _ in columns), (CATALOG, name, "utf8", "utf8_bin", None, "")))
                         for name in self.visible_databases()]

    def _tables(self):
        columns = [("table_catalog", STRING), ("table_schema", STRING), ("table_name", STRING), ("table_type", STRING),
                   ("table_id", "UInt32"), ("engine", STRING), ("create_time", "TimestampSecond")]
        rows = []
        for schema in self.visible_databases():
            for table in self.databases[schema].values():
                rows.append(dict(zip((name for name, _ in columns),
                                     (CATALOG, schema, table.name, "BASE TABLE", table.number,
                                      table.options.get("engine", "mito"), table.created))))
        return columns, rows

    def _columns(self):
        columns = [(name, STRING) for name in ("table_catalog", "table_schema", "table_name", "column_name",
                                               "greptime_data_type", "semantic_type", "is_nullable")]
        columns.insert(4, ("ordinal_position", "Int64"))
        rows = []
        for schema in self.visible_databases():
            for table in self.databases[schema].values():
                for at, column in enumerate(table.columns, 1):
                    rows.append(dict(zip((name for name, _ in columns),
                                         (CATALOG, schema, table.name, column.name, at, column.data_type,
                                          table.semantic(column.name), "Yes" if column.nullable else "No"))))
        return columns, rows
