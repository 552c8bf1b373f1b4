"""The base model: which exact weights a name means, and loading them with the asked precision.

Resolving a name imports no torch, so a wrong name stops a run before any machine is paid for.
"""

import hashlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packages.cloud.src.exit_codes import (
    EX_CONFIG,
    EX_DATAERR,
    EX_NOINPUT,
    EX_UNAVAILABLE,
    UserError,
)
from packages.qwen_ft.src.hub_model import STARTER_NAME, hub_commit, unknown_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from packages.qwen_ft.src.config import ModelSettings, QuantizationSettings

log = logging.getLogger(__name__)

TURN_END = "<|im_end|>"


@dataclass(frozen=True, slots=True)
class BaseModelPin:
    """The weights that `name` stood for when the run started.

    Args:
        name: as configured.
        revision: 40 hexadecimal digits: the hub commit, or for a folder the start of the hash
            over its files.
        kind: "starter", "folder" or "hub".
        files: (name, bytes, sha256) of each file of a starter or folder; empty for the hub, where
            the commit says it all.
    """

    name: str
    revision: str
    kind: str
    files: tuple[tuple[str, int, str], ...] = ()

    def location(self) -> str:
        """What `from_pretrained` takes: a folder or a hub id."""
        if self.kind == "starter":
            return str(starter_folder())
        return self.name


@dataclass(frozen=True, slots=True)
class LoadedBase:
    """A base model in memory.

    Args:
        model: in evaluation mode, nothing frozen yet.
        weight_bytes: measured over parameters, buffers and the scales of quantised weights.
        precision: what the weights are and what products are computed in, for people.
        notes: one sentence for each setting that could not be honoured here.
    """

    model: "PreTrainedModel"
    weight_bytes: int
    precision: str
    notes: tuple[str, ...]


def starter_folder() -> Path:
    return Path(__file__).resolve().parents[1] / "starter" / "tiny-qwen2"


def resolve_base_model(settings: "ModelSettings") -> BaseModelPin:
    """The exact weights behind `settings.name` at `settings.revision`.

    Raises:
        UserError: no such model (78 for a name, 66 for a folder), or the hub cannot be asked (69).
    """
    name = settings.name
    if name.startswith("starter://"):
        if name != STARTER_NAME:
            raise unknown_model(name, f"there is one starter model, {STARTER_NAME}")
        return _pin_folder(name, starter_folder(), "starter")
    if Path(name).is_dir():
        return _pin_folder(name, Path(name), "folder")
    if name.startswith(("/", ".", "~")) or name.count("/") > 1:
        raise UserError(
            f"model.name is {name!r}, and there is no such folder (seen from {Path.cwd()}). "
            "Give a folder with config.json and *.safetensors, a hub id such as "
            f"Qwen/Qwen2.5-0.5B, or {STARTER_NAME}.",
            EX_NOINPUT,
        )
    return BaseModelPin(name, hub_commit(name, settings.revision), "hub")


def _pin_folder(name: str, folder: Path, kind: str) -> BaseModelPin:
    paths = (
        sorted(path for path in folder.iterdir() if path.is_file())
        if folder.is_dir()
        else []
    )
    names = {path.name for path in paths}
    missing = [
        what
        for what, there in (
            ("config.json", "config.json" in names),
            ("*.safetensors", any(n.endswith(".safetensors") for n in names)),
            ("tokenizer.json", "tokenizer.json" in names),
        )
        if not there
    ]
    if missing:
        raise UserError(
            f"The model folder {folder} has no {', no '.join(missing)}; it holds "
            f"{sorted(names)[:10]}. Give a folder as save_pretrained writes it, weights as "
            "safetensors and the tokenizer beside them.",
            EX_NOINPUT,
        )
    files = tuple((p.name, p.stat().st_size, _sha256(p)) for p in paths)
    together = hashlib.sha256(
        "\n".join(f"{n} {h}" for n, _, h in files).encode()
    ).hexdigest()
    return BaseModelPin(name, together[:40], kind, files)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def load_tokenizer(
    pin: BaseModelPin, trust_remote_code: bool = False
) -> "PreTrainedTokenizerBase":
    """The tokenizer of the base model, with a pad token that is not its end-of-turn token.

    Raises:
        UserError: it cannot be loaded (65), or has no token that could pad (78).
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            pin.location(), trust_remote_code=trust_remote_code, **_revision(pin)
        )
    except (OSError, ValueError) as error:
        raise UserError(
            f"The tokenizer of {pin.name} does not load: {_first_line(error)}. Its folder needs "
            "tokenizer.json and tokenizer_config.json as save_pretrained writes them.",
            EX_DATAERR,
        ) from error
    if tokenizer.pad_token_id is None:
        known = tokenizer.get_vocab()
        tokenizer.pad_token = (
            "<|endoftext|>" if "<|endoftext|>" in known else tokenizer.eos_token
        )
    if (
        tokenizer.pad_token_id == tokenizer.eos_token_id
        and TURN_END in tokenizer.get_vocab()
    ):
        # Qwen2.5's base tokenizers pad and end with <|endoftext|>; a turn ends with <|im_end|>.
        tokenizer.eos_token = TURN_END
    if tokenizer.pad_token_id is None:
        raise UserError(
            f"The tokenizer of {pin.name} has neither a pad nor an end token. Set pad_token in "
            "its tokenizer_config.json.",
            EX_CONFIG,
        )
    log.info(
        "tokenizer: %d tokens, pad %s (%d), end %s (%s)",
        len(tokenizer),
        tokenizer.pad_token,
        tokenizer.pad_token_id,
        tokenizer.eos_token,
        tokenizer.eos_token_id,
    )
    return tokenizer


def _revision(pin: BaseModelPin) -> dict[str, str]:
    return {"revision": pin.revision} if pin.kind == "hub" else {}


def load_base_model(
    pin: BaseModelPin,
    settings: "ModelSettings",
    quantization: "QuantizationSettings",
    *,
    training: bool,
) -> LoadedBase:
    """The base model on its device.

    Where bfloat16 has no hardware, `torch_dtype: auto` gives float32. For evaluation
    (`training=False`) on the CPU everything that is not quantised is widened to float32, and so
    are the products of quantised layers: the weights keep their trained values, and the result no
    longer depends on how rows are batched.

    Raises:
        UserError: the device, precision or attention kernel is not to be had here (69), or the
            files do not load (65).
    """
    from packages.qwen_ft.src import precision

    device = precision.pick_device(settings.device_map)
    dtype, notes = precision.pick_dtype(
        settings.torch_dtype, _stored_dtype(pin, settings), device
    )
    exact = not training and device.type == "cpu"
    plan, why = precision.plan_quantization(quantization, device, exact=exact)
    notes += why
    _check_files(pin)
    model = _read_weights(
        pin,
        settings,
        {"dtype": dtype, "device_map": {"": str(device)}, "quantization_config": plan},
    )
    precision.choose_cpu_threads(model)
    if plan is not None:
        precision.keep_cpu_weights_in_training_layout(model)
    if exact:
        precision.widen_to_float32(model)
    loaded = LoadedBase(
        model=model,
        weight_bytes=precision.weight_bytes(model),
        precision=precision.describe(
            plan, "float32" if exact else str(dtype).split(".")[-1]
        ),
        notes=tuple(notes),
    )
    log.info(
        "base model %s@%s on %s: %s, %.1f MB of weights",
        pin.name,
        pin.revision[:8],
        device,
        loaded.precision,
        loaded.weight_bytes / 1e6,
    )
    for note in notes:
        log.warning(note)
    return loaded


def _stored_dtype(pin: BaseModelPin, settings: "ModelSettings") -> str:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(
        pin.location(), trust_remote_code=settings.trust_remote_code, **_revision(pin)
    )
    return str(config.dtype or "float32").split(".")[-1]


def _check_files(pin: BaseModelPin) -> None:
    """Refuse a starter or folder whose weights changed since `start`; sizes of all, hash of small files."""
    for name, size, sha256 in pin.files:
        path = Path(pin.location()) / name
        found = path.stat().st_size if path.is_file() else None
        if found != size or (size < 64_000_000 and _sha256(path) != sha256):
            raise UserError(
                f"{path} is not the file that this run pinned ({size} bytes, sha256 {sha256[:12]}; "
                f"found {'no file' if found is None else f'{found} bytes'}). Put it back, or start "
                "a new run.",
                EX_DATAERR,
            )


def _read_weights(
    pin: BaseModelPin, settings: "ModelSettings", where_and_how: dict[str, Any]
) -> "PreTrainedModel":
    import transformers
    from safetensors import SafetensorError

    if settings.trust_remote_code:
        log.warning(
            "running Python code of %s at commit %s, as configured",
            pin.name,
            pin.revision,
        )
    asked = settings.attn_implementation
    _quiet_third_parties()
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(
            pin.location(),
            attn_implementation="sdpa" if asked == "auto" else asked,
            trust_remote_code=settings.trust_remote_code,
            use_safetensors=True,
            **where_and_how,
            **_revision(pin),
        )
    except ImportError as error:
        raise UserError(
            f"model.attn_implementation {asked} is not to be had here: {_first_line(error)}. "
            "Use auto or sdpa.",
            EX_UNAVAILABLE,
        ) from error
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(
            f"The weights of {pin.name} do not load: {_first_line(error)}. Its folder needs "
            "config.json and *.safetensors as save_pretrained writes them.",
            EX_DATAERR,
        ) from error
    return model


def _quiet_third_parties() -> None:
    """Progress bars of weight loading, and a line of bitsandbytes about an optional package."""
    import transformers

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
