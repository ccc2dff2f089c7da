"""The pytest plugin. It is imported at each start of pytest, of every project beside which aioswap is installed.

So it imports nothing but pytest, and loads the rest when a fixture is used. Its fixtures are plain functions that return
objects with `async with`: they work alike under pytest-asyncio, anyio's plugin and `asyncio.run`.
"""

from __future__ import annotations

import pytest

from aioswap import testing

__all__ = [
    "aioswap_bus",
    "aioswap_clock",
    "aioswap_factory",
    "pytest_addoption",
    "pytest_configure",
    "pytest_report_header",
]

_OPTION = "--aioswap-url"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that names a broker."""
    group = parser.getgroup("aioswap")
    group.addoption(
        _OPTION,
        metavar="URL",
        default=None,
        help="run tests with the fixture aioswap_bus on this RabbitMQ (amqp://user:password@host/vhost) instead of in memory; "
        "each test has its own exchange and queues there, and deletes them. What only memory can do is skipped",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuse a URL that cannot be read, before any test runs.

    Raises:
        UsageError: it cannot; the text does not show it.
    """
    url = config.getoption(_OPTION)
    if url is not None:
        try:
            _place(url)
        except ValueError as error:
            raise pytest.UsageError(f"{_OPTION}: {error}") from None


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say on which broker the tests run, without the password."""
    url = config.getoption(_OPTION)
    return None if url is None else f"aioswap: the tests' bus is {_place(url)}"


def _place(url: str) -> str:
    from aioswap.transports.urls import parse_url

    return str(parse_url(url))


@pytest.fixture
def aioswap_clock(request: pytest.FixtureRequest) -> testing.ManualClock:
    """The clock of the test's bus: give it to what you test (`clock=`); `await aioswap_clock.advance(seconds)` moves it."""
    return testing.ManualClock() if request.config.getoption(_OPTION) is None else testing.BrokerClock()


@pytest.fixture
def aioswap_factory(aioswap_clock: testing.ManualClock) -> testing.Factory:
    """Makes instances, contexts, faults, payloads, notifications and bodies of every version; you give what matters."""
    return testing.Factory(clock=aioswap_clock)


@pytest.fixture
def aioswap_bus(
    request: pytest.FixtureRequest, aioswap_clock: testing.ManualClock, aioswap_factory: testing.Factory
) -> testing.Bus:
    """A bus of the test's own, in memory or on the RabbitMQ of --aioswap-url: open it by `async with aioswap_bus as bus`."""
    return testing.Bus(url=request.config.getoption(_OPTION), clock=aioswap_clock, factory=aioswap_factory)
