"""What tokenizing produced: hashes and counts, small enough to be an artifact; the tokens themselves are in shards."""

from dataclasses import asdict, dataclass
from typing import Any

from packages.chat_data.src.token_shards import TokenSplit


@dataclass(frozen=True)
class PreviewRow:
    """The first tokens of a row as a person can read them, with its mask."""

    where: str
    tokens: tuple[str, ...]
    scored: tuple[bool, ...]


@dataclass(frozen=True)
class TokenManifest:
    """The token data of one run.

    Args:
        key: of the stored manifest: a hash over everything the tokens depend on.
        format_reason: what the data was read as and why.
        documents: read and valid, before duplicates were dropped.
        characters: of those documents.
        bytes_read: stored size of the source.
        duplicates_dropped: second and later of equal documents.
        left_out: by max_documents.
        rejected: refused rows by code, when the policy is to quarantine.
        notices: changes and oddities by code (`problems.NOTICES`).
        over_length: documents longer than max_tokens, by what became of them.
        histogram: (most tokens, rows) by powers of two, over all splits.
        preview: three training rows.
    """

    key: str
    train: TokenSplit
    validation: TokenSplit
    hold_out: TokenSplit
    data_sha256: str
    tokenizer_sha256: str
    template_sha256: str
    options_sha256: str
    format_reason: str
    documents: int
    characters: int
    bytes_read: int
    duplicates_dropped: int
    left_out: int
    rejected: tuple[tuple[str, int], ...]
    notices: tuple[tuple[str, int], ...]
    over_length: tuple[tuple[str, int], ...]
    histogram: tuple[tuple[int, int], ...]
    preview: tuple[PreviewRow, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TokenManifest":
        """The inverse of `to_dict`, also after a way through JSON."""
        pairs = ("rejected", "notices", "over_length", "histogram")
        fields = dict(values)
        for name in ("train", "validation", "hold_out"):
            split = fields[name]
            fields[name] = TokenSplit(**{**split, "shards": tuple(split["shards"])})
        for name in pairs:
            fields[name] = tuple((pair[0], pair[1]) for pair in fields[name])
        fields["preview"] = tuple(
            PreviewRow(row["where"], tuple(row["tokens"]), tuple(row["scored"]))
            for row in fields["preview"]
        )
        return cls(**fields)
