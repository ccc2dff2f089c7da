"""Fixtures that several folders of tests share: the brokers."""

from __future__ import annotations

import gc
import os
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.broker import NO_BROKER, Node, Proxy, install, make_certificates, server_folder

__all__: list[str] = []

# How long an example takes says something of the machine, not of the code. In CI the same examples are tried each time.
settings.register_profile(
    "aioswap", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ
)
settings.load_profile("aioswap")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Report a test without collecting garbage meanwhile.

    A report parses source. A finalizer that warns in the middle of that is reported too, and parses in turn: Python 3.11 then
    says "AST constructor recursion depth mismatch", and the whole run ends there.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.fixture(scope="session")
def rabbitmq_scripts() -> Path:
    """The folder of RabbitMQ's scripts; installs it where that is allowed."""
    folder = server_folder() or install()
    if folder is None:
        pytest.fail(NO_BROKER)
    return folder


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the certificates of a CA, of a server at 127.0.0.1, and of a client."""
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder)
    return folder


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory, rabbitmq_scripts: Path, certificates: Path) -> Iterator[Node]:
    """A private RabbitMQ that a test may stop, kill, pause and fill."""
    node = Node(tmp_path_factory.mktemp("rabbitmq"), rabbitmq_scripts, certificates)
    node.start()
    yield node
    node.close()


@pytest.fixture(scope="session")
def amqp_url(request: pytest.FixtureRequest) -> str:
    """The URL of a RabbitMQ that may be written to: the one that AIOSWAP_TEST_AMQP_URL names, else the private node."""
    named = os.environ.get("AIOSWAP_TEST_AMQP_URL")
    if named:
        return named
    node: Node = request.getfixturevalue("node")
    return node.url


@pytest.fixture
async def proxy(amqp_url: str) -> AsyncIterator[Proxy]:
    """A proxy before the broker, in the test's own loop."""
    async with Proxy(amqp_url) as proxy:
        yield proxy
