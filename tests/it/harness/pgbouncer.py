"""PgBouncer in front of a Postgres, in transaction mode."""
import os
import shutil
import signal
import socket
import subprocess

from . import processes
from .ports import free_port

CONFIG = """
[databases]
* = host={host} port={pg_port} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 4
max_client_conn = 400
server_reset_query_always = 0
logfile = {folder}/pgbouncer.log
pidfile =
"""


class PgBouncer:
    host = "127.0.0.1"

    def __init__(self, postgres):
        self.binary = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin")
        if self.binary is None:
            raise RuntimeError("pgbouncer is not installed: apt-get install pgbouncer")
        self.os_user = processes.unprivileged_user()
        self.folder = processes.temp_folder("bfm-bouncer-", self.os_user)
        self.port = free_port()
        self.process = None
        with open(os.path.join(self.folder, "pgbouncer.ini"), "w", encoding="ascii") as file:
            file.write(CONFIG.format(host=postgres.host, pg_port=postgres.port, port=self.port, folder=self.folder))

    def start(self):
        log = os.path.join(self.folder, "output")
        self.process = processes.start([self.binary, os.path.join(self.folder, "pgbouncer.ini")], log, self.os_user)

        def is_ready():
            if self.process.poll() is not None:
                raise RuntimeError("PgBouncer did not start:\n" + processes.read_text(log))
            with socket.socket() as probe:
                return probe.connect_ex((self.host, self.port)) == 0

        processes.wait_until(is_ready, 60, "PgBouncer to start")
        return self

    def stop(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
        processes.remove_folder(self.folder)
