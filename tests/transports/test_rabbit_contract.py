"""RabbitMQ does what every transport does, the fast way and the plain one: the whole suite, with another driver."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from tests.transports.driver import Driver
from tests.transports.rabbit_driver import WAYS, rabbit_driver
from tests.transports.test_contract import *  # noqa: F403  # its tests and fixtures, but for the driver

pytestmark = pytest.mark.broker


@pytest.fixture(params=WAYS)  # type: ignore[no-redef]  # instead of the suite's own
async def driver(request: pytest.FixtureRequest, amqp_url: str) -> AsyncGenerator[Driver]:
    async with rabbit_driver(amqp_url, fast=request.param) as driver:
        yield driver
