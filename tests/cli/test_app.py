"""The command line itself: help, exit codes, and leaving quietly."""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
from contextlib import redirect_stdout
from importlib import metadata
from pathlib import Path
from types import ModuleType

import click
import pytest

from aioswap import __main__
from aioswap.cli import app
from aioswap.errors import TransportError

_SAMPLE = Path(__file__).parents[1] / "samples" / "nova34-v2-default__instance.volume_swap.end.json"


def _run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def _raising(raised: BaseException) -> click.Command:
    @click.command()
    def command() -> int:
        raise raised

    return command


@pytest.mark.parametrize("arguments", [["--help"], ["-h"]])
def test_the_help_names_every_command(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code = app.run(arguments)
    told = capsys.readouterr()

    assert (0, "") == (code, told.err)
    assert set(app._COMMANDS) <= set(told.out.split())


def test_the_help_loads_neither_driver_nor_models() -> None:
    done = _run_python(
        "import sys; from aioswap.cli.app import run; run(['--help']);"
        "print(sorted({'aio_pika', 'pydantic', 'rich', 'asyncio'} & sys.modules.keys()))"
    )

    assert (0, "[]") == (done.returncode, done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", sorted(app._COMMANDS))
def test_a_command_has_help_and_the_name_it_is_listed_by(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = app.run([name, "--help"])

    assert 0 == code
    assert f"Usage: aioswap {name} " in capsys.readouterr().out


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    code = app.run(["--version"])

    assert (0, f"aioswap {metadata.version('aioswap')}\n") == (code, capsys.readouterr().out)


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["demo", "--nonsense"], ["validate"], ["validate", "/no/such/file"]])
def test_misuse_is_2_and_talk(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code = app.run(arguments)
    told = capsys.readouterr()

    assert (2, "") == (code, told.out)
    assert "Usage: aioswap" in told.err


@pytest.mark.parametrize(
    ("raised", "code", "told"),
    [
        (KeyboardInterrupt(), 130, ""),
        (click.Abort(), 130, ""),
        (TransportError("the broker is away\x1b: start it"), 4, "aioswap: the broker is away\\x1b: start it\n"),
        (click.ClickException("no"), 1, "Error: no\n"),
    ],
)
def test_the_end_of_a_command_has_its_code(
    raised: BaseException, code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = app.run([], _raising(raised))

    assert code == ended
    assert ("", told) == capsys.readouterr()


def test_a_slip_of_ours_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        app.run([], _raising(ZeroDivisionError()))


@pytest.mark.parametrize("arguments", [["--help"], ["validate", str(_SAMPLE)], ["demo"]])
def test_a_broken_pipe_is_quiet_and_fine(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "aioswap", *arguments], stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)
    talk = [line for line in done.stderr.splitlines() if "swaps at once" not in line]

    assert (0, []) == (done.returncode, talk)


def test_a_broken_pipe_leaves_nothing_to_flush() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stdout, redirect_stdout(stdout):
        code = app.run(["validate", str(_SAMPLE)])
        stdout.write("into nothing")
        stdout.flush()

    assert 0 == code


def test_a_full_disk_is_1(capsys: pytest.CaptureFixture[str]) -> None:
    with open("/dev/full", "w") as stdout, redirect_stdout(stdout):
        code = app.run(["validate", str(_SAMPLE)])

    assert 1 == code
    assert "aioswap: [Errno 28] No space left on device\n" == capsys.readouterr().err


def test_a_terminal_of_another_encoding_gets_escapes(tmp_path: Path) -> None:
    body = json.loads(json.loads(_SAMPLE.read_text())["body"])
    file = tmp_path / "body.json"
    file.write_text(json.dumps(json.loads(body["oslo.message"]) | {"publisher_id": "nova-compute:höst"}))
    done = subprocess.run(
        [sys.executable, "-m", "aioswap", "validate", str(file)],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (0, "") == (done.returncode, done.stderr)
    assert "nova-compute:h\\xf6st" in done.stdout


def test_an_interrupt_is_quiet_and_130() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "aioswap", "demo"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        first = running.stdout.readline()
        running.send_signal(signal.SIGINT)
        talk = [line for line in running.stderr.read().splitlines() if "swaps at once" not in line]

    assert first.startswith("instance.volume_swap.start")
    assert (130, []) == (running.returncode, talk)


def test_the_module_is_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["aioswap", "--version"])

    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(__main__.__file__), run_name="__main__")

    assert (0, True) == (left.value.code, capsys.readouterr().out.startswith("aioswap "))


def test_without_the_extra_it_says_which_one_to_install() -> None:
    done = _run_python(
        "import sys; sys.modules['click'] = None; sys.argv = ['aioswap', 'demo'];"
        "from aioswap.__main__ import main; sys.exit(main())"
    )

    assert (2, "", "The aioswap command needs the extra cli: pip install 'aioswap[cli]'\n") == (
        done.returncode,
        done.stdout,
        done.stderr,
    )


@pytest.mark.parametrize("missing", [ModuleNotFoundError("no", name="click"), ModuleNotFoundError("no", name="rich")])
def test_only_the_extra_is_excused(
    missing: ModuleNotFoundError, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "aioswap.cli.app", _Broken(missing))

    if missing.name == "click":
        assert 2 == __main__.main()
        assert "pip install" in capsys.readouterr().err
    else:
        with pytest.raises(ModuleNotFoundError):
            __main__.main()


def test_an_interrupt_while_it_loads_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aioswap.cli.app", _Broken(KeyboardInterrupt()))

    assert 130 == __main__.main()


class _Broken(ModuleType):
    """A module of which nothing can be had."""

    def __init__(self, raised: BaseException) -> None:
        super().__init__("broken")
        self.raised = raised

    def __getattr__(self, name: str) -> object:
        raise self.raised
