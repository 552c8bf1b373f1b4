"""The only adapter_config.json that is ever loaded: LoRA, known keys, sane numbers, nothing that names code.

PEFT imports modules that this file names (`auto_mapping`, `megatron_core`) and reads files that it names
(`eva_config`, `loftq_config` ...). So every key of PEFT 0.21.2 is listed here with the values it may have, and
any other key is refused.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from packages.model_registry.src.canonical_json import strict_json

MAX_CONFIG_BYTES = 256 * 1024
MAX_RANK = 1024

ModuleName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.]{1,200}$")]
Rank = Annotated[int, Field(ge=1, le=MAX_RANK)]
Alpha = Annotated[float, Field(gt=0, le=65_536, allow_inf_nan=False)]
Empty = Annotated[dict[str, None], Field(max_length=0)]


class AdapterConfig(BaseModel):
    """LoRA settings as PEFT writes them. A key that is not needed to load plain LoRA may only be off."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    peft_type: Literal["LORA"]
    task_type: Literal["CAUSAL_LM"]
    base_model_name_or_path: str = Field(min_length=1, max_length=500)
    revision: str | None = None
    peft_version: str | None = Field(default=None, max_length=64)
    inference_mode: bool = True

    r: Rank
    lora_alpha: Alpha
    lora_dropout: float = Field(default=0.0, ge=0, lt=1, allow_inf_nan=False)
    target_modules: (
        Annotated[list[ModuleName], Field(min_length=1, max_length=1000)]
        | Annotated[str, Field(pattern=r"^[A-Za-z0-9_.*+?|()\[\]^$\\-]{1,300}$")]
    )
    exclude_modules: Annotated[list[ModuleName], Field(max_length=1000)] | None = None
    rank_pattern: dict[ModuleName, Rank] = {}
    alpha_pattern: dict[ModuleName, Alpha] = {}
    layers_to_transform: list[int] | int | None = None
    layers_pattern: list[ModuleName] | ModuleName | None = None
    use_rslora: bool = False
    use_dora: bool = False
    init_lora_weights: (
        bool | Literal["gaussian", "pissa", "olora", "orthogonal", "eva", "loftq"]
    ) = True

    # Only off: weights besides LoRA, other methods, and everything that names a module or a file.
    fan_in_fan_out: Literal[False] = False
    bias: Literal["none"] = "none"
    lora_bias: Literal[False] = False
    modules_to_save: None = None
    auto_mapping: None = None
    megatron_config: None = None
    megatron_core: Literal["megatron.core"] | None = None
    trainable_token_indices: None = None
    target_parameters: None = None
    layer_replication: None = None
    loftq_config: Empty | None = None
    eva_config: None = None
    corda_config: None = None
    lora_ga_config: None = None
    velora_config: None = None
    monteclora_config: None = None
    arrow_config: None = None
    kasa_config: None = None
    alora_invocation_tokens: None = None
    use_qalora: Literal[False] = False
    qalora_group_size: int = 16
    use_bdlora: Literal[False] | None = None
    ensure_weight_tying: Literal[False] = False

    def rank_of(self, module: str) -> int:
        """The rank that this module's matrices must have; `rank_pattern` may give it one of its own."""
        for pattern, rank in self.rank_pattern.items():
            if module == pattern or module.endswith(f".{pattern}"):
                return rank
        return self.r


def parsed_adapter_config(
    data: bytes, base_name: str, base_revision: str
) -> tuple[AdapterConfig | None, list[str]]:
    """The configuration, if it may be loaded onto this base model, and every reason why not."""
    try:
        strict_json(data, MAX_CONFIG_BYTES)
        config = AdapterConfig.model_validate_json(data)
    except ValidationError as error:
        return None, [
            f"adapter_config.json: {'.'.join(map(str, row['loc'][:2]))}: {row['msg']}"
            f" (found {repr(row['input'])[:60]})"
            for row in error.errors(include_url=False)
        ]
    except ValueError as error:
        return None, [f"adapter_config.json: {error}"]
    problems = []
    if config.base_model_name_or_path != base_name:
        problems.append(
            f"adapter_config.json: base_model_name_or_path is "
            f"{config.base_model_name_or_path!r}, but the manifest says {base_name!r}"
        )
    if config.revision not in (None, base_revision):
        problems.append(
            f"adapter_config.json: revision is {str(config.revision)[:64]!r}, but the "
            f"manifest says {base_revision!r}"
        )
    return config, problems
