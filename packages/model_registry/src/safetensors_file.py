"""Read a safetensors file with suspicion: header first, every number checked, no weight trusted to be finite.

The library stops at a broken header, but loads NaN and flipped bits in silence. Format: 8 bytes little-endian
length N, N bytes of JSON, then the tensors back to back (huggingface.co/docs/safetensors).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from packages.model_registry.src.canonical_json import strict_json

MAX_HEADER_BYTES = 16 * 2**20
MAX_TENSORS = 100_000
ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
NUMPY_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
BF16_EXPONENT = 0x7F80  # all ones: infinity or NaN
PIECE = 2**20  # numbers checked at a time, so that memory stays flat


@dataclass(frozen=True)
class Tensor:
    """One tensor as the header describes it; begin and end in bytes from the start of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def read_header(path: Path) -> tuple[Tensor, ...]:
    """The tensors of the file in the order of their bytes.

    Raises:
        ValueError: not a safetensors file, truncated, with bytes left over, holes or overlaps, an unknown dtype,
            or a shape that does not fit its bytes.
    """
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size_bytes < 8 or not 2 <= length <= min(MAX_HEADER_BYTES, size_bytes - 8):
            raise ValueError(
                f"no safetensors file: its header would have {length:,} bytes, the "
                f"file has {size_bytes:,}"
            )
        header = strict_json(file.read(length), MAX_HEADER_BYTES)
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    _check_metadata(header.pop("__metadata__", {}))
    if not 1 <= len(header) <= MAX_TENSORS:
        raise ValueError(f"it holds {len(header):,} tensors, 1 to {MAX_TENSORS:,} fit")
    tensors = [_tensor(name, row, 8 + length) for name, row in header.items()]
    tensors.sort(key=lambda tensor: (tensor.begin, tensor.end))
    position = 8 + length
    for tensor in tensors:
        if tensor.begin != position:
            raise ValueError(f"tensor {tensor.name!r} overlaps another or leaves a gap")
        position = tensor.end
    if position != size_bytes:
        raise ValueError(f"its tensors end at byte {position:,} of {size_bytes:,}")
    return tuple(tensors)


def first_not_finite(path: Path, tensors: tuple[Tensor, ...]) -> Tensor | None:
    """The first tensor that holds a NaN or an infinity."""
    for tensor in tensors:
        if not all(_finite(piece, tensor.dtype) for piece in _pieces(path, tensor)):
            return tensor
    return None


def _pieces(path: Path, tensor: Tensor) -> Iterator[npt.NDArray[Any]]:
    count = math.prod(tensor.shape)
    kind = np.dtype(NUMPY_TYPES[tensor.dtype])
    with path.open("rb") as file:
        file.seek(tensor.begin)
        while count > 0:
            piece = np.frombuffer(file.read(min(count, PIECE) * kind.itemsize), kind)
            yield piece
            count -= len(piece)


def _finite(numbers: npt.NDArray[Any], dtype: str) -> bool:
    if dtype == "BF16":  # numpy has no bfloat16: look at the exponent's bits
        return bool(((numbers & BF16_EXPONENT) != BF16_EXPONENT).all())
    return bool(np.isfinite(numbers).all())


def _tensor(name: str, row: Any, data_begin: int) -> Tensor:
    shown = f"tensor {name[:100]!r}"
    if not isinstance(row, dict) or set(row) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{shown} is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = row["dtype"], row["shape"], row["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise ValueError(
            f"{shown} has dtype {str(dtype)[:20]!r}; expected one of "
            f"{', '.join(ITEM_BYTES)}"
        )
    if not _naturals(shape) or len(shape) > 8:
        raise ValueError(f"{shown} has shape {str(shape)[:60]}")
    if not _naturals(offsets) or len(offsets) != 2:
        raise ValueError(f"{shown} has offsets {str(offsets)[:60]}")
    if offsets[1] - offsets[0] != math.prod(shape) * ITEM_BYTES[dtype]:
        raise ValueError(
            f"{shown} of shape {shape} in {dtype} needs "
            f"{math.prod(shape) * ITEM_BYTES[dtype]:,} bytes, not "
            f"{offsets[1] - offsets[0]:,}"
        )
    return Tensor(
        name, dtype, tuple(shape), data_begin + offsets[0], data_begin + offsets[1]
    )


def _naturals(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(number, int) and not isinstance(number, bool) and 0 <= number < 2**48
        for number in value
    )


def _check_metadata(metadata: Any) -> None:
    texts = isinstance(metadata, dict) and all(
        isinstance(value, str) for value in metadata.values()
    )
    if not texts:
        raise ValueError("its __metadata__ is no map of texts")
