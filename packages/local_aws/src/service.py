"""The emulator's process: `python -m packages.local_aws.src.service SETTINGS`.

SETTINGS is the JSON of `ServiceSettings`. It says that it is ready by a line on the
file descriptor `ready`, and ends on SIGTERM, on SIGINT, and when `lifeline` closes.
"""

import fcntl
import json
import logging
import os
import secrets
import signal
import sys
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

STATE_FILE, LOCK_FILE, LOG_FILE = "state.json", "lock", "service.log"
SECONDS_BETWEEN_SAVES = 60.0
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServiceSettings:
    """What an emulator is started with.

    Args:
        folder: its own: state, log, profile, job folders.
        ready: file descriptor that gets one line when all answers.
        lifeline: file descriptor whose end ends the emulator; None to run on alone.
        aws_port, local_port: where to listen on 127.0.0.1; 0 takes a free one.
        data: folder where the account and the metadata survive; None forgets them.
        metaflow_home: folder that gets the Metaflow profile.
        enforce_iam: answer AccessDenied where the caller's policies do not allow.
        stop_timeout_s, shortest_timeout_s: of jobs; see `Laptop`.
    """

    folder: str
    ready: int
    lifeline: int | None
    aws_port: int
    local_port: int
    data: str | None
    metaflow_home: str
    enforce_iam: bool
    stop_timeout_s: float
    shortest_timeout_s: int


@dataclass(frozen=True)
class State:
    """What `state.json` says of a running emulator."""

    pid: int
    aws_url: str
    local_url: str
    token: str
    environment: dict[str, str]


def _serve(settings: ServiceSettings, ended: threading.Event) -> None:
    from moto.server import ThreadedMotoServer

    from packages.local_aws.src import account, batch_service, metaflow_profile
    from packages.local_aws.src.http_routes import JsonServer
    from packages.local_aws.src.job_environment import Laptop, install_image
    from packages.local_aws.src.metadata_service import metadata_routes
    from packages.local_aws.src.metadata_store import MetadataStore
    from packages.local_aws.src.saved_account import load_account, save_account
    from packages.local_aws.src.task_endpoints import (
        add_control_routes,
        add_task_routes,
    )

    folder = Path(settings.folder)
    data = Path(settings.data) if settings.data else None
    if data:
        data.mkdir(parents=True, exist_ok=True)
        load_account(data / "account.pickle")
    token = secrets.token_hex(16)
    store = MetadataStore(data / "metadata.sqlite" if data else None)
    routes = metadata_routes(store)
    add_task_routes(routes, account.role_arn(account.INSTANCE_ROLE))
    add_control_routes(routes, token)
    local = JsonServer(routes, settings.local_port)
    aws = ThreadedMotoServer("127.0.0.1", settings.aws_port, verbose=False)
    aws.start()
    aws_url = f"http://127.0.0.1:{aws.get_host_and_port()[1]}"
    laptop = Laptop(
        folder=folder,
        aws_url=aws_url,
        local_url=local.url,
        stop_timeout_s=settings.stop_timeout_s,
        shortest_timeout_s=settings.shortest_timeout_s,
    )
    install_image(laptop)
    batch_service.make_jobs_run(laptop)
    account.make_account(aws_url)
    keys = account.FIRST_KEYS
    if settings.enforce_iam:
        keys = account.make_client_keys(aws_url)
        _enforce_permissions()
    home = Path(settings.metaflow_home)
    profile = metaflow_profile.write_profile(home, aws_url, local.url)
    environment = metaflow_profile.client_environment(home, aws_url, keys)
    state = State(os.getpid(), aws_url, local.url, token, environment)
    _write_state(folder, state)
    os.write(settings.ready, b"ready\n")
    os.close(settings.ready)
    try:
        while not ended.wait(SECONDS_BETWEEN_SAVES):
            if data:
                _try_to_save(save_account, data)
    finally:
        batch_service.stop_all_jobs()
        if data:
            _try_to_save(save_account, data)
        store.close()
        profile.unlink(missing_ok=True)
        (folder / STATE_FILE).unlink(missing_ok=True)


def _try_to_save(save_account, data: Path) -> None:  # type: ignore[no-untyped-def]
    try:
        save_account(data / "account.pickle")
    except Exception:  # a request changed what was being read: the next save has it
        log.exception("the account could not be saved")


def _enforce_permissions() -> None:
    from moto import settings as moto_settings

    moto_settings.INITIAL_NO_AUTH_ACTION_COUNT = 0


def _write_state(folder: Path, state: State) -> None:
    partial = folder / f"{STATE_FILE}.partial"
    partial.touch(mode=0o600)
    partial.write_text(json.dumps(asdict(state), indent=2))
    partial.replace(folder / STATE_FILE)


def _end_with(lifeline: int, ended: threading.Event) -> None:
    """Wait for the end of the starter, however it comes."""
    while os.read(lifeline, 1):
        pass
    ended.set()


def main(settings: ServiceSettings) -> None:
    """Serve until the end. One emulator per folder: the lock says whether it lives."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    if settings.lifeline is not None:
        threading.Thread(
            target=_end_with, args=(settings.lifeline, ended), daemon=True
        ).start()
    with (Path(settings.folder) / LOCK_FILE).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _serve(settings, ended)
        logging.shutdown()
        os._exit(0)  # request threads may hang on clients that are gone


if __name__ == "__main__":
    main(ServiceSettings(**json.loads(sys.argv[1])))
