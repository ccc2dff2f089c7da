"""What `aioswap doctor` asks: a broker from outside in, each step only if the ones before it allow it; then its plugin."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from shlex import quote
from typing import Any, Final

from aioswap.cli.findings import (
    Row,
    State,
    about_bindings,
    about_exchange,
    about_policies,
    about_rights,
    split_remedy,
)
from aioswap.cli.management import Management, ManagementError
from aioswap.cli.output import say
from aioswap.clock import Clock
from aioswap.errors import TransportError
from aioswap.nova_conf import NovaConf
from aioswap.recording import event_type_of
from aioswap.transports.base import Delivery, Subscription, Transport
from aioswap.transports.rabbit_errors import Answered
from aioswap.transports.rabbit_probe import Depth, Probe, probing
from aioswap.transports.urls import Address, BrokerUrl
from aioswap.wire.events import volume_swap

__all__ = ["Visit", "ask_plugin"]

_PRIORITIES: Final = ("info", "error")
_REFUSED: Final = 403
_START_SECONDS: Final = 10.0
_MISSING: Final = (
    "start Nova, which makes it; else compare control_exchange and the vhost of transport_url in nova.conf with what is used "
    "here (--exchange, --url)"
)
_SILENCE: Final = (
    "let something happen to an instance and look again; then look into nova.conf of the compute host: notification_format, "
    "driver, transport_url (aioswap doctor --nova-conf FILE)"
)
_LISTINGS: Final[Mapping[str, str]] = {
    "exchange flags": "list_exchanges -p {} name type durable",
    "bindings": "list_bindings -p {} source_name routing_key destination_name",
    "policies": "list_policies -p {}",
}
"""What only the plugin tells, and what of rabbitmqctl tells it too."""


class Visit:
    """One broker, asked over AMQP.

    Args:
        url: where it is.
        transport: there.
        exchange: the notification exchange.
        topics: what is listened to.
        seconds: how long; 0: not at all.
        clock: measures.
    """

    def __init__(
        self, url: BrokerUrl, transport: Transport, exchange: str, topics: Sequence[str], seconds: float, clock: Clock
    ) -> None:
        self.url = url
        self.keys = [f"{topic}.{priority}" for topic in topics for priority in _PRIORITIES]
        self.rows: list[Row] = []
        self.before: dict[str, Depth | None] = {}
        """By key, what oslo's default queue of that name holds before listening; None: there is none."""
        self.after: dict[str, Depth | None] = {}
        """The same afterwards; empty if that could not be asked."""
        self._transport = transport
        self._exchange = exchange
        self._subscription = Subscription(topics=topics)
        self._seconds = seconds
        self._clock = clock

    async def look(self) -> None:
        """Ask everything, and add a row for each answer. Raises nothing for what a broker may do."""
        reached = [address for address in self.url.addresses if await self._reach(address)]
        if not reached:
            return
        try:
            async with probing(self.url, reached[0], self._clock) as probe:
                await self._ask(probe, reached[0])
        except TransportError as error:
            self._trouble("connection", error)

    async def _reach(self, address: Address) -> bool:
        try:
            async with probing(self.url, address, self._clock) as probe:
                self._add("connection", State.FINE, f"{address}: {await probe.server()}")
        except TransportError as error:
            self._trouble("connection", error)
            return False
        return True

    async def _ask(self, probe: Probe, address: Address) -> None:
        there = await probe.exchange(self._exchange)
        self._tell_of_exchange(there, address)
        can_listen = there and await self._rights_suffice(probe, address)
        await self._look_for_alarms(address)
        self.before = {key: await probe.depth(key) for key in self.keys}
        if can_listen:
            await self._listen()
        self.after = {key: await probe.depth(key) for key in self.keys}

    def _tell_of_exchange(self, there: bool, address: Address) -> None:
        if there:
            self._add("exchange", State.FINE, f"{self._exchange} is there")
        else:
            told = f"there is no exchange {self._exchange} in the vhost {address.vhost}: nobody can emit to it"
            self._add("exchange", State.FINDING, told, _MISSING)

    async def _rights_suffice(self, probe: Probe, address: Address) -> bool:
        try:
            await probe.listen(self._exchange, self._subscription)
        except Answered as error:
            if error.code != _REFUSED:
                self._trouble("rights", error)
            else:
                topics = self._subscription.topics
                self.rows.append(about_rights(str(error), address.user, address.vhost, self._exchange, topics))
            return False
        self._add("rights", State.FINE, f"{address.user} can make a queue, bind it to {self._exchange} and read it")
        return True

    async def _look_for_alarms(self, address: Address) -> None:
        async with probing(self.url, address, self._clock) as probe:
            reason = await probe.blocked()
        if reason is None:
            self._add("alarms", State.FINE, "the broker takes messages")
        else:
            told = f"the broker is blocked, {reason}: it takes no messages, and Nova's swaps wait for it"
            self._add("alarms", State.FINDING, told, "free its memory or disk; rabbitmq-diagnostics alarms tells where")

    async def _listen(self) -> None:
        if not self._seconds:
            self._add("heard", State.UNSEEN, "nobody listened: --seconds 0", "aioswap doctor --seconds 60")
            return
        heard: Counter[bool] = Counter()

        def deliver(delivery: Delivery) -> None:
            event_type = event_type_of(delivery.body or b"")
            heard[event_type is not None and volume_swap.any.matches(event_type)] += 1
            delivery.ack()

        say(f"listening for {self._seconds:g} s")
        receiving = self._transport.receiver(self._subscription, deliver, label="doctor", start_timeout=_START_SECONDS)
        try:
            async with self._transport, receiving:
                await self._clock.sleep(self._seconds)
        except TransportError as error:
            self._trouble("heard", error)
            return
        if heard:
            told = f"{heard.total()} notifications in {self._seconds:g} s, {heard[True]} of them of swaps"
            self._add("heard", State.FINE, told)
        else:
            told = f"nothing was emitted to {', '.join(self._subscription.topics)} within {self._seconds:g} s"
            self._add("heard", State.FINDING, told, _SILENCE)

    def _add(self, check: str, state: State, told: str, remedy: str = "") -> None:
        self.rows.append(Row(check, state, told, remedy))

    def _trouble(self, check: str, error: TransportError) -> None:
        self._add(check, State.FINDING, *split_remedy(str(error)))


async def ask_plugin(
    management: Management | None, vhost: str, exchange: str, keys: Sequence[str], nova: NovaConf | None
) -> tuple[list[Row], dict[str, Mapping[str, Any]]]:
    """Ask what only the management plugin tells.

    Args:
        management: the plugin; None: there is none, and the rows say what to run instead.
        vhost: where to look.
        exchange: the notification exchange.
        keys: routing keys, and so the names of oslo's default queues.
        nova: what nova.conf says.

    Returns:
        Rows, and what the plugin tells of each default queue that there is.
    """
    rows: list[Row] = []
    if management is None:
        return _unseen(vhost, rows), {}
    try:
        details = await management.get("exchanges", vhost, exchange)
        if isinstance(details, Mapping):
            rows.append(about_exchange(details, nova))
            rows += about_bindings(_mappings(await management.get("exchanges", vhost, exchange, "bindings", "source")), keys)
        queues = {key: told for key in keys if isinstance(told := await management.get("queues", vhost, key), Mapping)}
        rows.append(about_policies(_mappings(await management.get("policies", vhost))))
    except ManagementError as error:
        told, remedy = split_remedy(str(error))
        return [*rows, Row("management", State.FINDING, told, remedy), *_unseen(vhost, rows)], {}
    return rows, queues


def _mappings(answer: object) -> list[Mapping[str, Any]]:
    return [item for item in answer if isinstance(item, Mapping)] if isinstance(answer, list) else []


def _unseen(vhost: str, seen: Sequence[Row]) -> list[Row]:
    """Return a row for each thing that only the plugin tells, but for those that were seen."""
    told = "not seen without the management plugin (--management-url)"
    return [
        Row(check, State.UNSEEN, told, f"rabbitmqctl {listing.format(quote(vhost))}")
        for check, listing in _LISTINGS.items()
        if not any(row.check.startswith(check) for row in seen)
    ]
