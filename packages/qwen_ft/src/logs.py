"""One log format for every step: plain lines, on the terminal and, if asked, in a file."""

import logging
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packages.qwen_ft.src.config import LoggingSettings

# Metaflow puts the time and the step before each line that a step prints.
TERMINAL_FORMAT = "%(message)s"
FILE_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def set_up_logging(settings: "LoggingSettings") -> None:
    """Send our messages of `settings.level` and above to stdout and to `settings.file`.

    Libraries speak from WARNING on. Calling it again replaces the former set-up.
    """
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    terminal = logging.StreamHandler(sys.stdout)
    terminal.setFormatter(logging.Formatter(TERMINAL_FORMAT))
    root.addHandler(terminal)
    if settings.file:
        file = logging.FileHandler(settings.file)
        file.setFormatter(logging.Formatter(FILE_FORMAT))
        root.addHandler(file)
    root.setLevel(logging.WARNING)
    logging.getLogger("packages").setLevel(settings.level)
