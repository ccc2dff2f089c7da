"""The command line: which commands there are, and what their ends mean.

Exit codes: 0 fine, 1 failed, invalid or a finding, 2 usage, 3 timed out or stuck, 4 broker unreachable, 5 not seen, 6 COMMAND
failed, 130 interrupted; a broken pipe is 0.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module, metadata
from typing import Final

import click

from aioswap.cli.output import logs, say
from aioswap.errors import TransportError

__all__ = ["run"]

_COMMANDS: Final = {
    "collect": "Keep the history of swaps, without anybody looking.",
    "demo": "Several swaps at once, told and heard, with or without a broker.",
    "dlq": "The dead letters of a pool: list, show, replay, drop.",
    "doctor": "Can anything be received, and if not, why?",
    "emit": "Emit one valid notification of a swap.",
    "outbox": "What services keep on disk: list, show, resend, relay.",
    "record": "Write what is heard to a file.",
    "replay": "Send again what was recorded.",
    "schema": "The JSON Schema of a payload.",
    "serve": "Status over HTTP: a live page, JSON, probes and metrics.",
    "status": "What is known of a swap that was kept.",
    "stuck": "Swaps that have no end and should.",
    "timings": "How long swaps take, host by host.",
    "validate": "Say what a message is, or what is wrong with it.",
    "wait": "Run a command, and wait for the swap that it causes.",
    "watch": "Swaps as they are heard of.",
}
"""Each command is the attribute `command` of the module of its name."""
_WEB: Final = ("starlette", "uvicorn")


class _Commands(click.Group):
    """Loads the module of a command when it is called: `--help` must not wait for the libraries that commands need."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        try:
            command: click.Command = import_module(f"aioswap.cli.{cmd_name}").command
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in _WEB:
                raise
            raise click.UsageError(f"{cmd_name} needs the extra web: pip install 'aioswap[web]'", ctx) from None
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


def _show_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(f"aioswap {metadata.version('aioswap')}")
        ctx.exit()


_application = _Commands(
    name="aioswap",
    help="Nova's volume swap notifications. Data goes to stdout, talk to stderr.",
    params=[
        click.Option(
            ["--version"], is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show the version."
        )
    ],
    context_settings={"help_option_names": ["-h", "--help"]},
)


def run(arguments: Sequence[str], application: click.Command = _application) -> int:
    """Run the command of `application` that `arguments` name, and return its exit code.

    Nothing is raised for what a user may do.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal of another encoding gets escapes
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = _run(arguments, application)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read has seen enough
        _close_stdout()
        return 0
    except OSError as error:  # such as a full disk
        say(f"aioswap: {error}")
        _close_stdout()
        return 1
    return code


def _run(arguments: Sequence[str], application: click.Command) -> int:
    try:
        with logs(), application.make_context("aioswap", list(arguments)) as context:
            code: int = application.invoke(context)
    except click.exceptions.Exit as left:
        return left.exit_code
    except click.ClickException as refused:
        refused.show()
        return refused.exit_code
    except TransportError as error:
        say(f"aioswap: {error}")
        return 4
    except (KeyboardInterrupt, click.Abort):
        return 130
    return code


def _close_stdout() -> None:
    """Let the interpreter flush into nothing when it ends."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())
    os.close(nothing)
