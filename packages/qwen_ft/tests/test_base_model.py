import subprocess
import sys

import pytest

from packages.cloud.src.exit_codes import UserError
from packages.qwen_ft.src.base_model import (
    load_base_model,
    load_tokenizer,
    resolve_base_model,
    starter_folder,
)
from packages.qwen_ft.src.config import ModelSettings, QuantizationSettings
from packages.qwen_ft.tests.tiny_qwen import write_tiny_model

PLAIN = QuantizationSettings(load_in_4bit=False)


def _pin(folder):
    return resolve_base_model(ModelSettings(name=str(folder)))


def test_a_folder_is_pinned_by_the_bytes_of_its_files(tmp_path):
    folder = write_tiny_model(tmp_path / "m")
    first, again = _pin(folder), _pin(folder)
    assert first == again and first.kind == "folder" and len(first.revision) == 40
    (folder / "config.json").write_text((folder / "config.json").read_text() + " ")
    assert _pin(folder).revision != first.revision


def test_resolving_a_name_loads_no_torch():
    code = (
        "import sys; from packages.qwen_ft.src.base_model import resolve_base_model;"
        "from packages.qwen_ft.src.config import ModelSettings;"
        "print(resolve_base_model(ModelSettings()).kind, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(p for p in sys.path if p)},
    )
    assert done.stdout.split() == ["starter", "False"]


def test_the_starter_model_has_what_qwen_has():
    pin = resolve_base_model(ModelSettings())
    assert pin.location() == str(starter_folder())
    tokenizer = load_tokenizer(pin)
    assert tokenizer.pad_token == "<|endoftext|>"
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.pad_token_id != tokenizer.eos_token_id


@pytest.mark.parametrize(
    ("name", "code", "match"),
    [
        ("starter://tiny-qwen", 78, "Did you mean starter://tiny-qwen2"),
        ("/nowhere/model", 66, "'/nowhere/model', and there is no such folder"),
        ("a/b/c", 66, "there is no such folder"),
        (
            "Qwen/Qwen2.5-0.5B ",
            78,
            "no valid hub id. Did you mean Qwen/Qwen2.5-0.5B or",
        ),
    ],
)
def test_a_wrong_name_says_what_would_be_right(name, code, match):
    with pytest.raises(UserError, match=match) as caught:
        resolve_base_model(ModelSettings(name=name))
    assert caught.value.exit_code == code


def test_a_folder_without_weights_says_what_is_missing(tmp_path):
    folder = write_tiny_model(tmp_path / "m")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"has no \*.safetensors"):
        _pin(folder)


def test_weights_that_changed_since_the_start_are_refused(tmp_path):
    folder = write_tiny_model(tmp_path / "m")
    pin = _pin(folder)
    write_tiny_model(folder, seed=1)
    with pytest.raises(UserError, match="not the file that this run pinned"):
        load_base_model(pin, ModelSettings(name=str(folder)), PLAIN, training=True)


def test_damaged_weights_are_an_error_of_the_user(tmp_path):
    folder = write_tiny_model(tmp_path / "m")
    (folder / "model.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(UserError, match="do not load") as caught:
        load_base_model(
            _pin(folder), ModelSettings(name=str(folder)), PLAIN, training=True
        )
    assert caught.value.exit_code == 65


@pytest.mark.parametrize("dtype", ["auto", "float32", "bfloat16"])
def test_the_number_format_is_honoured(tmp_path, dtype):
    folder = write_tiny_model(tmp_path / "m", dtype="float32")
    settings = ModelSettings(name=str(folder), torch_dtype=dtype, device_map="cpu")
    loaded = load_base_model(_pin(folder), settings, PLAIN, training=True)
    wanted = "float32" if dtype == "auto" else dtype
    assert str(loaded.model.dtype) == f"torch.{wanted}" == f"torch.{loaded.precision}"
    assert loaded.model.device.type == "cpu"
