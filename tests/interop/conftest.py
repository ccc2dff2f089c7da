"""What these tests share. They run with the real peers or fail: `make interop` installs them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.broker import Node
from tests.interop.bus import Bus
from tests.interop.peers import Peers

__all__: list[str] = []


@pytest.fixture(scope="session")
def vhosts(request: pytest.FixtureRequest, node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The names of empty virtual hosts, one for each test: made all at once, since rabbitmqctl is slow to start."""
    names = [f"interop{number}" for number in range(len(request.session.items))]
    definitions = {
        "vhosts": [{"name": name} for name in names],
        "permissions": [{"user": "guest", "vhost": name, "configure": ".*", "write": ".*", "read": ".*"} for name in names],
    }
    file = tmp_path_factory.mktemp("definitions") / "vhosts.json"
    file.write_text(json.dumps(definitions))
    node.ctl("import_definitions", str(file))
    return iter(names)


@pytest.fixture
def bus(node: Node, vhosts: Iterator[str]) -> Bus:
    """A virtual host in which nothing is declared yet."""
    return Bus(node, next(vhosts))


@pytest.fixture
def peers(bus: Bus, tmp_path: Path) -> Peers:
    """Makes the real peers, on the test's bus."""
    return Peers(bus.oslo_url, tmp_path)
