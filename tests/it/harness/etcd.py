"""Private etcd: own data folder, own ports, gone afterwards; one member, or a cluster of three."""
import base64
import json
import os
import shutil
import signal
import socket
import ssl
import urllib.error
import urllib.request

from . import processes
from .ports import free_port

# A canary: must work as it is, and must never appear in a log line or an answer.
PASSWORD = "canary \"pass\\ word'$% ä"
ROOT_PASSWORD = "canary-root"


class Refused(Exception):
    """The gateway answered with an error."""

    def __init__(self, status, body):
        super().__init__("%d %s" % (status, body))
        self.status = status
        self.body = body


def encode(data):
    return base64.b64encode(data.encode() if isinstance(data, str) else data).decode()


def decode(text):
    return base64.b64decode(text)


def prefix_end(prefix):
    """The end of the range of all keys that begin with `prefix`."""
    raw = bytearray(prefix.encode() if isinstance(prefix, str) else prefix)
    while raw and raw[-1] == 0xFF:
        raw.pop()
    if not raw:
        return b"\0"
    raw[-1] += 1
    return bytes(raw)


class Member:
    """One process. start() makes the data folder at first; kill() and start() again keep data and ports."""

    host = "127.0.0.1"

    def __init__(self, owner, name):
        self.owner = owner
        self.name = name
        self.data = os.path.join(owner.folder, name)
        self.log_path = os.path.join(owner.folder, name + ".log")
        self.port = free_port()
        self.peer_port = free_port()
        self.process = None
        self.paused = False

    @property
    def endpoint(self):
        return "%s:%d" % (self.host, self.port)

    @property
    def peer_url(self):
        return "http://%s:%d" % (self.host, self.peer_port)

    def launch(self):
        """Started, not waited for: a cluster is ready once most of it is there."""
        owner = self.owner
        url = "%s://%s" % (owner.scheme, self.endpoint)
        line = ["etcd", "--name", self.name, "--data-dir", self.data, "--listen-client-urls", url,
                "--advertise-client-urls", url, "--listen-peer-urls", self.peer_url,
                "--initial-advertise-peer-urls", self.peer_url, "--initial-cluster", owner.initial_cluster,
                "--initial-cluster-token", os.path.basename(owner.folder), "--logger", "zap", "--log-level", "warn"]
        line += ["--%s=%s" % item for item in owner.options.items()]
        self.process = processes.start(line, self.log_path, owner.os_user, cwd=owner.folder)
        return self

    def start(self):
        self.launch()
        self.wait_ready()
        return self

    def wait_ready(self):
        processes.wait_until(self.is_ready, 120, "etcd to start")

    def is_ready(self):
        """It knows a leader."""
        if self.process.poll() is not None:
            raise RuntimeError("etcd did not start:\n" + processes.read_text(self.log_path))
        try:
            return json.loads(self.fetch("/health", timeout=2)).get("health") == "true"
        except (OSError, ValueError):
            return False

    def fetch(self, path, body=None, headers=None, timeout=60):
        """The text of an answer with status 200; OSError for anything else."""
        request = urllib.request.Request("%s://%s%s" % (self.owner.scheme, self.endpoint, path), data=body,
                                         headers=headers or {})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}),
                                             urllib.request.HTTPSHandler(context=self.owner.ssl_context))
        with opener.open(request, timeout=timeout) as answer:
            return answer.read().decode()

    def is_leader(self):
        status = self.owner.call("/v3/maintenance/status", {}, member=self)
        return status.get("leader") == status["header"]["member_id"]

    def kill(self):
        """As a crash."""
        self._end(signal.SIGKILL)

    def terminate(self):
        """In order; the data stay."""
        self._end(signal.SIGTERM)

    def pause(self):
        """Accepts connections, answers nothing."""
        processes.pause(self.process.pid)
        self.paused = True

    def resume(self):
        self.process.send_signal(signal.SIGCONT)
        self.paused = False

    def _end(self, signum):
        if self.process is None:
            return
        if self.paused:
            self.resume()
        self.process.send_signal(signum)
        self.process.wait(30)
        self.process = None
        with socket.socket() as probe:  # nothing of it may answer any more
            assert probe.connect_ex((self.host, self.port)) != 0


class Etcd:
    """`options` are etcd's own, without the dashes: {"max-txn-ops": 10, "auth-token-ttl": 1, "quota-backend-bytes": ...,
    "max-request-bytes": ..., "election-timeout": 500}. `tls`: (certificate, key) of the server; `client_ca`: clients
    need a certificate of that authority, `client` is the one that call() uses, `ca` the authority of `tls`."""

    host = "127.0.0.1"

    def __init__(self, size=1, options=None, tls=None, client_ca=None, ca=None, client=None):
        if shutil.which("etcd") is None:
            raise RuntimeError("etcd is not installed: apt-get install etcd-server")
        self.os_user = processes.unprivileged_user()
        self.folder = processes.temp_folder("bfm-etcd-", self.os_user)
        self.scheme = "http" if tls is None else "https"
        self.options = dict(options or {})
        self.ssl_context = None
        self.token = None
        if tls is not None:
            self._prepare_tls(tls, client_ca, ca, client)
        self.members = [Member(self, "m%d" % number) for number in range(1, size + 1)]

    def _prepare_tls(self, tls, client_ca, ca, client):
        self.options.update({"cert-file": self._own(tls[0]), "key-file": self._own(tls[1])})
        if client_ca is not None:
            self.options.update({"client-cert-auth": "true", "trusted-ca-file": self._own(client_ca)})
        self.ssl_context = ssl.create_default_context(cafile=ca)
        if client is not None:
            self.ssl_context.load_cert_chain(*client)

    def _own(self, path):
        """A copy that the server may read, wherever the file is."""
        copy = shutil.copy(path, self.folder)
        if self.os_user is not None:
            os.chown(copy, self.os_user.pw_uid, self.os_user.pw_gid)
        return copy

    @property
    def port(self):
        return self.members[0].port

    @property
    def endpoints(self):
        """host:port of every member, as BfM is given them."""
        return ",".join(member.endpoint for member in self.members)

    @property
    def initial_cluster(self):
        return ",".join("%s=%s" % (member.name, member.peer_url) for member in self.members)

    def start(self):
        for member in self.members:
            if member.process is None:
                member.launch()
        for member in self.members:
            member.wait_ready()
        return self

    def stop(self):
        """All of it, and the data are gone."""
        for member in self.members:
            member.kill()
        processes.remove_folder(self.folder)

    # With one member these are the server's.
    def kill(self):
        self.members[0].kill()

    def terminate(self):
        self.members[0].terminate()

    def pause(self):
        self.members[0].pause()

    def resume(self):
        self.members[0].resume()

    def leader(self):
        """The member that leads; waits for an election to end."""

        def find():
            for member in self.members:
                try:
                    if member.process is not None and not member.paused and member.is_leader():
                        return member
                except (OSError, Refused):
                    continue
            return None

        return processes.wait_until(find, 60, "a leader")

    def followers(self):
        leader = self.leader()
        return [member for member in self.members if member is not leader]

    # --- calls ---

    def call(self, path, body, member=None, token=None, timeout=60):
        """The answer of the gateway as a dict; Refused for an error. Uses root's token once there is one."""
        headers = {"Content-Type": "application/json"}
        if token or self.token:
            headers["Authorization"] = token or self.token
        try:
            return json.loads((member or self._alive()).fetch(path, json.dumps(body).encode(), headers, timeout))
        except urllib.error.HTTPError as error:
            text = error.read().decode()
            try:
                raise Refused(error.code, json.loads(text)) from None
            except ValueError:
                raise Refused(error.code, text) from None

    def _alive(self):
        return next(member for member in self.members if member.process is not None and not member.paused)

    def put(self, key, value):
        return self.call("/v3/kv/put", {"key": encode(key), "value": encode(value)})

    def get(self, key):
        """The value as bytes, None when the key is not there."""
        kvs = self.call("/v3/kv/range", {"key": encode(key)}).get("kvs", [])
        return decode(kvs[0].get("value", "")) if kvs else None

    def range(self, prefix=""):
        """{key: value} as bytes of all keys that begin with `prefix`; everything without one."""
        raw = prefix.encode() if isinstance(prefix, str) else prefix
        answer = self.call("/v3/kv/range", {"key": encode(raw or b"\0"), "range_end": encode(prefix_end(raw))})
        return {decode(kv["key"]): decode(kv.get("value", "")) for kv in answer.get("kvs", [])}

    def entry(self, key):
        """What the gateway tells of one key (create_revision, mod_revision, version, ...), None without it."""
        kvs = self.call("/v3/kv/range", {"key": encode(key)}).get("kvs", [])
        return kvs[0] if kvs else None

    def delete(self, prefix=""):
        """Deletes all keys that begin with `prefix`; everything without one. How many there were."""
        raw = prefix.encode() if isinstance(prefix, str) else prefix
        answer = self.call("/v3/kv/deleterange", {"key": encode(raw or b"\0"), "range_end": encode(prefix_end(raw))})
        return int(answer.get("deleted", 0))

    def txn(self, compare=(), success=(), failure=()):
        return self.call("/v3/kv/txn", {"compare": list(compare), "success": list(success), "failure": list(failure)})

    def revision(self):
        return int(self.call("/v3/kv/range", {"key": encode("\0")})["header"]["revision"])

    # --- authentication ---

    user, password = "mig", PASSWORD

    def enable_auth(self, prefix="app/"):
        """root may do everything, `user` read and write what begins with `prefix`; asked for from now on."""
        self.call("/v3/auth/user/add", {"name": "root", "password": ROOT_PASSWORD})
        self.call("/v3/auth/role/add", {"name": "root"})
        self.call("/v3/auth/user/grant", {"user": "root", "role": "root"})
        self.call("/v3/auth/user/add", {"name": self.user, "password": self.password})
        self.call("/v3/auth/role/add", {"name": self.user})
        self.call("/v3/auth/role/grant", {"name": self.user, "perm": {
            "permType": "READWRITE", "key": encode(prefix or "\0"), "range_end": encode(prefix_end(prefix))}})
        self.call("/v3/auth/user/grant", {"user": self.user, "role": self.user})
        self.call("/v3/auth/enable", {})
        self.login()

    def login(self):
        """A new token of root, for call()."""
        self.token = None
        self.token = self.call("/v3/auth/authenticate", {"name": "root", "password": ROOT_PASSWORD})["token"]

    def disable_auth(self):
        self.call("/v3/auth/disable", {})
        self.token = None

    def change_password(self, password):
        """Of `user`; ends its tokens."""
        self.call("/v3/auth/user/changepw", {"name": self.user, "password": password})

    def alarms(self):
        return self.call("/v3/maintenance/alarm", {}).get("alarms", [])

    def disarm(self):
        """Makes room after NOSPACE: compacts, defragments, and ends the alarms."""
        self.call("/v3/kv/compaction", {"revision": str(self.revision()), "physical": True})
        for member in self.members:
            self.call("/v3/maintenance/defragment", {}, member=member)
        for alarm in self.alarms():
            self.call("/v3/maintenance/alarm", dict(alarm, action="DEACTIVATE"))
