# mypy: disable-error-code="import-not-found,import-untyped"
"""oslo.messaging. Its best: 16 threads, durable queues, no heartbeat thread, prefetch as the others, an endpoint's filter."""

from __future__ import annotations

import copy
import logging
import threading
from pathlib import Path
from typing import Any, Final

import oslo_messaging
from oslo_config import cfg

from benchmarks.notifications import CONTEXT, EVENT_TYPE, INNER
from benchmarks.peers.task import EXCHANGE, Arrivals, Task, Watch, answer

_TOPIC: Final = "versioned_notifications"


def _transport(task: Task) -> tuple[Any, Any]:
    file = Path(task.folder) / "oslo.conf"
    url = task.url.replace("amqp://", "rabbit://")
    file.write_text(
        f"[DEFAULT]\ntransport_url = {url}\n"
        f"[oslo_messaging_rabbit]\namqp_durable_queues = true\nheartbeat_timeout_threshold = 0\n"
        f"rabbit_qos_prefetch_count = {task.window}\n"
    )
    conf = cfg.ConfigOpts()
    conf(["--config-file", str(file)], project="nova")
    logging.getLogger("oslo.messaging").setLevel(logging.ERROR)
    oslo_messaging.set_transport_defaults(EXCHANGE)
    return conf, oslo_messaging.get_notification_transport(conf)


def emit(task: Task) -> dict[str, float]:
    """Notify from threads; each call returns when it is confirmed."""
    _, transport = _transport(task)
    notifier = oslo_messaging.Notifier(transport, "nova-compute:compute", driver="messagingv2", topics=[_TOPIC], retry=-1)
    notifier.info(CONTEXT, EVENT_TYPE, INNER["payload"])
    left, lock, watch = iter(range(task.count)), threading.Lock(), Watch()

    def taken() -> bool:
        with lock:
            return next(left, None) is not None

    def notify(payload: dict[str, Any]) -> None:
        while taken():
            notifier.info(CONTEXT, EVENT_TYPE, payload)

    threads = [threading.Thread(target=notify, args=(copy.deepcopy(INNER["payload"]),)) for _ in range(task.window)]
    watch.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    watch.stop()
    transport.cleanup()
    return watch.figures(task.count)


class _Endpoint:
    """Counts the swaps. What is foreign is filtered out by the listener."""

    filter_rule = oslo_messaging.NotificationFilter(event_type=r"^instance\.volume_swap\.")

    def __init__(self, handled: int) -> None:
        self.arrivals = Arrivals(handled)
        self.done = threading.Event()

    def info(self, ctxt: Any, publisher_id: str, event_type: str, payload: Any, metadata: Any) -> None:
        """Handle a notification of priority info."""
        if payload["nova_object.data"]["uuid"] and self.arrivals.one():
            self.done.set()


def consume(task: Task) -> dict[str, float]:
    """A notification listener with threads; it acknowledges what the endpoint has handled."""
    _, transport = _transport(task)
    endpoint = _Endpoint(task.handled)
    target = oslo_messaging.Target(topic=_TOPIC, exchange=EXCHANGE)
    listener = oslo_messaging.get_notification_listener(transport, [target], [endpoint], executor="threading")
    listener.start()
    endpoint.done.wait()
    listener.stop()
    listener.wait()
    transport.cleanup()
    return endpoint.arrivals.figures(task.count)


if __name__ == "__main__":
    answer({"emit": emit, "consume": consume})
