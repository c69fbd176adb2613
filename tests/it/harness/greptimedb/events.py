"""What happened, one JSON line each in a file: it outlives a kill."""
import json
import threading


class Events:
    """Kinds: request (it came), fault (one befell it), executed, refused (a statement of it), answered."""

    def __init__(self, path):
        self._lock = threading.Lock()
        self._last = max([event["request"] for event in read(path)], default=0)
        self._file = open(path, "ab", buffering=0)

    def last_request(self):
        return self._last

    def write(self, kind, request, **fields):
        line = json.dumps({"kind": kind, "request": request, **fields}, ensure_ascii=False).encode() + b"\n"
        with self._lock:
            self._file.write(line)


def read(path):
    """All events so far; an unfinished last line is left out."""
    try:
        with open(path, "rb") as file:
            text = file.read()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text[:text.rfind(b"\n") + 1].splitlines()]
