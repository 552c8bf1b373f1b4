"""One job attempt as a local process tree: the stand-in for a container."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from packages.local_aws.src import container_init
from packages.local_aws.src.process_memory import resident_bytes, total_bytes

INIT = Path(container_init.__file__)
MIB = 2**20


class Container:
    """A command that runs in `folder`, in its own process group. Starts at once.

    Args:
        command: the program and its arguments.
        environment: all that the command sees; nothing is inherited.
        folder: its working directory; must exist.
        on_output: gets each chunk of whole lines of stdout and stderr, in order, from
            another thread.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        on_output: Callable[[list[str]], None],
    ) -> None:
        lifeline, self._lifeline = os.pipe()
        try:
            self._process = subprocess.Popen(
                [  # noqa: S603, the job is the point
                    sys.executable,
                    "-I",
                    "-S",
                    str(INIT),
                    str(lifeline),
                    *command,
                ],
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[lifeline],
            )
        except OSError:
            os.close(self._lifeline)
            raise
        finally:
            os.close(lifeline)
        self._closing = threading.Lock()
        self._is_alive = True
        self.ended = threading.Event()
        self.ran_out_of_memory = False
        self._reader = threading.Thread(
            target=self._read, args=(on_output,), daemon=True
        )
        self._reader.start()
        threading.Thread(target=self._wait, daemon=True).start()

    @property
    def exit_code(self) -> int:
        """0 to 255; 128 + n when signal n ended the command. Only once `ended` is set."""
        code = self._process.returncode
        return code if code >= 0 else 128 - code

    def stop(self) -> None:
        """Ask it to end: SIGTERM to its first process, which may have no handler."""
        if not self.ended.is_set():
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End every process of it, now."""
        with self._closing:
            if self._is_alive:
                self._is_alive = False
                os.close(self._lifeline)

    def call_at_end(self, function: Callable[[], None]) -> None:
        """Call `function` once it has ended, from another thread."""

        def wait() -> None:
            self.ended.wait()
            function()

        threading.Thread(target=wait, daemon=True).start()

    def enforce_memory(self, limit_mib: int) -> None:
        """Kill the largest process if all of them hold more, as the kernel would."""
        sizes = resident_bytes(self._process.pid)
        if total_bytes(sizes) > limit_mib * MIB:
            self.ran_out_of_memory = True
            os.kill(max(sizes, key=lambda pid: sizes[pid][0]), signal.SIGKILL)

    def _wait(self) -> None:
        self._process.wait()
        self.kill()
        self._reader.join()
        self.ended.set()

    def _read(self, on_output: Callable[[list[str]], None]) -> None:
        stream = self._process.stdout
        assert stream is not None
        rest = b""
        while chunk := os.read(stream.fileno(), 65_536):
            *lines, rest = (rest + chunk).split(b"\n")
            if lines:
                on_output([line.decode(errors="replace") for line in lines])
        if rest:
            on_output([rest.decode(errors="replace")])
        stream.close()
