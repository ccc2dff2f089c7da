"""Reading a delivery: its notification, or why there is none."""

from __future__ import annotations

import logging
from typing import Any

from aioswap.errors import DecodeError
from aioswap.transports.base import Delivery
from aioswap.wire.envelope import decode
from aioswap.wire.faults import traceback_of
from aioswap.wire.notification import Notification

__all__ = ["read"]

_logger = logging.getLogger(__name__)


def read(delivery: Delivery) -> Notification[Any]:
    """Return the notification that `delivery` holds.

    Raises:
        DecodeError: it holds none that can be read. Nothing else is raised, whatever the bytes are.
    """
    if delivery.body is None:
        raise DecodeError(delivery.unreadable or "the body cannot be read", body=delivery.original)
    try:
        return decode(delivery.body)
    except DecodeError:
        raise
    except Exception as error:  # a supervisor: one message must not stop the deliveries behind it
        _logger.error("a notification could not be decoded for a reason that nobody thought of\n%s", traceback_of(error))
        raise DecodeError(f"decoding failed with {type(error).__name__}", body=delivery.body) from error
