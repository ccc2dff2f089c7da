"""Nova's volume swap notifications for asyncio: emit them, consume them, and know when a swap is done.

Everything here is loaded when it is first used, so `import aioswap` is quick and needs none of its dependencies.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from aioswap.clock import Clock
    from aioswap.consumer import Consumer
    from aioswap.context import RequestContext, request_context
    from aioswap.dead_letters import DeadLetters
    from aioswap.emitter import Emitter
    from aioswap.emitting.request import SwapRequest
    from aioswap.errors import AioswapError, DecodeError, OutboxError, OutboxFull, TransportError, UnsupportedVersion
    from aioswap.hooks import Hook, Operation
    from aioswap.ledger import SwapLedger
    from aioswap.outbox import MemoryOutbox
    from aioswap.outbox_file import FileOutbox
    from aioswap.outcomes import Ack, Reject, Retry, RetryPolicy
    from aioswap.swaps import Swap, SwapFailed, SwapState, SwapStuck
    from aioswap.tracker import SwapTracker
    from aioswap.transports.base import Delivery, Message, Outbox, Receiver, Sender, Subscription, Transport
    from aioswap.transports.memory import MemoryTransport
    from aioswap.transports.rabbit import RabbitTransport
    from aioswap.wire.envelope import decode, encode
    from aioswap.wire.events import EventPattern, EventType, volume_swap
    from aioswap.wire.notification import InstanceActionVolumeSwapNotification, Notification
    from aioswap.wire.payloads import InstanceActionVolumeSwapPayload, VersionedObject

    __version__: str

__all__ = [
    "Ack",
    "AioswapError",
    "Clock",
    "Consumer",
    "DeadLetters",
    "DecodeError",
    "Delivery",
    "Emitter",
    "EventPattern",
    "EventType",
    "FileOutbox",
    "Hook",
    "InstanceActionVolumeSwapNotification",
    "InstanceActionVolumeSwapPayload",
    "MemoryOutbox",
    "MemoryTransport",
    "Message",
    "Notification",
    "Operation",
    "Outbox",
    "OutboxError",
    "OutboxFull",
    "RabbitTransport",
    "Receiver",
    "Reject",
    "RequestContext",
    "Retry",
    "RetryPolicy",
    "Sender",
    "Subscription",
    "Swap",
    "SwapFailed",
    "SwapLedger",
    "SwapRequest",
    "SwapState",
    "SwapStuck",
    "SwapTracker",
    "Transport",
    "TransportError",
    "UnsupportedVersion",
    "VersionedObject",
    "__version__",
    "decode",
    "encode",
    "request_context",
    "volume_swap",
]

_HOMES: Final = {
    "Ack": "outcomes",
    "AioswapError": "errors",
    "Clock": "clock",
    "Consumer": "consumer",
    "DeadLetters": "dead_letters",
    "DecodeError": "errors",
    "Delivery": "transports.base",
    "Emitter": "emitter",
    "EventPattern": "wire.events",
    "EventType": "wire.events",
    "FileOutbox": "outbox_file",
    "Hook": "hooks",
    "InstanceActionVolumeSwapNotification": "wire.notification",
    "InstanceActionVolumeSwapPayload": "wire.payloads",
    "MemoryOutbox": "outbox",
    "MemoryTransport": "transports.memory",
    "Message": "transports.base",
    "Notification": "wire.notification",
    "Operation": "hooks",
    "Outbox": "transports.base",
    "OutboxError": "errors",
    "OutboxFull": "errors",
    "RabbitTransport": "transports.rabbit",
    "Receiver": "transports.base",
    "Reject": "outcomes",
    "RequestContext": "context",
    "Retry": "outcomes",
    "RetryPolicy": "outcomes",
    "Sender": "transports.base",
    "Subscription": "transports.base",
    "Swap": "swaps",
    "SwapFailed": "swaps",
    "SwapLedger": "ledger",
    "SwapRequest": "emitting.request",
    "SwapState": "swaps",
    "SwapStuck": "swaps",
    "SwapTracker": "tracker",
    "Transport": "transports.base",
    "TransportError": "errors",
    "UnsupportedVersion": "errors",
    "VersionedObject": "wire.payloads",
    "decode": "wire.envelope",
    "encode": "wire.envelope",
    "request_context": "context",
    "volume_swap": "wire.events",
}
"""Where each name lives, after `aioswap.`."""

if not TYPE_CHECKING:  # pragma: no branch - a type checker would take any name for granted

    def __getattr__(name: str) -> object:
        """Load what is asked for, once (PEP 562)."""
        if name == "__version__":
            value: object = version("aioswap")
        elif name in _HOMES:
            value = getattr(import_module(f"aioswap.{_HOMES[name]}"), name)
        else:
            raise AttributeError(f"module 'aioswap' has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(globals().keys() | set(__all__))
