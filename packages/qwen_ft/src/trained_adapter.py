"""What a finished training leaves behind: small frozen values, never weights."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of the adapter, kept in the object store as a blob under its sha256."""

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """What was measured at one optimizer step; None where nothing was.

    Args:
        step: optimizer steps done; 0 is before training.
        train_loss: nats per scored token, mean since the previous point with a loss.
        validation_perplexity: exact, over the measured validation documents.
        learning_rate: used for this step.
        grad_norm: before clipping.
        tokens_per_s: input tokens over the time spent in training steps.
    """

    step: int
    train_loss: float | None = None
    validation_perplexity: float | None = None
    learning_rate: float | None = None
    grad_norm: float | None = None
    tokens_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class TrainedAdapter:
    """One trained adapter and how its training went.

    Args:
        files: everything in the adapter's folder, tokenizer and chat template included.
        store_uri: where the blobs of `files` are.
        adapter_sha256: of adapter_model.safetensors.
        trial: overrides that made this trial differ.
        curves: in order of steps, the first before training.
        trainable_parameters, total_parameters: of the adapted model, each weight once.
        first_perplexity, last_perplexity: exact, on the validation documents.
        validation_documents, validation_tokens: measured for those two, in scored tokens.
        steps: optimizer steps done.
        effective_batch: documents per optimizer step.
        weight_bytes: of the base model in memory.
        precision: of the base model, for people.
        notes: settings that could not be honoured here, one sentence each.
    """

    files: tuple[StoredFile, ...]
    store_uri: str
    adapter_sha256: str
    trial: tuple[tuple[str, object], ...]
    curves: tuple[CurvePoint, ...]
    trainable_parameters: int
    total_parameters: int
    first_perplexity: float
    last_perplexity: float
    validation_documents: int
    validation_tokens: int
    steps: int
    epochs: float
    effective_batch: int
    train_tokens: int
    seconds: float
    train_seconds: float
    weight_bytes: int
    precision: str
    notes: tuple[str, ...]
