"""Settings changed on the command line."""

import pytest

from packages.cloud.src.exit_codes import UserError
from packages.qwen_ft.src.config import apply_overrides, resolve


def test_overrides_are_read_as_yaml_and_leave_their_source_alone() -> None:
    settings = {"lora": {"r": 16}}
    changed = apply_overrides(
        settings,
        ["lora.r=8", "training.learning_rate=1e-3", "lora.target_modules=[q_proj]"],
    )
    assert changed == {
        "lora": {"r": 8, "target_modules": ["q_proj"]},
        "training": {"learning_rate": 1e-3},
    }
    assert settings == {"lora": {"r": 16}}


def test_an_override_value_may_hold_equals_signs_and_be_empty() -> None:
    assert apply_overrides({}, ["data.source=s3://b/dt=2024"]) == {
        "data": {"source": "s3://b/dt=2024"}
    }
    assert apply_overrides({}, ["model.revision="]) == {"model": {"revision": None}}


@pytest.mark.parametrize("override", ["lora.r", "r=8", "=8", "lora.=8", ".r=8"])
def test_an_override_without_section_key_and_value_is_refused(override: str) -> None:
    with pytest.raises(UserError, match=r"section\.key=value"):
        apply_overrides({}, [override])


def test_a_wrong_override_is_explained_like_a_wrong_line() -> None:
    with pytest.raises(UserError, match=r"lora\.rr: .* did you mean r\?"):
        resolve({}, ["lora.rr=8"])
