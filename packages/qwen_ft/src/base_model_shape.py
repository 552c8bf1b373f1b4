"""What a base model looks like inside, read from its configuration and file headers; no weights, no torch."""

import json
import struct
from pathlib import Path
from typing import Any

from packages.qwen_ft.src.base_model import BaseModelPin

HEADER_LIMIT = (
    100_000_000  # the format's own limit on the length of its header, in bytes
)
NOT_ADAPTED = ("embed_tokens", "lm_head", "norm")


def read_shape(pin: BaseModelPin) -> tuple[dict[str, Any], list[str]]:
    """(config.json, full names of the linear modules that an adapter can target).

    For a hub model this asks for config.json and the first kilobytes of each weight file.
    """
    if pin.kind == "hub":
        config, tensors = _of_hub(pin)
    else:
        config, tensors = _of_folder(Path(pin.location()))
    linear = [
        name.removesuffix(".weight")
        for name, shape in sorted(tensors.items())
        if name.endswith(".weight") and len(shape) == 2
    ]
    return config, [
        name for name in linear if name.rsplit(".", 1)[-1] not in NOT_ADAPTED
    ]


def _of_folder(folder: Path) -> tuple[dict[str, Any], dict[str, list[int]]]:
    tensors: dict[str, list[int]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, HEADER_LIMIT)))
        tensors |= {
            name: at["shape"] for name, at in header.items() if name != "__metadata__"
        }
    return json.loads((folder / "config.json").read_text()), tensors


def _of_hub(pin: BaseModelPin) -> tuple[dict[str, Any], dict[str, list[int]]]:
    import huggingface_hub as hub

    path = hub.hf_hub_download(pin.name, "config.json", revision=pin.revision)
    found = hub.get_safetensors_metadata(pin.name, revision=pin.revision)
    tensors = {
        name: list(tensor.shape)
        for file in found.files_metadata.values()
        for name, tensor in file.tensors.items()
    }
    return json.loads(Path(path).read_text()), tensors
