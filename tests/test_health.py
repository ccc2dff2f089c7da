"""What health() answers."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, asdict

import pytest

from aioswap.health import ConsumerHealth, EmitterHealth, LinkHealth


@pytest.mark.parametrize("health", [EmitterHealth(), ConsumerHealth()], ids=["emitter", "consumer"])
def test_a_fresh_health_counts_nothing_and_is_not_connected(health: EmitterHealth | ConsumerHealth) -> None:
    values = asdict(health)
    link = values.pop("link")

    assert {"connected": False, "blocked": False, "degraded": None} == link
    assert not any(values.values())


def test_health_is_a_value() -> None:
    health = ConsumerHealth(link=LinkHealth(connected=True), handled=3)

    assert ConsumerHealth(link=LinkHealth(connected=True), handled=3) == health
    with pytest.raises(FrozenInstanceError):
        health.handled = 4  # type: ignore[misc]
