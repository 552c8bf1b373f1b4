"""What the registry refuses, as types that callers catch."""

from collections.abc import Sequence

from packages.cloud.src.exit_codes import (
    EX_CANTCREAT,
    EX_DATAERR,
    EX_NOINPUT,
    UserError,
)


class VersionExists(UserError):
    """The label is taken by other content. Labels are written once, for ever."""

    def __init__(self, message: str, exit_code: int = EX_CANTCREAT) -> None:
        super().__init__(message, exit_code)


class VersionMissing(UserError):
    """No such version was ever committed."""

    def __init__(self, message: str, exit_code: int = EX_NOINPUT) -> None:
        super().__init__(message, exit_code)


class AliasMissing(UserError):
    """Nothing was ever promoted under this name."""

    def __init__(self, message: str, exit_code: int = EX_NOINPUT) -> None:
        super().__init__(message, exit_code)


class VersionYanked(UserError):
    """The version was withdrawn, and an alias or a promotion leads to it."""

    def __init__(self, message: str, exit_code: int = EX_DATAERR) -> None:
        super().__init__(message, exit_code)


class RegistryDamaged(UserError):
    """Stored bytes are not what was committed. Never loaded; `repair` may help."""

    def __init__(self, message: str, exit_code: int = EX_DATAERR) -> None:
        super().__init__(message, exit_code)


class ManifestRefused(UserError):
    """A manifest, or the lineage for one, is incomplete or hostile."""

    def __init__(self, message: str, exit_code: int = EX_DATAERR) -> None:
        super().__init__(message, exit_code)


class LoadRefused(UserError):
    """An adapter must not be loaded. The message lists every reason."""

    def __init__(self, message: str, exit_code: int = EX_DATAERR) -> None:
        super().__init__(message, exit_code)


def listed(heading: str, problems: Sequence[str], most: int = 20) -> str:
    """A heading and one problem per line, the first `most` of them."""
    lines = [heading, *(f"  {problem}" for problem in problems[:most])]
    if len(problems) > most:
        lines.append(f"  ... and {len(problems) - most:,} more")
    return "\n".join(lines)
