# mypy: disable-error-code="import-not-found,import-untyped"
"""A peer: oslo.messaging's notification listener, configured by a nova.conf. Started by the tests."""

from __future__ import annotations

import argparse
from typing import Any

import oslo_messaging
from oslo_config import cfg

from tests.interop.speech import commands, complain, tell


class _Endpoint:
    """Has a method for each priority, and tells which was called."""

    def __init__(self, priorities: list[str]) -> None:
        for priority in priorities:
            setattr(self, priority, self._method(priority))

    def _method(self, priority: str) -> Any:
        def method(ctxt: Any, publisher_id: str, event_type: str, payload: Any, metadata: dict[str, Any]) -> Any:
            context = ctxt if isinstance(ctxt, dict) else ctxt.to_dict()
            told = {
                "method": priority,
                "context": context,
                "context_class": type(ctxt).__name__,
                "publisher_id": publisher_id,
                "event_type": event_type,
                "payload": payload,
                "metadata": metadata,
            }
            tell("heard", told)
            return oslo_messaging.NotificationResult.HANDLED

        return method


def _nova_serializer() -> Any:
    from nova import rpc  # takes seconds, and only some tests need it

    return rpc.RequestContextSerializer(None)


def main() -> None:
    """Listen until the test has no more commands."""
    parser = argparse.ArgumentParser()
    parser.add_argument("configuration", help="a nova.conf")
    parser.add_argument("--topic", action="append", default=None)
    parser.add_argument("--priority", action="append", default=None)
    parser.add_argument("--pool")
    parser.add_argument("--nova-context", action="store_true", help="read the context as Nova does")
    arguments = parser.parse_args()
    conf = cfg.ConfigOpts()
    conf(["--config-file", arguments.configuration], project="nova")
    complain()
    oslo_messaging.set_transport_defaults("nova")
    transport = oslo_messaging.get_notification_transport(conf)
    listener = oslo_messaging.get_notification_listener(
        transport,
        [oslo_messaging.Target(topic=topic) for topic in arguments.topic or ["versioned_notifications"]],
        [_Endpoint(arguments.priority or ["audit", "debug", "info", "warn", "error", "critical", "sample"])],
        executor="threading",
        serializer=_nova_serializer() if arguments.nova_context else None,
        allow_requeue=True,
        pool=arguments.pool,
    )
    listener.start()
    tell("ready")
    for _ in commands():
        pass
    listener.stop()
    listener.wait()
    transport.cleanup()


if __name__ == "__main__":
    main()
