"""Exit codes of sysexits(3), and the one exception that carries one."""

EX_USAGE = 64
EX_DATAERR = 65
EX_NOINPUT = 66
EX_UNAVAILABLE = 69
EX_CANTCREAT = 73
EX_TEMPFAIL = 75
EX_NOPERM = 77
EX_CONFIG = 78


class UserError(Exception):
    """Something the user can put right. Shown as its message alone, never with a traceback.

    Args:
        message: what was found, what was expected, what to do. May span lines.
        exit_code: what the process ends with, one of the constants of this module.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code

    def __reduce__(self) -> tuple[type["UserError"], tuple[str, int]]:
        return (type(self), (self.message, self.exit_code))
