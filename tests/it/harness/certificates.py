"""Certificates of an authority of the test's own, made by openssl."""
import os

from . import processes


class Certificates:
    """Files in `folder`: ca.crt, and what issue() makes. Readable by everybody, as servers run as somebody else."""

    def __init__(self, folder, name="bfm test authority"):
        self.folder = str(folder)
        os.makedirs(self.folder, exist_ok=True)
        os.chmod(self.folder, 0o755)
        self.ca = self.path("ca.crt")
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                      "-subj", "/CN=" + name, "-keyout", self.path("ca.key"), "-out", self.ca)

    def path(self, name):
        return os.path.join(self.folder, name)

    def issue(self, name, names="DNS:localhost,IP:127.0.0.1", subject="/O=bfm test"):
        """(certificate, key) for servers and clients alike; `subject` may hold a common name."""
        cert, key, request, extra = (self.path(name + end) for end in (".crt", ".key", ".csr", ".ext"))
        with open(extra, "w", encoding="ascii") as file:
            file.write("extendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=%s\n" % names)
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", subject,
                      "-keyout", key, "-out", request)
        self._openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.path("ca.key"), "-CAcreateserial",
                      "-days", "2", "-extfile", extra, "-out", cert)
        os.chmod(key, 0o644)
        return cert, key

    def lock(self, key, password):
        """A copy of the key that needs a password."""
        locked = key + ".locked"
        self._openssl("pkey", "-in", key, "-aes256", "-passout", "pass:" + password, "-out", locked)
        os.chmod(locked, 0o644)
        return locked

    @staticmethod
    def _openssl(*args):
        processes.run(["openssl"] + list(args))
