"""What goes wrong on purpose.

A fault is a dict:
  match    pattern searched in the request's SQL (and in its path where there is none); absent: every request
  skip     matching requests that it leaves alone first
  times    how many it befalls; 0: all that come
  before   seconds before it executes, or "hold": until it is released
  execute  "yes" (default), "no", or "later": in the background once released, the answer does not wait for it
  after    as before, between executing and answering
  reply    absent: the proper answer. {"status", "body", "content_type", "headers"}, {"code", "text", "status"} for an
           error object, "drop": the connection is cut without a byte, "half": in the middle of the body
"""
import re
import threading


class Fault:
    def __init__(self, number, settings):
        self.number, self.settings = number, settings
        self.pattern = re.compile(settings.get("match", ""), re.DOTALL)
        self.skip = settings.get("skip", 0)
        self.left = settings.get("times", 1) or None
        self.released = threading.Event()

    def befalls(self, text):
        if self.left == 0 or not self.pattern.search(text):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.left is not None:
            self.left -= 1
        return True

    @property
    def execute(self):
        return self.settings.get("execute", "yes")

    @property
    def reply(self):
        return self.settings.get("reply")

    def wait(self, when):
        how = self.settings.get(when)
        if how is not None:
            self.released.wait(None if how == "hold" else how)


class Faults:
    def __init__(self):
        self._lock = threading.Lock()
        self._faults = []
        self._count = 0

    def add(self, settings):
        with self._lock:
            self._count += 1
            self._faults.append(Fault(self._count, settings))
            return self._count

    def find(self, text):
        """The fault that befalls a request, or None."""
        with self._lock:
            for fault in self._faults:
                if fault.befalls(text):
                    return fault
        return None

    def release(self, number):
        with self._lock:
            for fault in self._faults:
                if fault.number == number:
                    fault.left = 0
                    fault.released.set()

    def clear(self):
        with self._lock:
            for fault in self._faults:
                fault.left = 0
                fault.released.set()
            self._faults = []
