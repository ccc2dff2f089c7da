"""Saying on a real broker what commands are to hear."""

from __future__ import annotations

from typing import Any

from aioswap.transports.base import Confirmation, Message
from aioswap.wire.envelope import encode
from aioswap.wire.notification import Notification
from tests.cli.bus import Bus

__all__ = ["say"]


def say(bus: Bus, *notifications: Notification[Any]) -> None:
    """Publish what somebody must hear."""
    said = bus.publish(*(_message(bus, notification) for notification in notifications))

    assert {Confirmation.CONFIRMED} == set(said)


def _message(bus: Bus, notification: Notification[Any]) -> Message:
    key = f"{bus.topic}.{notification.priority.lower()}"
    return Message(routing_key=key, body=encode(notification), message_id=notification.message_id)
