"""`./python -m packages.cli`: see packages/cli/src/main.py."""

from packages.cli.src.main import main

main()
