"""The sections of RunConfig that judge what was learned and keep it."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from packages.qwen_ft.src.config_problems import Problem, ProblemsFound
from packages.qwen_ft.src.config_schema import Frozen


class EvaluationSettings(Frozen):
    """How perplexity is measured. It does not depend on `batch_size`."""

    batch_size: int = Field(
        default=8, ge=1, le=4096, description="Rows per forward pass; speed only."
    )
    window_tokens: int = Field(
        default=512,
        ge=8,
        le=131_072,
        description="Longest text that the model sees at once, in tokens.",
    )
    stride_tokens: int = Field(
        default=256,
        ge=1,
        le=131_072,
        description="How far the window moves over a document that is longer than it, in tokens.",
    )
    validation_documents: int | None = Field(
        default=200,
        ge=1,
        description="Documents of the validation split behind each point of the curve: the first "
        "of a fixed order. `null`: all.",
    )
    sample_documents: int = Field(
        default=3,
        ge=0,
        le=50,
        description="Hold-out prompts answered by base and tuned model, for the card.",
    )
    sample_prompts: Annotated[
        tuple[Annotated[str, Field(min_length=1)], ...],
        Field(strict=False, max_length=50),
    ] = Field(default=(), description="More prompts to answer, in your own words.")
    sample_tokens: int = Field(
        default=64, ge=1, le=4096, description="Longest sample answer, in tokens."
    )
    sample_temperature: float = Field(
        default=0.0,
        ge=0,
        le=2,
        description="0: always the likeliest token, so that samples can be repeated.",
    )

    @model_validator(mode="after")
    def move_less_than_a_window(self) -> "EvaluationSettings":
        if self.stride_tokens > self.window_tokens:
            raise ProblemsFound(
                Problem(
                    ("stride_tokens",),
                    f"stride_tokens {self.stride_tokens} over window_tokens {self.window_tokens}",
                    "a stride no longer than the window, or tokens between two windows go unscored",
                    f"set stride_tokens to {self.window_tokens // 2}, half a window",
                )
            )
        return self


class GateSettings(Frozen):
    """What an adapter must show before it is registered."""

    max_perplexity: float | None = Field(
        default=None,
        gt=1,
        description="The tuned hold-out perplexity must be below this. `null`: no absolute limit.",
    )
    confidence: float = Field(
        default=0.95,
        ge=0.5,
        lt=1,
        description="Level of the bootstrap interval; its upper end must clear each limit.",
    )
    max_regression: float = Field(
        default=0.02,
        ge=0,
        le=1,
        description="How much worse than the version in production the perplexity may be, as a "
        "share of it, on the same documents.",
    )
    resamples: int = Field(
        default=10_000,
        ge=1000,
        le=1_000_000,
        description="Bootstrap draws. Fewer: a coarser interval.",
    )
    seed: int = Field(
        default=0, ge=0, lt=2**32, description="Seed of the bootstrap draws."
    )
    min_documents: int = Field(
        default=10,
        ge=2,
        description="Fewer hold-out documents than this decide nothing.",
    )


class RegistrySettings(Frozen):
    """Where accepted adapters are kept."""

    uri: str = Field(
        default="registry",
        min_length=1,
        description="A folder, or `s3://bucket/prefix`.",
    )
    name: str = Field(
        default="tiny-qwen2-lora",
        pattern=r"^[a-z0-9][a-z0-9._-]{0,62}[a-z0-9]$",
        json_schema_extra={
            "expects": "2 to 63 small letters, digits, dots, dashes or underscores",
            "hint": "write for example qwen-0.5b-lora; the version is added by the registry",
        },
        description="Name of the adapter; its versions are `<name>/v1.0`, `<name>/v1.1`, ...",
    )

    @model_validator(mode="after")
    def know_the_store(self) -> "RegistrySettings":
        scheme, _, rest = self.uri.rpartition("://")
        if scheme not in ("", "s3", "file") or not rest:
            raise ProblemsFound(
                Problem(
                    ("uri",),
                    f'"{self.uri}"',
                    "a folder, or s3://bucket/prefix",
                    "write for example registry, or s3://qwen-model-registry",
                )
            )
        return self


class LoggingSettings(Frozen):
    """What the run says while it works. Does not change the result."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="Least important message that is shown."
    )
    file: str | None = Field(
        default=None,
        min_length=1,
        description="Also append the messages to this file. `null`: do not.",
    )
