"""What stands on the command line: --help, --version, or a mistake. The runner listens to its environment."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.metadata import version
from typing import NoReturn

from nexthos_runner.settings import VARIABLES
from nexthos_shared.exit_codes import SENTENCES, Exit

_EXAMPLE = """\
example:
  NATS_URL=nats://127.0.0.1:4222 NEXTHOS_PIPELINE=orders NEXTHOS_VERSION=3 nexthos-runner
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(
            Exit.USAGE, f"{self.prog}: {message}; it takes its settings from the environment\n"
        )


def answer(argv: Sequence[str]) -> int:
    """Print what was asked for. Raises SystemExit."""
    parser = _Parser(
        prog="nexthos-runner",
        description="Fetch a pipeline's configuration from NATS and become the engine that runs it.",
        epilog=f"{_table()}\n{_EXAMPLE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=version("nexthos-runner"))
    parser.parse_args(argv)
    return Exit.USAGE


def _table() -> str:
    lines = ["variables (default):"]
    lines += [f"  {name:23} {meaning} ({default})" for name, default, meaning in VARIABLES]
    lines += ["", "exit codes, besides the engine's own 0, 1 and 128+signal:"]
    lines += [f"  {code:<4d} {sentence}" for code, sentence in SENTENCES.items()]
    return "\n".join([*lines, ""])
