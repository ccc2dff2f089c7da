"""Which way messages go: `AIOSWAP_FAULTS_PLAIN=1` leaves them to aio-pika's own client (`make faults PLAIN=1`)."""

from __future__ import annotations

import os
from typing import Any, Final

from aioswap.transports.rabbit import RabbitTransport

__all__ = ["FAST", "rabbit"]

FAST: Final = not os.environ.get("AIOSWAP_FAULTS_PLAIN")
"""For processes that a test starts, too: they have its environment."""


def rabbit(url: str, **more: Any) -> RabbitTransport:
    """Return a transport that goes this way."""
    return RabbitTransport(url, **{"fast": FAST, **more})
