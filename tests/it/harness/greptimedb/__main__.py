"""python3 -m harness.greptimedb FOLDER: the double as a process. FOLDER/settings.json says how; control comes by
FOLDER/control, a socket that takes one JSON line per connection."""
import json
import os
import socketserver
import sys
import threading

from .catalog import Catalog
from .engine import Engine
from .events import Events
from .faults import Faults
from .listener import Listener


class Control(socketserver.StreamRequestHandler):
    def handle(self):
        asked = json.loads(self.rfile.readline())
        self.wfile.write(json.dumps(self.run(asked)).encode() + b"\n")

    def run(self, asked):
        listener = self.server.listener
        engine = listener.engine
        if asked["do"] == "fault":
            return engine.faults.add(asked["fault"])
        if asked["do"] == "release":
            return engine.faults.release(asked["number"])
        if asked["do"] == "clear":
            return engine.faults.clear()
        if asked["do"] == "settings":
            return listener.settings.update(asked["settings"])
        if asked["do"] == "reset_most":
            engine.most_in_flight, listener.most_connections = engine.in_flight, listener.connections
            return None
        return {"in_flight": engine.in_flight, "most_in_flight": engine.most_in_flight,
                "connections": listener.connections, "most_connections": listener.most_connections}


class ControlServer(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


def main(folder):
    with open(os.path.join(folder, "settings.json"), encoding="utf-8") as file:
        settings = json.load(file)
    control_path = os.path.join(folder, "control")
    if os.path.exists(control_path):
        os.unlink(control_path)
    events = Events(os.path.join(folder, "events"))
    engine = Engine(settings, Catalog(os.path.join(folder, "data")), Faults(), events)
    control = ControlServer(control_path, Control)
    control.listener = Listener(settings["port"], settings, engine, events)
    threading.Thread(target=control.serve_forever, daemon=True).start()
    control.listener.serve_forever(poll_interval=0.5)


if __name__ == "__main__":
    main(sys.argv[1])
