"""`nexthos-controller run`: the process that keeps what runs equal to what is stored."""

from __future__ import annotations

import asyncio
import importlib
import resource
import signal
import sys
from contextlib import suppress
from typing import NoReturn

import click

from nexthos_controller.lifecycle import gc as garbage
from nexthos_shared.errors import NexthosError, SettingsError
from nexthos_shared.printable import printable
from nexthos_shared.process.last_resorts import clean_last_resorts
from nexthos_shared.process.lightly import import_lightly
from nexthos_shared.process.stdio import enduring_streams

BOOT = 10.0  # seconds until a controller acts, or stands by


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="nexthos-controller", prog_name="nexthos-controller")
def main() -> None:
    """Keeps running pipelines equal to what is stored in NATS.

    Settings are environment variables (NATS_URL, NATS_CONTEXT, NATS_CREDS, ... as for the `nats`
    CLI; NEXTHOS_NAMESPACE, NEXTHOS_EXECUTOR, NEXTHOS_STATE_DIR, NEXTHOS_HTTP, NEXTHOS_ENGINE,
    NEXTHOS_LOG_FORMAT, NEXTHOS_LOG_LEVEL) over a YAML file named by NEXTHOS_CONFIG.
    """


@main.command()
def run() -> None:
    """Run until SIGTERM, SIGINT or SIGHUP; what runs is left running. Exit codes: 0, 1 failed, 2 settings."""
    garbage.put_off()
    clean_last_resorts()
    with enduring_streams():
        _run_and_report()


def _run_and_report() -> None:
    import_lightly()
    import structlog

    from nexthos_controller.runtime.hardening import close_to_others
    from nexthos_controller.runtime.logs import configure_logs
    from nexthos_controller.settings import load_settings

    close_to_others()
    try:
        settings, warnings = load_settings()
        configure_logs(settings.log_format, settings.log_level)
        for warning in warnings:
            structlog.get_logger(__name__).warning("settings", message=warning)
        asyncio.run(_run(settings))
    except SettingsError as error:
        _fail(f"error: {error}", 2)
    except NexthosError as error:
        _fail(f"error: {error} ({error.problem.reason})", 1)
    except KeyboardInterrupt:
        sys.exit(130)


def _fail(words: str, code: int) -> NoReturn:
    click.echo(printable(words), err=True)  # noqa: TID251
    sys.exit(code)


def _allow_many_files() -> None:
    """An engine costs two descriptors here, and the usual soft limit is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _run(settings: object) -> None:
    import structlog

    from nexthos_controller.runtime.hardening import become_able, forget_secrets, risks_of
    from nexthos_controller.runtime.identity import ask_identity
    from nexthos_controller.settings import Settings
    from nexthos_shared.nats.connection import resolve
    from nexthos_shared.process.engine_user import engine_users_of

    assert isinstance(settings, Settings)
    _allow_many_files()
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None

    def hang_up() -> None:  # a closed terminal may say so more than once
        if not task.cancelling():
            task.cancel()

    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as `nohup` has it
        loop.add_signal_handler(signal.SIGHUP, hang_up)
    for number in (signal.SIGTERM, signal.SIGINT):
        # Also while NATS is still waited for; a second signal cuts the clean-up short.
        loop.add_signal_handler(number, task.cancel)
    try:
        options = resolve()
        forget_secrets()
        become_able(engine_users_of(settings.engine_user))
        for risk in risks_of(settings, options):
            structlog.get_logger(__name__).warning(
                "settings", message=risk.message, reason=risk.reason
            )
        identity = asyncio.create_task(ask_identity(settings, options))
        try:
            # In a thread: the engine is started and answers in the 0.1 s that this takes.
            await asyncio.to_thread(importlib.import_module, "nexthos_controller.lifecycle.app")
            from nexthos_controller.lifecycle.app import running_controller

            async with running_controller(settings, options, identity=identity) as running:
                with suppress(TimeoutError):
                    async with asyncio.timeout(BOOT):
                        await running.leading()
                garbage.take_up()
                await running.ended()
        finally:
            identity.cancel()
            await asyncio.gather(identity, return_exceptions=True)
    except asyncio.CancelledError:
        structlog.get_logger(__name__).info("ended by a signal")


if __name__ == "__main__":
    main()
