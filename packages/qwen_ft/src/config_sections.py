"""The sections of RunConfig: each key with its range, its unit and where its default comes from."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from packages.qwen_ft.src.config_problems import Problem, ProblemsFound

Dtype = Literal["auto", "bfloat16", "float16", "float32"]
Share = Annotated[float, Field(gt=0, lt=0.5)]


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class ModelSettings(Frozen):
    """The base model, which stays as it is; only the adapter learns."""

    name: str = Field(
        default="starter://tiny-qwen2",
        min_length=1,
        description="`starter://tiny-qwen2` (comes with the code), a folder, or a hub id such as "
        "`Qwen/Qwen2.5-0.5B`.",
    )
    revision: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{40}$",
        description="Commit of the base weights on the hub, 40 hexadecimal digits. `null`: the "
        "commit that the hub names at the start of the run, which is then recorded.",
    )
    trust_remote_code: bool = Field(
        default=False,
        description="Run Python code that the model repository brings. Needs `revision`; Qwen2.5 "
        "does not need it.",
    )
    torch_dtype: Dtype = Field(
        default="auto",
        description="Number format of the base weights. `auto`: as stored in the checkpoint.",
    )
    allow_float16: bool = Field(
        default=False,
        description="Permit `float16`. Off, because activations of Qwen2.5 pass 65,504, the "
        "largest float16, and become inf.",
    )
    device_map: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="`auto` (the GPU where there is one), `cpu`, or one card: `cuda:0`.",
    )
    attn_implementation: Literal["auto", "sdpa", "eager", "flash_attention_2"] = Field(
        default="auto",
        description="Attention kernel. `auto`: the fastest that is installed.",
    )


class DataSettings(Frozen):
    """Which documents are learned from, and how they become tokens."""

    source: str = Field(
        default="starter://python-docs",
        min_length=1,
        description="`starter://python-docs`, a file, a folder, a glob, `s3://bucket/prefix`, or a "
        "hub data set such as `org/name`.",
    )
    format: Literal["auto", "text", "jsonl", "json", "csv", "parquet"] = Field(
        default="auto",
        description="How the files are read. `auto`: by the end of each file's name.",
    )
    validation_share: Share = Field(
        default=0.1,
        description="Share of the documents that chooses between trials and draws the curve.",
    )
    hold_out_share: Share = Field(
        default=0.1,
        description="Share of the documents that only `evaluate` reads, once.",
    )
    split_seed: int = Field(
        default=0,
        ge=0,
        lt=2**32,
        description="Which documents go to which split; not `training.seed`.",
    )
    max_tokens: int = Field(
        default=512,
        ge=8,
        le=131_072,
        description="Longest document, in tokens. 131,072 is the longest context of Qwen2.5.",
    )
    over_length: Literal["truncate", "drop", "fail", "chunk"] = Field(
        default="chunk",
        description="What happens to a longer document: cut at the end, left out, stop the run, or "
        "split into pieces of `max_tokens`.",
    )
    train_on_prompt: bool = Field(
        default=False,
        description="Also learn the user's turns. Off: only the assistant's tokens are scored.",
    )
    system_message: str | None = Field(
        default=None,
        description="System turn put before each conversation that has none. `null`: what the "
        "chat template does by itself.",
    )
    max_documents: int | None = Field(
        default=None, ge=3, description="Read at most this many documents. `null`: all."
    )

    @model_validator(mode="after")
    def leave_something_to_train_on(self) -> "DataSettings":
        if self.validation_share + self.hold_out_share > 0.5:
            raise ProblemsFound(
                Problem(
                    ("validation_share",),
                    f"validation_share {self.validation_share:g} + hold_out_share "
                    f"{self.hold_out_share:g} = {self.validation_share + self.hold_out_share:g}",
                    "at most 0.5 together, so that half of the documents are left to train on",
                    "make one of the two smaller, for example 0.1 and 0.1",
                )
            )
        return self


class LoraSettings(Frozen):
    """The adapter: W + lora_alpha / r · B A on each target (arXiv 2106.09685, section 4.1)."""

    r: int = Field(
        default=16,
        ge=1,
        le=1024,
        description="Rank: inner width of both LoRA matrices. House choice.",
    )
    lora_alpha: int = Field(
        default=32,
        ge=1,
        le=4096,
        description="The update is scaled by lora_alpha / r. House choice: 2 r.",
    )
    lora_dropout: float = Field(
        default=0.05,
        ge=0,
        lt=1,
        description="Share of the adapter's inputs set to zero while training. 0.05: QLoRA paper "
        "(arXiv 2305.14314), appendix B, for its larger models.",
    )
    target_modules: (
        Annotated[
            tuple[Annotated[str, Field(min_length=1)], ...], Field(strict=False, min_length=1)
        ]
        | Annotated[str, Field(min_length=1)]
    ) = Field(
        default="all-linear",
        description="List of module names, one regular expression over full names, or "
        "`all-linear` (QLoRA paper, section 4: adapters on all layers match full fine-tuning).",
    )
    use_rslora: bool = Field(
        default=False, description="Scale by lora_alpha / sqrt(r) instead (arXiv 2312.03732)."
    )
    use_dora: bool = Field(
        default=False,
        description="Learn the magnitude of each weight apart (arXiv 2402.09353). Slower.",
    )


class QuantizationSettings(Frozen):
    """How the base weights lie in memory. Defaults: QLoRA (arXiv 2305.14314, section 3)."""

    load_in_4bit: bool = Field(
        default=True, description="Hold the base weights in 4 bits. A quarter of bfloat16's memory."
    )
    bnb_4bit_quant_type: Literal["nf4", "fp4"] = Field(
        default="nf4", description="4-bit number format: NormalFloat or plain float."
    )
    bnb_4bit_use_double_quant: bool = Field(
        default=True, description="Quantise the scales too. Saves about 0.4 bit per weight."
    )
    bnb_4bit_compute_dtype: Literal["bfloat16", "float16", "float32"] = Field(
        default="bfloat16", description="Number format of the matrix products."
    )


class TrainingSettings(Frozen):
    """How the adapter learns: the keys of `transformers.TrainingArguments`."""

    num_train_epochs: float = Field(
        default=3.0,
        gt=0,
        le=1000,
        description="Passes over the training split. transformers' default.",
    )
    max_steps: int = Field(
        default=-1,
        ge=-1,
        le=10_000_000,
        description="Stop after this many optimizer steps; -1: `num_train_epochs` decides.",
    )
    per_device_train_batch_size: int = Field(
        default=8, ge=1, le=4096, description="Documents per forward pass. transformers' default."
    )
    gradient_accumulation_steps: int = Field(
        default=1, ge=1, le=4096, description="Forward passes per optimizer step."
    )
    learning_rate: float = Field(
        default=2e-4,
        gt=0,
        le=0.1,
        description="Peak step size of the optimizer. 2e-4: QLoRA paper, table 9, 7B and 13B.",
    )
    lr_scheduler_type: Literal["linear", "cosine", "constant", "constant_with_warmup"] = Field(
        default="cosine", description="How the learning rate falls after the warm-up."
    )
    warmup_ratio: float = Field(
        default=0.03,
        ge=0,
        lt=1,
        description="Share of the steps in which the learning rate rises. 0.03: QLoRA's scripts.",
    )
    weight_decay: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Decoupled weight decay of AdamW. transformers' default.",
    )
    optim: Literal[
        "adamw_torch",
        "adamw_torch_fused",
        "adamw_bnb_8bit",
        "paged_adamw_8bit",
        "paged_adamw_32bit",
    ] = Field(
        default="adamw_torch", description="Optimizer. Those with `8bit` or `paged` need a GPU."
    )
    max_grad_norm: float = Field(
        default=0.3,
        gt=0,
        le=1000,
        description="Gradients with a longer norm are scaled down to it. 0.3: QLoRA paper.",
    )
    logging_steps: int = Field(
        default=10, ge=1, description="Steps between two points of the train loss."
    )
    eval_steps: int = Field(
        default=50,
        ge=1,
        description="Steps between two exact perplexities of the validation split.",
    )
    save_steps: int = Field(default=50, ge=1, description="Steps between two checkpoints.")
    seed: int = Field(
        default=0, ge=0, lt=2**32, description="Order of the documents, first adapter, dropout."
    )
    gradient_checkpointing: bool = Field(
        default=False, description="Recompute activations: less memory, about a third slower."
    )
    auto_find_batch_size: bool = Field(
        default=False, description="Halve the batch when memory runs out, double the accumulation."
    )

    @model_validator(mode="after")
    def measure_at_least_once(self) -> "TrainingSettings":
        if 0 <= self.max_steps < 1:
            raise ProblemsFound(
                Problem(
                    ("max_steps",),
                    "0 optimizer steps",
                    "-1 or at least 1",
                    "remove the key, or write -1",
                )
            )
        if 0 < self.max_steps < self.eval_steps:
            raise ProblemsFound(
                Problem(
                    ("eval_steps",),
                    f"eval_steps {self.eval_steps} in a run of max_steps {self.max_steps}",
                    "at least one evaluation inside the run",
                    f"set eval_steps to {max(1, self.max_steps // 4)}, or raise max_steps",
                )
            )
        return self


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
        tuple[Annotated[str, Field(min_length=1)], ...], Field(strict=False, max_length=50)
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
    seed: int = Field(default=0, ge=0, lt=2**32, description="Seed of the bootstrap draws.")
    min_documents: int = Field(
        default=10, ge=2, description="Fewer hold-out documents than this decide nothing."
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
        description="Name of the adapter; its versions are `<name>/v1.0`, `<name>/v1.1`, ...",
    )


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
