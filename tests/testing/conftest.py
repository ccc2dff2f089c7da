"""A bus in memory, and one on RabbitMQ: what works on both is tested on both."""

from __future__ import annotations

import pytest

from aioswap.testing import Bus

__all__: list[str] = []


@pytest.fixture(params=["memory", pytest.param("rabbit", marks=pytest.mark.broker)])
def any_bus(request: pytest.FixtureRequest) -> Bus:
    """A bus of each kind."""
    return Bus(url=request.getfixturevalue("amqp_url") if request.param == "rabbit" else None)


@pytest.fixture
def rabbit_bus(amqp_url: str) -> Bus:
    """A bus on RabbitMQ."""
    return Bus(url=amqp_url)
