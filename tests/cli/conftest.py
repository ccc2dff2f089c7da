"""What tests of commands share: nothing of the environment, and a corner of a real broker."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.cli.bus import Bus, bus_at

__all__: list[str] = []


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands read the environment: nothing of it may come from outside."""
    for name in list(os.environ):
        if name.startswith(("AIOSWAP_", "RABBITMQ_URL", "AMQP_URL")) and name != "AIOSWAP_TEST_AMQP_URL":
            monkeypatch.delenv(name)


@pytest.fixture
def bus(amqp_url: str) -> Iterator[Bus]:
    """A corner of a real broker."""
    with bus_at(amqp_url) as bus:
        yield bus
