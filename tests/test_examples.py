"""Every example does what it says, and is short enough to be read at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_FOLDER = Path(__file__).parents[1] / "examples"
_LONGEST = 40

_PRINTED = {
    "a_bus_for_tests": {
        "as expected: ['instance.volume_swap.start', 'instance.volume_swap.end']",
        "1 duplicate, 2 handled of 3 copies",
        "- instance.volume_swap.end",
        "+ instance.volume_swap.error  from nova-compute:compute-1  server-2: vol-1 -> small  OSError: full",
    },
    "alert_on_stuck": {
        "stuck on compute-1: vol-1 -> vol-2 of server-1",
        "after all: succeeded late",
    },
    "count_swaps": {
        'aioswap_swap_duration_seconds_count{outcome="succeeded"} 2.0',
        'aioswap_swap_duration_seconds_count{outcome="failed"} 1.0',
        'aioswap_dead_letters_total{event_type="instance.volume_swap.error"} 1.0',
        "aioswap_outbox_messages 0.0",
    },
    "fake_hypervisor": {
        "fine instance.volume_swap.end",
        "full instance.volume_swap.error OSError",
        "slow instance.volume_swap.error CancelledError",
        "the service saw: None OSError('no space left on device')",
    },
    "first_steps": {
        "instance.volume_swap.start on compute-1: vol-1 -> vol-2",
        "instance.volume_swap.end on compute-1: vol-1 -> vol-2",
    },
    "react_to_failures": {
        "paged: no space left on device",
        "dead letters: ['__main__.page: a slip of ours: nobody has to wake up']",
    },
    "watch_a_cloud": {
        "server-1 on compute-1: running",
        "server-1 on compute-1: succeeded",
        "server-2 on compute-1: failed no space left on device",
        "compute-1: 1 succeeded, 1 failed",
        "compute-2: 1 succeeded, 0 failed",
    },
    "wait_for_a_swap": {
        "vol-1 on compute-1: succeeded",
        "vol-2 on compute-1: failed no space left on device",
        "asked again later: succeeded",
    },
}
"""Some of the lines of each."""

_ON_RABBITMQ = {"first_steps_on_rabbitmq": "first_steps"}
"""Examples that take a broker's URL, and print what another one prints."""

_OTHERS = {"polling_beside_listening"}
"""Examples that print figures of time."""


@pytest.mark.parametrize("name", sorted(_PRINTED))
def test_an_example_prints_what_it_is_about(name: str) -> None:
    done = subprocess.run([sys.executable, str(_FOLDER / f"{name}.py")], capture_output=True, text=True, check=False)

    assert (0, False) == (done.returncode, "Traceback" in done.stderr)
    assert set() == _PRINTED[name] - {line.strip() for line in done.stdout.splitlines()}


@pytest.mark.broker
@pytest.mark.parametrize("name", sorted(_ON_RABBITMQ))
def test_an_example_on_rabbitmq_prints_the_same(name: str, amqp_url: str) -> None:
    command = [sys.executable, str(_FOLDER / f"{name}.py"), amqp_url]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert (0, "") == (done.returncode, done.stderr)
    assert set() == _PRINTED[_ON_RABBITMQ[name]] - {line.strip() for line in done.stdout.splitlines()}


def test_listening_learns_of_the_end_while_polling_learns_that_there_was_one() -> None:
    command = [sys.executable, str(_FOLDER / "polling_beside_listening.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    listening, polling = done.stdout.splitlines()

    assert 0 == done.returncode
    assert "listening: instance.volume_swap.end after" in listening
    assert "0 requests" in listening
    assert "requests" in polling


def test_every_example_is_tried() -> None:
    assert sorted({*_PRINTED, *_ON_RABBITMQ, *_OTHERS}) == sorted(path.stem for path in _FOLDER.glob("*.py"))


@pytest.mark.parametrize("name", sorted({*_PRINTED, *_ON_RABBITMQ, *_OTHERS}))
def test_an_example_is_short(name: str) -> None:
    lines = (_FOLDER / f"{name}.py").read_text().count("\n")

    assert lines <= _LONGEST
