"""Which window scores which token of a long document: each token once, with as much context as fits."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Window:
    """The model reads tokens [begin, end) and only [first_scored, end) count."""

    begin: int
    end: int
    first_scored: int


def rolling_windows(
    n_tokens: int, window_tokens: int, stride_tokens: int
) -> tuple[Window, ...]:
    """The windows of one document, in order; together they score tokens 1 .. n_tokens - 1 once each.

    The first token has nothing before it and is never scored. A document that fits is one window.
    In a longer one each scored token outside the first window sees at least
    `window_tokens - stride_tokens` tokens before it; the last window is moved back so that it is
    full.

    Raises:
        ValueError: a window of fewer than 2 tokens, or a stride outside 1 .. window_tokens - 1.
    """
    if window_tokens < 2:
        raise ValueError(
            f"window_tokens is {window_tokens}; a window needs 2 tokens, one to read and one to "
            "score. Use the context length of the model."
        )
    if stride_tokens < 1:
        raise ValueError(
            f"stride_tokens is {stride_tokens}; windows must move. Use at least 1."
        )
    # A full window as stride would leave the first token of each further window without context.
    step = min(stride_tokens, window_tokens - 1)
    windows: list[Window] = []
    scored_to = 1
    while scored_to < n_tokens:
        end = min(n_tokens, window_tokens if not windows else scored_to + step)
        windows.append(Window(max(0, end - window_tokens), end, scored_to))
        scored_to = end
    return tuple(windows)
