import os
import select
import signal
import subprocess
import sys

import pytest

from packages.local_aws.src.container import Container

pytestmark = pytest.mark.flow
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
SECONDS = 30


class Run:
    """A container, what it wrote, and a way to wait for a word of it."""

    def __init__(self, folder, script):
        self.lines = []
        self.container = Container(
            ["bash", "-c", script], ENVIRONMENT, folder, self.lines.extend
        )

    def to_the_end(self):
        assert self.container.ended.wait(SECONDS)
        return self.container.exit_code


@pytest.fixture
def started(tmp_path):
    """Starts a script, and returns once the script has made the file `ready`."""
    runs = []

    def start(script):
        os.mkfifo(tmp_path / "ready")
        run = Run(tmp_path, script)
        runs.append(run)
        run.ready = (tmp_path / "ready").read_text()
        return run

    yield start
    for run in runs:
        run.container.kill()


@pytest.mark.parametrize(
    ("script", "code"),
    [("true", 0), ("exit 75", 75), ("kill -9 $$", 137), ("kill -11 $$", 139)],
)
def test_the_exit_code_is_that_of_a_container(tmp_path, script, code):
    assert Run(tmp_path, script).to_the_end() == code


def test_a_command_that_does_not_exist_ends_with_127(tmp_path):
    lines = []
    container = Container(["no-such-program"], ENVIRONMENT, tmp_path, lines.extend)

    assert container.ended.wait(SECONDS)
    assert container.exit_code == 127
    assert "no-such-program" in lines[0]


def test_output_and_errors_come_in_order_and_whole(tmp_path):
    run = Run(tmp_path, "echo one; echo two >&2; printf 'without an end'")
    run.to_the_end()

    assert run.lines == ["one", "two", "without an end"]


def test_only_the_given_variables_are_seen(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a real one")
    run = Run(tmp_path, "env | cut -d= -f1 | sort | tr '\n' ' '")
    run.to_the_end()

    assert run.lines[0].split() == ["LANG", "PATH", "PWD", "SHLVL", "_"]


def test_the_stop_signal_does_not_pass_a_shell(started):
    # As process 1 of a container, bash ignores SIGTERM: Metaflow's step never hears it.
    run = started("bash -c \"trap 'echo heard' TERM; echo > ready; sleep 600\"; true")

    run.container.stop()

    assert not run.container.ended.wait(0.3)
    run.container.kill()
    run.to_the_end()
    assert run.lines == []


def test_the_stop_signal_reaches_a_process_that_handles_it(started):
    run = started(
        "trap 'echo heard; exit 3' TERM; echo > ready; while :; do sleep 0.02; done"
    )

    run.container.stop()

    assert run.to_the_end() == 3
    assert run.lines == ["heard"]


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("how", ["sleep 600 &", "setsid sleep 600 &"])
def test_killing_leaves_nothing(started, how):
    run = started(f"{how} echo $! > ready; wait")

    run.container.kill()
    run.to_the_end()

    assert not alive(int(run.ready))


@pytest.mark.skipif(sys.platform != "linux", reason="needs a child subreaper")
def test_a_daemon_ends_with_the_command(started):
    run = started("setsid sleep 600 & echo $! > ready")

    assert run.to_the_end() == 0
    assert not alive(int(run.ready))


@pytest.mark.skipif(sys.platform != "linux", reason="waits on a pidfd")
def test_nothing_outlives_the_process_that_started_it(tmp_path):
    os.mkfifo(tmp_path / "ready")
    code = (
        "import sys, pathlib, time\n"
        "from packages.local_aws.src.container import Container\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "script = 'setsid sleep 600 & echo $! > ready; wait'\n"
        "Container(['bash', '-c', script], {'PATH': '/usr/bin:/bin'}, folder, print)\n"
        "time.sleep(600)\n"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.PIPE,
    )
    sleeper = int((tmp_path / "ready").read_text())
    handle = os.pidfd_open(sleeper)

    owner.send_signal(signal.SIGKILL)
    owner.communicate()

    ended, _, _ = select.select([handle], [], [], SECONDS)
    assert ended == [handle]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_too_much_memory_ends_the_largest_process(started):
    program = "x = bytearray(200 * 2**20); open('ready', 'w').write('up'); input()"
    run = started(f'mkfifo in; {sys.executable} -c "{program}" 3<>in <in; echo code $?')

    run.container.enforce_memory(10_000)
    assert not run.container.ran_out_of_memory
    run.container.enforce_memory(100)

    assert run.to_the_end() == 0, "the shell outlives it, as in a container"
    assert run.lines[-1] == "code 137"
    assert run.container.ran_out_of_memory
