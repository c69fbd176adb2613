"""Who asks (contract section 3)."""
import base64
import binascii

from .answers import SqlError


def check(headers, users):
    """The user's role: "rw", "ro" or "wo". `users` is {name: (role, password)}; without any, everybody may do all."""
    if not users:
        return "rw"
    header = headers.get("x-greptime-auth") or headers.get("authorization")
    if header is None:
        raise SqlError(7003, "Not found http or grpc authorization header")
    name, password = _decode(header)
    if name not in users:
        raise SqlError(7000, "User not found, username: %s" % name)
    role, expected = users[name]
    if password != expected:
        raise SqlError(7002, "Username and password does not match, username: %s" % name)
    return role


def _decode(header):
    scheme, _, encoded = header.partition(" ")
    if not encoded or encoded.startswith(" "):
        raise SqlError(7004, "Invalid http authorization header")
    if scheme.lower() != "basic":
        raise SqlError(7004, "Unsupported http auth scheme, name: %s" % scheme.lower())
    try:
        name, colon, password = base64.b64decode(encoded, validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise SqlError(7004, "Invalid http authorization header") from None
    if not colon:
        raise SqlError(7004, "Invalid http authorization header")
    return name, password
