"""One request to /v1/sql, from its parameters to its answer (contract sections 1, 2 and 6)."""
import re
import threading
import time
from urllib.parse import parse_qsl

from . import answers, auth
from .answers import NotInDouble, SqlError
from .catalog import CATALOG
from .execute import Session
from .parser import parse

FORM = "application/x-www-form-urlencoded"
NOT_A_FORM = "Form requests must have `Content-Type: %s`" % FORM
FORMATS = ("json", "csv", "csvwithnames", "csvwithnamesandtypes", "table", "arrow", "influxdb_v1", "null")


class Refused(Exception):
    """The HTTP framework answers before the SQL handler sees the request."""

    def __init__(self, status, body):
        super().__init__(body)
        self.answer = answers.text(status, body)


def parse_parameters(text, what, status):
    found = {}
    for key, value in parse_qsl(text, keep_blank_values=True, errors="replace"):
        if key in found and key in ("sql", "db", "format", "limit", "epoch", "compression"):
            raise Refused(status, "Failed to deserialize %s: duplicate field `%s`" % (what, key))
        found[key] = value
    return found


def parse_query(text):
    found = parse_parameters(text, "query string", 400)
    if "limit" in found and not re.fullmatch(r"\+?\d+", found["limit"]):
        raise Refused(400, "Failed to deserialize query string: limit: invalid digit found in string")
    return found


def parse_form(text):
    return parse_parameters(text, "form body", 422)


def parse_timeout(text):
    """Seconds of `120s`, `500ms` or `1m 30s`; None if it is not one."""
    units = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}
    parts = re.findall(r"\s*(\d+)\s*(ns|us|ms|s|m|h)\b", text)
    if not parts or re.sub(r"\d+\s*(ns|us|ms|s|m|h)\b", "", text).strip():
        return None
    return sum(int(number) * units[unit] for number, unit in parts)


class Request:
    """What /v1/sql was asked. `is_gone` tells whether the client has left."""

    def __init__(self, number, query, form, headers, is_gone):
        self.number, self.headers, self.is_gone = number, headers, is_gone
        self.sql = query.get("sql", form.get("sql"))
        self.db = query.get("db", form.get("db", headers.get("x-greptime-db-name", "public")))
        self.format = query.get("format", form.get("format", "")).lower()
        self.limit = int(query["limit"]) if "limit" in query else None
        self.abandoned = False

    def database(self):
        """Of the value of db: (catalog, schema)."""
        catalog, hyphen, schema = self.db.partition("-")
        return (catalog, schema) if hyphen else (CATALOG, self.db)


class Engine:
    def __init__(self, settings, catalog, faults, events):
        self.settings, self.catalog, self.faults, self.events = settings, catalog, faults, events
        self.lock = threading.Lock()
        self.in_flight = self.most_in_flight = 0

    def users(self):
        return self.settings.get("users", {})

    def serve(self, request, role):
        """(answer or None, how to send it): None if no byte is to be sent."""
        with self.lock:
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return self._serve_in_time(request, role)
        finally:
            with self.lock:
                self.in_flight -= 1

    def _timeout(self, headers):
        configured = self.settings.get("http_timeout", 0)
        wanted = parse_timeout(headers.get("x-greptime-timeout", ""))
        return wanted if configured and wanted is not None else configured

    def _serve_in_time(self, request, role):
        """In a thread of its own: what has begun goes on when nobody waits for it any more."""
        result = []
        work = threading.Thread(target=lambda: result.append(self._serve_with_fault(request, role)), daemon=True)
        work.start()
        end = self._timeout(request.headers)
        begin = time.monotonic()
        while work.is_alive():
            work.join(0.02)
            if end and time.monotonic() - begin > end:
                request.abandoned = True
                return answers.empty(408), "whole"
            if request.is_gone():
                request.abandoned = True
                return None, "drop"
        return result[0]

    def _serve_with_fault(self, request, role):
        fault = self.faults.find(request.sql or "")
        if fault is None:
            return self._answer(request, role), "whole"
        self.events.write("fault", request.number, fault=fault.number)
        fault.wait("before")
        answer = None
        if fault.execute == "later":
            threading.Thread(target=self._answer_later, args=(fault, request, role), daemon=True).start()
        elif fault.execute == "yes":
            answer = self._answer(request, role)
        fault.wait("after")
        return _apply_reply(fault.reply, answer)

    def _answer_later(self, fault, request, role):
        fault.released.wait()
        self._answer(request, role)

    def _answer(self, request, role):
        begin = time.monotonic()

        def elapsed():
            return int((time.monotonic() - begin) * 1000)

        try:
            return answers.success(self._run(request, role), elapsed())
        except SqlError as failure:
            return answers.error(failure, elapsed())
        except NotInDouble as failure:
            return answers.text(501, "not in the double: %s" % failure)

    def _run(self, request, role):
        if request.sql is None:
            raise SqlError(1004, "sql parameter is required.")
        catalog, schema = request.database()
        with self.lock:
            known = catalog == CATALOG and schema != "pg_catalog" and self.catalog.has_database(schema)
        if not known:
            shown = schema if catalog == CATALOG else "%s-%s" % (catalog, schema)
            raise SqlError(4004, "Database not found: %s" % shown)
        if request.format in FORMATS:
            raise NotInDouble("format=" + request.format)
        session = Session(self.catalog, schema, role)
        outputs = []
        for statement in parse(request.sql):
            if outputs and (request.abandoned or request.is_gone()):
                break
            if request.abandoned and not statement.is_ddl:
                break
            outputs.append(self._execute(request, session, statement))
        return [self._limit(output() if callable(output) else output, request.limit) for output in outputs]

    def _execute(self, request, session, statement):
        with self.lock:
            try:
                output = session.run(statement)
            except SqlError as failure:
                self.events.write("refused", request.number, sql=statement.text, code=failure.code)
                raise
            if statement.writes:
                self.catalog.save()
            self.events.write("executed", request.number, sql=statement.text)
        return output

    @staticmethod
    def _limit(output, limit):
        if limit is not None and "records" in output:
            output["records"]["rows"] = output["records"]["rows"][:limit]
            output["records"]["total_rows"] = limit
        return output


def _apply_reply(reply, answer):
    if reply == "drop":
        return None, "drop"
    if reply == "half":
        return answer or answers.success([{"affectedrows": 0}], 0), "half"
    if reply is None:
        return (answer, "whole") if answer is not None else (None, "drop")
    if "code" in reply:
        return answers.error_of(reply["code"], reply.get("text", "said so by a fault"), reply.get("status")), "whole"
    made = answers.text(reply["status"], reply.get("body", ""))
    made.headers = [] if not made.body else [("content-type", reply.get("content_type", "text/plain; charset=utf-8"))]
    made.headers += [tuple(header) for header in reply.get("headers", ())]
    return made, "whole"


def authenticate(headers, users):
    """(role, None), or (None, the answer)."""
    try:
        return auth.check(headers, users), None
    except SqlError as failure:
        return None, answers.error_of(failure.code, failure.text, 401)
