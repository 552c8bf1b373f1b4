"""What `evaluate` found out: the base and the tuned model on the same hold-out documents."""

from dataclasses import dataclass

# How perplexity is counted; part of every report, since a number without it means little.
CONVENTION = (
    "exp(summed NLL / scored tokens) over the tokens that the loss mask marks; the first token of "
    "a document is never scored, no token is put before it, documents never see each other"
)


@dataclass(frozen=True, slots=True)
class ModelScore:
    """One model on the hold-out split.

    Args:
        perplexity: exact, over all scored tokens.
        bits_per_byte: the same nats per UTF-8 byte of the scored text, in bits.
        loss: nats per scored token, ln(perplexity).
        nll_by_document: summed nats of each document, in the order of the split.
    """

    perplexity: float
    bits_per_byte: float
    loss: float
    nll_by_document: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What one model wrote after a prompt; `stopped` if it ended by itself."""

    text: str
    stopped: bool
    tokens: int


@dataclass(frozen=True, slots=True)
class Sample:
    """A prompt with the answers of both models. `reference` is empty for prompts of the config."""

    prompt: str
    reference: str
    base: Answer
    tuned: Answer


@dataclass(frozen=True, slots=True)
class EvaluationReport:
    """Base and tuned model on the same tokens.

    Args:
        document_keys: identity of each hold-out document, the same in every run that has it.
        tokens_by_document: scored tokens, the same for both models.
        runtime_s: of scoring both models, loading and samples not counted.
        precision: number formats while scoring, for people.
        data_sha256: of the data that the hold-out documents come from.
        adapter_sha256: of the adapter that was measured.
    """

    base: ModelScore
    tuned: ModelScore
    document_keys: tuple[str, ...]
    tokens_by_document: tuple[int, ...]
    scored_tokens: int
    scored_bytes: int
    runtime_s: float
    window_tokens: int
    stride_tokens: int
    precision: str
    data_sha256: str
    adapter_sha256: str
    samples: tuple[Sample, ...] = ()
    convention: str = CONVENTION

    def metrics(self) -> dict[str, float]:
        """The headline numbers under the names that readers of a run expect."""
        return {
            "perplexity": self.tuned.perplexity,
            "base_perplexity": self.base.perplexity,
            "perplexity_ratio": self.tuned.perplexity / self.base.perplexity,
            "loss": self.tuned.loss,
            "bits_per_byte": self.tuned.bits_per_byte,
            "base_bits_per_byte": self.base.bits_per_byte,
            "documents": float(len(self.document_keys)),
            "scored_tokens": float(self.scored_tokens),
            "runtime_s": self.runtime_s,
        }
