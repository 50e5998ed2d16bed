"""What every command has: where NATS is, which namespace, how to print. Made by the global options.

Nothing heavy is imported before a command connects: the start-up time of `nexthos ls` is one of the
project's figures.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from nexthos_cli.output.printing import echo
from nexthos_shared.names import DEFAULT_NAMESPACE, Names
from nexthos_shared.printable import printable
from nexthos_shared.process.lightly import import_lightly

if TYPE_CHECKING:
    from nexthos_shared.nats.connection import ConnectOptions, Link
    from nexthos_shared.store import Store

T = TypeVar("T")
WAIT = 60.0  # seconds that --wait and `wait` allow


@dataclass
class App:
    """The global options, and what follows from them."""

    connection: dict[str, str] = field(default_factory=dict)  # as `nats.options.resolve` takes it
    namespace: str = DEFAULT_NAMESPACE
    timeout: float | None = None  # seconds; None: the command's own default
    quiet: bool = False
    format: str = "table"

    @property
    def names(self) -> Names:
        """The names of the namespace."""
        return Names(self.namespace)

    @property
    def patience(self) -> float:
        """Seconds that waiting may take."""
        return WAIT if self.timeout is None else self.timeout

    @property
    def structured(self) -> bool:
        """Whether stdout belongs to programs: JSON, YAML or names."""
        return self.format in ("json", "yaml", "name")

    def options(self) -> ConnectOptions:
        """How NATS is reached. Raises SettingsError."""
        import_lightly()
        from nexthos_shared.nats.connection import resolve

        flags: dict[str, str | None] = {**self.connection}
        server, context = flags.pop("server", None), flags.pop("context", None)
        return resolve(server=server, context=context, environ=os.environ, **flags)

    @asynccontextmanager
    async def link(self) -> AsyncIterator[Link]:
        """A connection. Raises StoreUnavailable, NotPermitted, SettingsError."""
        options = self.options()
        _quiet_logs(self.quiet or self.format == "json")
        from nexthos_shared.nats.connection import connect

        async with connect(options, name="nexthos", daemon=False, within=self.timeout) as link:
            yield link

    @asynccontextmanager
    async def store(self) -> AsyncIterator[Store]:
        """The namespace's store. Raises StoreMissing if there is none, and what `link` raises."""
        async with self.link() as link:
            from nexthos_shared.store import Store

            yield await Store.open(link, self.names, create=False)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a command's work to its end."""
        return asyncio.run(work)

    def say(self, text: str) -> None:
        """Tell what was done; stdout, for people only."""
        if not self.quiet and not self.structured:
            echo(text)

    def note(self, text: str) -> None:
        """Tell what is worth knowing besides the result; stderr, which with JSON is for errors alone."""
        if not self.quiet and self.format != "json":
            echo(text, err=True)


def _quiet_logs(quiet: bool) -> None:
    """What the libraries log is for daemons; people see warnings as lines on stderr."""
    import logging

    import structlog

    def line(_: object, __: str, event: structlog.typing.EventDict) -> str:
        level, words = event.pop("level", "warning"), event.pop("event", "")
        details = " ".join(f"{k}={v}" for k, v in event.items() if v is not None)
        return printable(f"{level}: {words} {details}".rstrip())

    structlog.configure(
        processors=[structlog.processors.add_log_level, line],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.CRITICAL if quiet else logging.WARNING
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
