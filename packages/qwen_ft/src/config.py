"""RunConfig: everything that decides what one training run produces. Nothing else may."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, JsonValue, ValidationError, model_validator

from packages.qwen_ft.src.config_judging import (
    EvaluationSettings,
    GateSettings,
    LoggingSettings,
    RegistrySettings,
)
from packages.qwen_ft.src.config_learning import (
    DataSettings,
    LoraSettings,
    ModelSettings,
    QuantizationSettings,
    TrainingSettings,
)
from packages.qwen_ft.src.config_problems import (
    Problem,
    ProblemsFound,
    nearest,
    problems_of,
    refuse,
    shown,
    validated,
)
from packages.qwen_ft.src.config_schema import Frozen
from packages.qwen_ft.src.overrides import merge_overrides, split_overrides
from packages.qwen_ft.src.yaml_text import read_yaml

__all__ = [
    "CONFIGS",
    "STARTER_CONFIG",
    "DataSettings",
    "EvaluationSettings",
    "GateSettings",
    "LoggingSettings",
    "LoraSettings",
    "ModelSettings",
    "QuantizationSettings",
    "RegistrySettings",
    "RunConfig",
    "TrainingSettings",
    "apply_overrides",
    "preset_names",
    "read_run_config",
    "resolve",
]

CONFIGS = Path(__file__).parents[1] / "configs"
STARTER_CONFIG = CONFIGS / "starter.yaml"
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
        tuple[dict[str, JsonValue], ...],
        Field(strict=False, min_length=1, max_length=64),
    ] = Field(
        default=({},),
        description="One training per entry, side by side: `{lora.r: 8}` changes that key. Keys of "
        "`lora`, `quantization` and `training` only. The best on the validation split goes on.",
    )
    gate: GateSettings = GateSettings()
    registry: RegistrySettings = RegistrySettings()
    logging: LoggingSettings = LoggingSettings()

    @model_validator(mode="after")
    def fit_together(self) -> "RunConfig":
        problems = []
        if (
            self.quantization.bnb_4bit_compute_dtype == "float16"
            and not self.model.allow_float16
        ):
            problems.append(
                Problem(
                    ("quantization", "bnb_4bit_compute_dtype"),
                    "float16",
                    "a format that holds Qwen2.5's activations, which pass 65,504",
                    "write bfloat16, or set model.allow_float16: true to try",
                )
            )
        if self.evaluation.window_tokens < self.data.max_tokens:
            problems.append(
                Problem(
                    ("evaluation", "window_tokens"),
                    f"window_tokens {self.evaluation.window_tokens} under data.max_tokens "
                    f"{self.data.max_tokens}",
                    "a window that shows the model as much as it was trained on",
                    f"set evaluation.window_tokens to {self.data.max_tokens}",
                )
            )
        if problems:
            raise ProblemsFound(*problems)
        return self

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

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as JSON: equal settings are equal bytes in every process.

        pydantic pickles the set of the given fields in hash order, which differs between processes;
        Metaflow then finds the branches of a foreach in conflict.
        """
        return (RunConfig.model_validate_json, (self.model_dump_json(),))

    def digest(self) -> str:
        """sha256 of the canonical JSON: equal digests mean equal settings."""
        text = json.dumps(
            self.model_dump(mode="json"), sort_keys=True, separators=(",", ":")
        )
        return hashlib.sha256(text.encode()).hexdigest()

    def with_trial(self, trial: Mapping[str, JsonValue]) -> "RunConfig":
        """These settings with one entry of `trials` applied.

        Raises:
            UserError: a key or value of the trial is wrong (exit code 78).
        """
        alone = self.model_dump(mode="json") | {"trials": [{}]}
        return validated(RunConfig, merge_overrides(alone, trial))


def preset_names() -> list[str]:
    """Names of the configurations that come with the code."""
    return sorted(path.stem for path in CONFIGS.glob("*.yaml"))


def read_run_config(text: str) -> dict[str, Any]:
    """The settings that a YAML text holds, checked and with every default filled in.

    This is the parser of Metaflow's `Config`, which hands over the text of the file, not its name.

    Args:
        text: YAML with the sections of `RunConfig`, or the name of a preset alone.

    Raises:
        UserError: all problems of the text, one per line (exit code 78).
    """
    parsed = read_yaml(text)
    if isinstance(parsed.value, str):
        parsed = read_yaml(_preset_text(parsed.value))
    config = validated(RunConfig, parsed.value, parsed.lines, parsed.problems)
    return config.model_dump(mode="json")


def _preset_text(name: str) -> str:
    if name not in preset_names():
        close = nearest(name, preset_names())
        problem = Problem(
            (),
            shown(name),
            f"sections such as `model:`, or a preset: {', '.join(preset_names())}",
            (
                f"did you mean {close}?"
                if close
                else "write one of these names, or `key: value`"
            ),
        )
        refuse([problem])
    return (CONFIGS / f"{name}.yaml").read_text(encoding="utf-8")


def resolve(settings: Mapping[str, Any], overrides: Sequence[str] = ()) -> RunConfig:
    """RunConfig of `settings` (whole or in part), changed by overrides such as `lora.r=8`.

    Raises:
        UserError: all problems found, one per line (exit code 78).
    """
    return validated(RunConfig, apply_overrides(settings, overrides), {})


def apply_overrides(
    settings: Mapping[str, Any], overrides: Sequence[str]
) -> dict[str, Any]:
    """A copy of `settings` in which each `section.key=value` is set; values are read as YAML.

    Raises:
        UserError: an override that is not `section.key=value`, or names no section (exit code 78).
    """
    return merge_overrides(settings, split_overrides(overrides))


def _problems_of_trial(
    alone: Mapping[str, Any], trial: Mapping[str, JsonValue], position: int
) -> list[Problem]:
    """What is wrong with one entry of `trials`; `alone` holds the settings without trials."""
    outside = [
        key
        for key in trial
        if key.split(".")[0] not in TRIAL_SECTIONS or "." not in key
    ]
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
