"""One emulator for the whole session; it ends with the session, however that ends."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from packages.local_aws.src.emulator import Emulator


@pytest.fixture(scope="session")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    folder: Path = tmp_path_factory.mktemp("laptop")
    with Emulator(folder / "emulator") as emulator:
        emulator.start(
            metaflow_home=folder / "metaflow",
            stop_timeout_s=0.5,  # AWS waits 30 s
            shortest_timeout_s=1,  # AWS wants 60
        )
        yield emulator
