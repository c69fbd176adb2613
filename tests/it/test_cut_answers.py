"""A long answer whose rest cannot be made must not look complete: http.h, http_stream_abort()."""
import http.client
import sqlite3

import pytest
from api_helpers import USERS, core, expect_error, up  # noqa: F401

HISTORY = "/api/v1/migrations/%s/history" % USERS
TOO_LONG = 12 << 20  # control characters: six times as long in JSON, more than one answer may hold at once


def add_history(bfm, messages):
    """Rows with these error messages; the first one is the oldest."""
    state = sqlite3.connect(bfm.env["BFM_STATE_DB_PATH"], timeout=20)
    with state:
        state.executemany(
            "INSERT INTO migrations_history (migration_id, schema, version, connection, backend, status, "
            "error_message, applied_at, created_at) VALUES (?, 'core', '20250101120000', 'core', 'postgresql', "
            "'failed', ?, 1, 1)", [(USERS, message) for message in messages])
    state.close()


@pytest.fixture
def cut_short(core):  # noqa: F811
    """Rows that fit, in front of one that does not."""
    add_history(core, ["\x01" * TOO_LONG] + ["x" * 10000] * 30)
    return core


def test_an_answer_that_breaks_off_is_not_complete(cut_short):
    with pytest.raises(http.client.IncompleteRead) as cut:
        cut_short.client.get(HISTORY)
    assert cut.value.partial.startswith(b'{"migration_id":"%s"' % USERS.encode())
    line = cut_short.wait_log(lambda line: line["msg"] == "answer cut short")
    assert line["path"] == HISTORY and line["reason"]
    assert cut_short.client.get("/health").status == 200


def test_an_http_1_0_answer_that_breaks_off_is_reset(cut_short):
    token = cut_short.env["BFM_API_TOKEN"]
    with cut_short.client.raw() as raw, pytest.raises(ConnectionResetError):
        raw.send("GET %s HTTP/1.0\r\nAuthorization: Bearer %s\r\n\r\n" % (HISTORY, token))
        while raw.socket.recv(65536):
            continue


def test_an_answer_that_fails_at_once_is_an_error(core):  # noqa: F811
    add_history(core, ["\x01" * TOO_LONG])
    expect_error(core.client.get(HISTORY), 500)
