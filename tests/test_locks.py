"""The locks: hashed, without an index address, and the same for CPU and CUDA but for torch's build."""

import re
from pathlib import Path

import pytest

LOCKS = Path(__file__).resolve().parents[1] / "3rdparty" / "python"
ENTRY = re.compile(r"^([a-z0-9._-]+)(?:\[[a-z0-9,]+\])?==(\S+)", re.MULTILINE)


def versions(lock: str) -> dict[str, str]:
    return dict(ENTRY.findall((LOCKS / lock).read_text()))


def test_cpu_and_cuda_differ_in_the_build_of_torch_alone():
    cpu, cuda = versions("cpu.lock"), versions("cuda.lock")
    only_cuda = set(cuda) - set(cpu)

    assert cpu.pop("torch") == cuda.pop("torch") + "+cpu"
    assert {name: cuda[name] for name in cpu} == cpu
    # What torch's CUDA build needs, and nothing else.
    assert all(
        name.startswith(("nvidia-", "cuda-")) or name == "triton" for name in only_cuda
    )


@pytest.mark.parametrize("lock", sorted(path.name for path in LOCKS.glob("*.lock")))
def test_a_lock_has_hashes_and_no_address(lock):
    text = (LOCKS / lock).read_text()
    entries = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]

    assert "://" not in text
    assert "--index" not in text and "--find-links" not in text
    assert len(entries) == len(versions(lock)) > 0
    assert all("--hash=sha256:" in entry for entry in entries)


def test_every_requirement_is_locked_at_its_version():
    wanted = versions("requirements.txt")
    locked = versions("cuda.lock")

    assert len(wanted) >= 15
    assert {name.replace("_", "-"): version for name, version in wanted.items()} == {
        name.replace("_", "-"): locked[name.replace("_", "-")] for name in wanted
    }
