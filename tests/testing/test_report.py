"""What a failed expectation says."""

from __future__ import annotations

from typing import Any

from aioswap import Notification, decode
from aioswap.testing import Factory
from aioswap.testing.report import difference, listed, shown
from aioswap.wire.events import event_pattern
from tests.capture import capture


def told(factory: Factory, *phases: str) -> list[Notification[Any]]:
    """Return notifications."""
    return [factory.notification(phase, uuid="i", old_volume_id="a", new_volume_id="b") for phase in phases]


def test_what_fits_differs_in_nothing(aioswap_factory: Factory) -> None:
    came = told(aioswap_factory, "start", "end")

    assert "" == difference([event_pattern("#"), event_pattern("*.*.end")], came)
    assert "" == difference([], [])


def test_what_differs_is_shown_beside_what_fits(aioswap_factory: Factory) -> None:
    came = told(aioswap_factory, "start", "start", "end")
    text = difference([event_pattern("instance.volume_swap.start"), event_pattern("*.*.end"), event_pattern("*.*.error")], came)

    assert [
        "+ instance.volume_swap.start  from nova-compute:compute-1  i: a -> b",
        "  instance.volume_swap.start  from nova-compute:compute-1  i: a -> b",
        "  instance.volume_swap.end  from nova-compute:compute-1  i: a -> b",
        "- *.*.error",
    ] == text.splitlines()


def test_a_fault_of_any_notification_is_shown_masked_and_without_control_characters(aioswap_factory: Factory) -> None:
    error = aioswap_factory.notification("error", fault=OSError("\x1b[31mred password=geheim"))
    line = shown(error)

    assert "OSError: \\x1b[31mred password=***" in line
    assert "compute.exception  from nova-compute:" in shown(decode(capture("nova34-others__compute.exception").body))
    assert "flavor.create  from " in shown(decode(capture("nova34-others__flavor.create").body))


def test_a_report_has_a_bound(aioswap_factory: Factory) -> None:
    many = told(aioswap_factory, *["end"] * 60)
    wide = aioswap_factory.notification("error", fault=OSError("x" * 1_000))

    assert ["... and 10 more"] == listed(many).splitlines()[50:]
    assert (203, "...") == (len(shown(wide)), shown(wide)[-3:])
    assert "  nothing at all" == listed([])
