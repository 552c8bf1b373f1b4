"""Broken and hostile weight files. Sound ones are written by the safetensors library."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from packages.model_registry.src.safetensors_file import (
    first_not_finite,
    read_header,
)
from packages.model_registry.tests.adapters import tensors

GOOD = save(tensors())


def raw(header: object, data: bytes = b"") -> bytes:
    """A file with any header at all."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def described(**changes: Any) -> dict[str, Any]:
    return {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} | changes


ATTACKS = {
    "empty": (b"", "no safetensors file"),
    "seven bytes": (b"1234567", "no safetensors file"),
    "truncated header": (GOOD[:20], "no safetensors file"),
    "truncated data": (GOOD[:-1], "end at byte"),
    "one byte more": (GOOD + b"\0", "end at byte"),
    "header of 2**63 bytes": (b"\xff" * 7 + b"\x7f" + b"{}", "no safetensors file"),
    "pickle": (b"\x80\x04\x95" + b"\0" * 100, "no safetensors file"),
    "zip": (b"PK\x03\x04" + b"\0" * 100, "no safetensors file"),
    "no JSON": (raw(b"xxxx"), "Expecting value"),
    "a list": (raw([]), "no JSON object"),
    "no tensor": (raw({}), "0 tensors"),
    "tensor twice": (raw(b'{"a":{},"a":{}}'), "'a' is there twice"),
    "no shape": (raw({"a": {"dtype": "F32"}}), "not described by"),
    "extra key": (raw({"a": described(code="x")}, bytes(4)), "not described by"),
    "unknown dtype": (raw({"a": described(dtype="PICKLE")}, bytes(4)), "PICKLE"),
    "dtype as list": (raw({"a": described(dtype=[])}, bytes(4)), "dtype"),
    "negative shape": (raw({"a": described(shape=[-1])}, bytes(4)), "shape"),
    "shape of 2**60": (raw({"a": described(shape=[2**60])}, bytes(4)), "shape"),
    "shape true": (raw({"a": described(shape=[True])}, bytes(4)), "shape"),
    "nine axes": (raw({"a": described(shape=[1] * 9)}, bytes(4)), "shape"),
    "shape too large": (raw({"a": described(shape=[2])}, bytes(4)), "needs 8 bytes"),
    "three offsets": (raw({"a": described(data_offsets=[0, 4, 8])}), "offsets"),
    "offsets reversed": (raw({"a": described(data_offsets=[4, 0])}), "needs 4 bytes"),
    "overlap": (raw({"a": described(), "b": described()}, bytes(4)), "overlaps"),
    "gap": (raw({"a": described(data_offsets=[4, 8])}, bytes(8)), "gap"),
    "metadata": (raw({"__metadata__": {"a": 1}, "a": described()}, bytes(4)), "texts"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_broken_file_is_refused_with_its_reason(attack: str, tmp_path: Path) -> None:
    data, reason = ATTACKS[attack]
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(ValueError, match=reason):
        read_header(tmp_path / "file")


def test_the_header_says_what_the_library_wrote(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(save(tensors(), metadata={"format": "pt"}))
    found = {t.name: (t.dtype, t.shape) for t in read_header(tmp_path / "file")}
    assert found == {n: ("F32", v.shape) for n, v in tensors().items()}


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 17, 29])
def test_one_number_that_is_not_finite_is_found(
    kind: Any, value: float, place: int, tmp_path: Path
) -> None:
    bad = np.ones(30, kind)
    bad[place] = value
    (tmp_path / "file").write_bytes(save({"a": np.ones(3, kind), "b": bad}))
    header = read_header(tmp_path / "file")
    found = first_not_finite(tmp_path / "file", header)
    assert found is not None
    assert found.name == "b"


# bfloat16 bits by hand: sign 1, exponent 8, fraction 7. 0x7F80 is infinity, any exponent of ones with a fraction
# is NaN; 0x7F7F is the largest finite number, 0x0001 the smallest.
@pytest.mark.parametrize(
    ("bits", "finite"),
    [
        (0x7F80, False),
        (0xFF80, False),
        (0x7FC0, False),
        (0x7F81, False),
        (0xFFFF, False),
        (0x7F7F, True),
        (0xFF7F, True),
        (0x0000, True),
        (0x0001, True),
        (0x3F80, True),
    ],
)
def test_bfloat16_bits_worked_by_hand(bits: int, finite: bool, tmp_path: Path) -> None:
    data = np.array([0x3F80, bits], "<u2").tobytes()
    header = {"a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}
    (tmp_path / "file").write_bytes(raw(header, data))
    tensors_found = read_header(tmp_path / "file")
    assert (first_not_finite(tmp_path / "file", tensors_found) is None) is finite


def test_a_number_in_the_last_piece_of_a_large_tensor_is_found(tmp_path: Path) -> None:
    large = np.zeros(2**20 + 3, np.float32)
    large[-1] = np.nan
    (tmp_path / "file").write_bytes(save({"a": large}))
    header = read_header(tmp_path / "file")
    assert first_not_finite(tmp_path / "file", header) is not None
