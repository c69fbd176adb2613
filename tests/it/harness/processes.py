"""Child processes that end with the test process, whatever ends it."""
import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time


SLOWER = 10 if os.environ.get("BFM_VALGRIND") else 1  # by how much the program under test may be


def wait_until(condition, timeout=60.0, what="a condition"):
    """Polls until condition() is true and returns its value; fails the test after `timeout` seconds: a guard against
    waiting for ever on a busy machine, too, unless a shorter one is what the test is about."""
    end = time.monotonic() + timeout * SLOWER
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("timed out after %g s waiting for %s" % (timeout, what))
        time.sleep(0.01)


def unprivileged_user():
    """The user that database servers run as: None means the current one."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError("running as root, and there is neither a user postgres nor nobody")


def temp_folder(prefix, user=None):
    """A folder below the system's temporary one that `user` owns and reaches (pytest's own are 0700)."""
    path = tempfile.mkdtemp(prefix=prefix)
    if user is not None:
        os.chown(path, user.pw_uid, user.pw_gid)
    return path


def remove_folder(path):
    shutil.rmtree(path, ignore_errors=True)


def command(args, user=None, death_signal="KILL"):
    """The command line that runs `args` as `user` and dies with the thread that started it."""
    line = ["setpriv", "--pdeathsig", death_signal]
    if user is not None:
        line += ["--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups"]
    return line + ["--"] + [str(arg) for arg in args]


def run(args, user=None, **kwargs):
    """Runs to the end; a failure carries the output."""
    done = subprocess.run(command(args, user), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          stdin=subprocess.DEVNULL, timeout=300, check=False, **kwargs)
    if done.returncode != 0:
        raise RuntimeError("%s failed (%d):\n%s" % (" ".join(map(str, args)), done.returncode, done.stdout))
    return done.stdout


def start(args, log_path, user=None, **kwargs):
    with open(log_path, "ab") as log:
        return subprocess.Popen(command(args, user), stdout=log, stderr=subprocess.STDOUT,
                                stdin=subprocess.DEVNULL, **kwargs)


def is_stopped(pid):
    """Every thread of it."""
    for path in glob.glob("/proc/%d/task/*/stat" % pid):
        try:
            if read_text(path).rpartition(")")[2].split()[0] not in "TZX":
                return False
        except OSError:  # the thread has ended
            pass
    return True


def pause(pid):
    """SIGSTOP, and waits: on a busy machine a thread goes on for a while, and may answer."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: is_stopped(pid), what="process %d to stop" % pid)


def read_text(path):
    with open(path, "rb") as file:
        return file.read().decode("utf-8", "replace")
