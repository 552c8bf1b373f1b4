"""The sections of RunConfig that decide what is learned: keys, ranges, units, sources."""

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from packages.qwen_ft.src.config_problems import Problem, ProblemsFound
from packages.qwen_ft.src.config_schema import Frozen

Dtype = Literal["auto", "bfloat16", "float16", "float32"]
Share = Annotated[float, Field(gt=0, lt=0.5)]


def is_folder(name: str) -> bool:
    """Whether a model or data name is written as a path, as hub ids and addresses never are."""
    return name.startswith(("/", "./", "../", "~"))


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
        json_schema_extra={
            "expects": "null or a commit of 40 hexadecimal digits, small letters",
            "hint": "a branch such as main moves: write a commit, or null to have it looked up",
        },
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
        json_schema_extra={
            "expects": "auto, cpu, or one card such as cuda:0",
            "hint": "write auto",
        },
        description="`auto` (the GPU where there is one), `cpu`, or one card: `cuda:0`.",
    )
    attn_implementation: Literal["auto", "sdpa", "eager", "flash_attention_2"] = Field(
        default="auto",
        description="Attention kernel. `auto`: the fastest that is installed.",
    )

    @model_validator(mode="after")
    def load_nothing_unsafe(self) -> "ModelSettings":
        problems = []
        if "://" in self.name and not self.name.startswith("starter://"):
            bare = self.name.removeprefix("https://huggingface.co/").removeprefix(
                "hf://"
            )
            problems.append(
                Problem(
                    ("name",),
                    f'the address "{self.name}"',
                    "starter://tiny-qwen2, a folder, or a hub id (org/name)",
                    (
                        f"write {bare}"
                        if bare != self.name
                        else "download it, and name the folder"
                    ),
                )
            )
        if (
            self.trust_remote_code
            and self.revision is None
            and not is_folder(self.name)
        ):
            problems.append(
                Problem(
                    ("trust_remote_code",),
                    "true without model.revision",
                    "a commit that you have read, because its Python code will run here",
                    "pin model.revision to that commit, or write false: Qwen2.5 needs no code",
                )
            )
        if self.torch_dtype == "float16" and not self.allow_float16:
            problems.append(
                Problem(
                    ("torch_dtype",),
                    "float16",
                    "a format that holds Qwen2.5's activations, which pass 65,504",
                    "write bfloat16 (or float32), or set model.allow_float16: true to try",
                )
            )
        if problems:
            raise ProblemsFound(*problems)
        return self


class DataSettings(Frozen):
    """Which documents are learned from, and how they become tokens."""

    source: str = Field(
        default="starter://python-docs",
        min_length=1,
        description="`starter://python-docs`, a file, a folder, a glob, `s3://bucket/prefix`, or a "
        "hub data set such as `org/name`.",
    )
    format: Literal[
        "auto",
        "messages",
        "sharegpt",
        "alpaca",
        "prompt_completion",
        "question_answer",
        "text",
    ] = Field(
        default="auto",
        description="What the rows of JSON, CSV and Parquet files hold. `auto`: by their fields.",
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
    on_bad_row: Literal["fail", "quarantine"] = Field(
        default="fail",
        description="What a row that cannot be used does: stop the run, or go to "
        "`rejected.jsonl` in the working folder (at most 1 % of the rows).",
    )
    control_tokens: Literal["reject", "escape"] = Field(
        default="reject",
        description="What text such as `<|im_end|>` inside a document does: stop the run, or stay "
        "plain text that never becomes a control token.",
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
            tuple[Annotated[str, Field(min_length=1)], ...],
            Field(strict=False, min_length=1),
        ]
        | Annotated[str, Field(min_length=1)]
    ) = Field(
        default=("q_proj", "k_proj", "v_proj", "o_proj"),
        json_schema_extra={
            "expects": "a list of module names, one regular expression, or all-linear",
            "hint": "write for example [q_proj, k_proj, v_proj, o_proj]",
        },
        description="List of module names, one regular expression over full names, or "
        "`all-linear`. The default is the attention block; `all-linear` learns more and costs more "
        "(QLoRA paper, section 4: adapters on all layers match full fine-tuning).",
    )
    use_rslora: bool = Field(
        default=False,
        description="Scale by lora_alpha / sqrt(r) instead (arXiv 2312.03732).",
    )
    use_dora: bool = Field(
        default=False,
        description="Learn the magnitude of each weight apart (arXiv 2402.09353). Slower.",
    )

    @model_validator(mode="after")
    def compile_the_expression(self) -> "LoraSettings":
        if not isinstance(self.target_modules, str):
            return self
        try:
            re.compile(self.target_modules)
        except re.error as error:
            raise ProblemsFound(
                Problem(
                    ("target_modules",),
                    f'"{self.target_modules}", which is no regular expression: {error}',
                    "a list of names, one regular expression over full names, or all-linear",
                    "write for example [q_proj, v_proj]",
                )
            ) from error
        return self


class QuantizationSettings(Frozen):
    """How the base weights lie in memory. Defaults: QLoRA (arXiv 2305.14314, section 3)."""

    load_in_4bit: bool = Field(
        default=True,
        description="Hold the base weights in 4 bits. A quarter of bfloat16's memory.",
    )
    bnb_4bit_quant_type: Literal["nf4", "fp4"] = Field(
        default="nf4", description="4-bit number format: NormalFloat or plain float."
    )
    bnb_4bit_use_double_quant: bool = Field(
        default=True,
        description="Quantise the scales too. Saves about 0.4 bit per weight.",
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
        default=8,
        ge=1,
        le=4096,
        description="Documents per forward pass. transformers' default.",
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
    lr_scheduler_type: Literal[
        "linear", "cosine", "constant", "constant_with_warmup"
    ] = Field(
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
        default="adamw_torch",
        description="Optimizer. Those with `8bit` or `paged` need a GPU.",
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
    save_steps: int = Field(
        default=50, ge=1, description="Steps between two checkpoints."
    )
    seed: int = Field(
        default=0,
        ge=0,
        lt=2**32,
        description="Order of the documents, first adapter, dropout.",
    )
    gradient_checkpointing: bool = Field(
        default=False,
        description="Recompute activations: less memory, about a third slower.",
    )
    auto_find_batch_size: bool = Field(
        default=False,
        description="Halve the batch when memory runs out, double the accumulation.",
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
