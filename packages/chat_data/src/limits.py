"""How much of a source is read at most, and what happens to rows that cannot be used."""

from dataclasses import dataclass, field

MIB, GIB = 2**20, 2**30


@dataclass(frozen=True)
class ReadLimits:
    """Bounds that no honest data set meets; each stops a broken or hostile file before memory runs out."""

    line_bytes: int = 1 * MIB
    file_bytes: int = 5 * GIB
    expansion_ratio: int = 100
    expanded_bytes: int = 20 * GIB
    json_depth: int = 64
    rows: int = 50_000_000
    keys_per_row: int = 256
    objects: int = 100_000


DEFAULT_PASSAGE_CHARACTERS = 2_000


@dataclass(frozen=True)
class ReadOptions:
    """Everything that decides which documents come out of the same bytes.

    Args:
        format: "auto", or a name of `row_formats.FORMATS`; plain-text files are always plain text.
        on_bad_row: "fail" lists up to 20 problems and stops; "quarantine" writes them to a file and goes on.
        max_bad_fraction: with "quarantine", the share of bad lines that still passes.
        control_tokens: strings that would become control ids; whole tokens of the tokenizer, e.g. <|im_end|>.
        escape_control_tokens: keep such strings as plain text (the tokenizer splits them) instead of D020.
        reject_secrets: refuse private keys and cloud access keys (D092).
        merge_turns: join consecutive turns of one role with an empty line instead of D053.
        passage_characters: plain text is cut into documents of at most this length, at empty lines if it can be;
            None means three times max_tokens, which fits a row of English.
    """

    format: str = "auto"
    on_bad_row: str = "fail"
    max_bad_fraction: float = 0.01
    control_tokens: tuple[str, ...] = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    escape_control_tokens: bool = False
    reject_secrets: bool = True
    merge_turns: bool = False
    passage_characters: int | None = None
    limits: ReadLimits = field(default_factory=ReadLimits)
