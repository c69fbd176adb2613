"""Free ports. A port is held by a name in the abstract socket namespace for as long as this process
lives, so that parallel test processes never hand out the same one."""
import random
import socket

FIRST, LAST = 10240, 32000  # below the ports that the kernel hands to outgoing connections
_held = []


def _is_free(port):
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
        except OSError as error:
            if family == socket.AF_INET6 and error.errno != 98:
                continue  # no IPv6 here
            return False
    return True


def free_port():
    for port in random.sample(range(FIRST, LAST), 2000):
        holder = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            holder.bind("\0bfm-test-port-%d" % port)
        except OSError:
            holder.close()
            continue
        if _is_free(port):
            _held.append(holder)
            return port
        holder.close()
    raise RuntimeError("no free port between %d and %d" % (FIRST, LAST))
