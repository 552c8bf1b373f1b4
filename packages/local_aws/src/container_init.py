"""Stands where a container's runtime would: starts one command, and leaves nothing of it.

Run as a script: `python -I -S container_init.py LIFELINE COMMAND...`. It imports little
of the standard library, so that a job starts in 20 ms. Three promises:

- When the file descriptor LIFELINE reads end-of-file, which happens at the latest when
  the emulator dies, every process of the command is killed.
- SIGTERM reaches the command only if it has a handler for it, as it is for process 1 of
  a container: `bash -c "..."` has none, so Batch's stop signal never reaches Metaflow.
- When the command ends, whatever it started ends too, daemons included (Linux).

Exits with the command's status; 128 + n when signal n ended it, 127 when it is missing.
"""

import contextlib
import os
import select
import signal
import sys

SET_PARENT_DEATH_SIGNAL, SET_CHILD_SUBREAPER = 1, 36  # prctl(2)


def _prctl(option: int, value: int) -> None:
    """Linux only; elsewhere the process group is all that is watched."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _exec(command: list[str], lifeline: int) -> None:
    """Become the command, in a process group of its own. Never returns."""
    os.setpgid(0, 0)
    _prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    os.set_inheritable(lifeline, False)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)  # noqa: S606, the job is the point
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
    os._exit(127)


def _has_handler(pid: int, number: int) -> bool:
    """Whether a process catches a signal. Assumed where /proc cannot tell."""
    try:
        with open(f"/proc/{pid}/status") as status:  # noqa: PTH123, pathlib costs 10 ms
            caught = next(line for line in status if line.startswith("SigCgt:"))
    except (OSError, StopIteration):
        return True
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def _kill_rest(group: int) -> None:
    """End the process group, and the orphans that Linux gave to this process."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
    children = f"/proc/self/task/{os.getpid()}/children"
    while True:
        try:
            with open(children) as listed:  # noqa: PTH123
                orphans = [int(pid) for pid in listed.read().split()]
        except OSError:
            return
        for pid in orphans:
            os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _reap(child: int) -> int | None:
    """The command's wait status, once it has ended; also collects its orphans."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return None
        if pid in (0, child):
            return status if pid else None


def main(lifeline: int, command: list[str]) -> int:
    """Run the command to its end, or to the end of the lifeline."""
    _prctl(SET_CHILD_SUBREAPER, 1)
    signals, wake = os.pipe()
    os.set_blocking(signals, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    child = os.fork()
    if child == 0:
        _exec(command, lifeline)
    with contextlib.suppress(PermissionError):  # both sides set it; the first one wins
        os.setpgid(child, child)
    watched = [lifeline, signals]
    while True:
        ready, _, _ = select.select(watched, [], [])
        if lifeline in ready:
            watched.remove(lifeline)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
        asked = signals in ready and signal.SIGTERM in os.read(signals, 4096)
        if asked and _has_handler(child, signal.SIGTERM):
            os.kill(child, signal.SIGTERM)
        status = _reap(child)
        if status is not None:
            break
    _kill_rest(child)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
