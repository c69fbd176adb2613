"""What GreptimeDB answers: codes, statuses and bodies (contract sections 4 and 5)."""
import json

# code: (name, HTTP status)
CODES = {
    1000: ("Unknown", 500), 1001: ("Unsupported", 400), 1002: ("Unexpected", 500), 1003: ("Internal", 500),
    1004: ("InvalidArguments", 400), 1005: ("Cancelled", 504), 1006: ("IllegalState", 500), 1007: ("External", 503),
    1008: ("DeadlineExceeded", 504), 1009: ("Suspended", 503),
    2000: ("InvalidSyntax", 400),
    3000: ("PlanQuery", 400), 3001: ("EngineExecuteQuery", 500),
    4000: ("TableAlreadyExists", 400), 4001: ("TableNotFound", 400), 4002: ("TableColumnNotFound", 400),
    4003: ("TableColumnExists", 400), 4004: ("DatabaseNotFound", 400), 4005: ("RegionNotFound", 400),
    4006: ("RegionAlreadyExists", 400), 4007: ("RegionReadonly", 401), 4008: ("RegionNotReady", 503),
    4009: ("RegionBusy", 503), 4010: ("TableUnavailable", 503), 4011: ("DatabaseAlreadyExists", 400),
    5000: ("StorageUnavailable", 503), 5001: ("RequestOutdated", 400),
    6000: ("RuntimeResourcesExhausted", 500), 6001: ("RateLimited", 429),
    7000: ("UserNotFound", 401), 7001: ("UnsupportedPasswordType", 401), 7002: ("UserPasswordMismatch", 401),
    7003: ("AuthHeaderNotFound", 401), 7004: ("InvalidAuthHeader", 401), 7005: ("AccessDenied", 403),
    7006: ("PermissionDenied", 403),
    8000: ("FlowAlreadyExists", 400), 8001: ("FlowNotFound", 400), 9000: ("TriggerAlreadyExists", 400),
    9001: ("TriggerNotFound", 400),
}


class SqlError(Exception):
    """A failure with one of GreptimeDB's codes."""

    def __init__(self, code, text, status=None):
        super().__init__(text)
        self.code, self.text = code, text
        self.status = status or CODES[code][1]


class NotInDouble(Exception):
    """GreptimeDB may know it; the double does not, and must not guess."""


class Answer:
    """One HTTP answer; `body` is bytes."""

    def __init__(self, status, body=b"", headers=(), code=None):
        self.status, self.body, self.headers, self.code = status, body, list(headers), code


def empty(status):
    return Answer(status)


def text(status, body):
    return Answer(status, body.encode(), [("content-type", "text/plain; charset=utf-8")])


def to_json(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def json_body(value, headers=()):
    return Answer(200, to_json(value), [("content-type", "application/json"), *headers])


def success(outputs, elapsed_ms):
    return json_body({"output": outputs, "execution_time_ms": elapsed_ms},
                     [("x-greptime-format", "greptimedb_v1"), ("x-greptime-execution-time", str(elapsed_ms))])


def error_of(code, message, status=None, elapsed_ms=0):
    body = to_json({"code": code, "error": message, "execution_time_ms": elapsed_ms})
    said = "error: %s, execution_time_ms: %d" % (message, elapsed_ms)
    if any(ord(char) < 32 or ord(char) > 126 for char in said):
        said = said.encode("unicode_escape").decode("ascii")
    return Answer(status or CODES[code][1], body, [("content-type", "application/json"),
                  ("x-greptime-err-code", str(code)), ("x-greptime-err-msg", said)], code)


def error(failure, elapsed_ms=0):
    return error_of(failure.code, failure.text, failure.status, elapsed_ms)


def records(columns, rows):
    """columns: [(name, data type)]"""
    return {"records": {"schema": {"column_schemas": [{"name": name, "data_type": kind} for name, kind in columns]},
                        "rows": rows, "total_rows": len(rows)}}
