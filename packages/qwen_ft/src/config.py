"""RunConfig: everything that decides what one training run produces. Nothing else may."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field, JsonValue, ValidationError, model_validator

from packages.qwen_ft.src.config_problems import Problem, ProblemsFound, problems_of, validated
from packages.qwen_ft.src.config_sections import (
    DataSettings,
    EvaluationSettings,
    Frozen,
    GateSettings,
    LoggingSettings,
    LoraSettings,
    ModelSettings,
    QuantizationSettings,
    RegistrySettings,
    TrainingSettings,
)
from packages.qwen_ft.src.overrides import merge_overrides, split_overrides
from packages.qwen_ft.src.yaml_text import read_yaml

TRIAL_SECTIONS = ("lora", "quantization", "training")


class RunConfig(Frozen):
    """Everything that decides what one training run produces. Nothing else may."""

    model: ModelSettings = ModelSettings()
    data: DataSettings = DataSettings()
    lora: LoraSettings = LoraSettings()
    quantization: QuantizationSettings = QuantizationSettings()
    training: TrainingSettings = TrainingSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    trials: Annotated[
        tuple[dict[str, JsonValue], ...], Field(strict=False, min_length=1, max_length=64)
    ] = Field(
        default=({},),
        description="One training per entry, side by side: `{lora.r: 8}` changes that key. Keys of "
        "`lora`, `quantization` and `training` only. The best on the validation split goes on.",
    )
    gate: GateSettings = GateSettings()
    registry: RegistrySettings = RegistrySettings()
    logging: LoggingSettings = LoggingSettings()

    @model_validator(mode="after")
    def accept_every_trial(self) -> "RunConfig":
        alone = self.model_dump(mode="json", exclude={"trials"})
        problems: list[Problem] = []
        for position, trial in enumerate(self.trials):
            if trial:
                problems += _problems_of_trial(alone, trial, position)
        if problems:
            raise ProblemsFound(*problems)
        return self

    def digest(self) -> str:
        """sha256 of the canonical JSON: equal digests mean equal settings."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def with_trial(self, trial: Mapping[str, JsonValue]) -> "RunConfig":
        """These settings with one entry of `trials` applied.

        Raises:
            UserError: a key or value of the trial is wrong (exit code 78).
        """
        alone = self.model_dump(mode="json") | {"trials": [{}]}
        return validated(RunConfig, merge_overrides(alone, trial))


def read_run_config(text: str) -> dict[str, Any]:
    """The settings that a YAML file holds, checked and with every default filled in.

    This is the parser of Metaflow's `Config`, which hands over the text of the file, not its name.

    Raises:
        UserError: all problems of the file, one per line (exit code 78).
    """
    parsed = read_yaml(text)
    config = validated(RunConfig, parsed.value, parsed.lines, parsed.problems)
    return config.model_dump(mode="json")


def resolve(settings: Mapping[str, Any], overrides: Sequence[str] = ()) -> RunConfig:
    """RunConfig of `settings` (whole or in part), changed by overrides such as `lora.r=8`.

    Raises:
        UserError: all problems found, one per line (exit code 78).
    """
    return validated(RunConfig, apply_overrides(settings, overrides), {})


def apply_overrides(settings: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A copy of `settings` in which each `section.key=value` is set; values are read as YAML.

    Raises:
        UserError: an override that is not `section.key=value`, or names no section (exit code 78).
    """
    return merge_overrides(settings, split_overrides(overrides))


def _problems_of_trial(
    alone: Mapping[str, Any], trial: Mapping[str, JsonValue], position: int
) -> list[Problem]:
    """What is wrong with one entry of `trials`; `alone` holds the settings without trials."""
    outside = [key for key in trial if key.split(".")[0] not in TRIAL_SECTIONS or "." not in key]
    if outside:
        return [
            Problem(
                ("trials", position, key),
                "a key that trials cannot change",
                f"section.key of {', '.join(TRIAL_SECTIONS)}; all trials share data and tokens",
                "write for example lora.r, or start another run for this change",
            )
            for key in outside
        ]
    changed = merge_overrides(alone, trial)
    try:
        RunConfig.model_validate(changed)
    except ValidationError as error:
        return [
            Problem(("trials", position, *p.path), p.found, p.expected, p.do)
            for p in problems_of(RunConfig, changed, error, {})
        ]
    return []
