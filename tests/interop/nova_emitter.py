# mypy: disable-error-code="import-not-found,import-untyped,untyped-decorator"
"""A peer: Nova's own functions emit, through oslo.messaging, as a nova.conf says. Started by the tests.

Each notification is told as oslo's log driver knows it, so the truth does not come by the bus.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import uuid
from typing import Any

import nova.conf
from nova import config, exception, exception_wrapper, objects, rpc
from nova.compute import utils
from nova.objects import fields

from tests.interop.nova_instances import Database, new_context, new_instance
from tests.interop.speech import commands, complain, tell


class _Truth(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        tell("emitted", json.loads(record.getMessage()))


def _set_up(configuration: str) -> None:
    objects.register_all()
    config.parse_args(["nova-compute", "--config-file", configuration], configure_db=False)
    complain()
    log = logging.getLogger("oslo.messaging.notification")
    log.setLevel(logging.INFO)
    log.addHandler(_Truth())
    log.propagate = False


class _Compute:
    """The part of a compute manager that tells of swaps (nova `ComputeManager._do_swap_volume`)."""

    def __init__(self, host: str, instances: int, sparse: bool) -> None:
        self._host = host
        self._database = Database()
        self._contexts = [new_context() for _ in range(instances)]
        self._instances = [new_instance(context, number, host, sparse=sparse) for number, context in enumerate(self._contexts)]
        for instance in self._instances:
            self._database.volumes[instance.uuid] = str(uuid.uuid4())

    def swap(self, number: int, *, fails: bool) -> None:
        """Tell of one swap of the instance whose turn it is."""
        which = number % len(self._instances)
        context, instance = self._contexts[which], self._instances[which]
        old, new = self._database.volumes[instance.uuid], str(uuid.uuid4())
        about: tuple[Any, ...] = context, instance, self._host
        utils.notify_about_volume_swap(*about, fields.NotificationPhase.START, old, new)
        try:
            if fails:
                raise exception.VolumeNotFound(volume_id=new)
            self._database.volumes[instance.uuid] = new
        except exception.VolumeNotFound as error:
            utils.notify_about_volume_swap(*about, fields.NotificationPhase.ERROR, old, new, error)
        else:
            utils.notify_about_volume_swap(*about, fields.NotificationPhase.END, old, new)

    @exception_wrapper.wrap_exception(service="compute", binary="nova-compute")
    def _fail(self, context: Any) -> None:
        raise exception.VolumeNotFound(volume_id=str(uuid.uuid4()))

    def break_off(self, number: int) -> None:
        """Let a swap raise where Nova has no `.error` for it: the decorator tells of it by `compute.exception`."""
        context, instance = self._contexts[number], self._instances[number]
        old = self._database.volumes[instance.uuid]
        start = fields.NotificationPhase.START
        utils.notify_about_volume_swap(context, instance, self._host, start, old, str(uuid.uuid4()))
        with contextlib.suppress(exception.VolumeNotFound):
            self._fail(context)

    def show(self, number: int) -> dict[str, Any]:
        """Return an instance by Nova's own names, and who asks."""
        instance, context = self._instances[number], self._contexts[number]
        flat = {name: getattr(instance, name) for name in instance.fields if instance.obj_attr_is_set(name)}
        plain = {name: value for name, value in flat.items() if not hasattr(value, "obj_to_primitive")}
        flavor = {name: getattr(instance.flavor, name) for name in instance.flavor.fields if name in instance.flavor}
        times = {name: value.isoformat() for name, value in plain.items() if hasattr(value, "isoformat")}
        return {
            "instance": plain | times | {"flavor": flavor, "network_info": instance.get_network_info()},
            "volume": self._database.volumes[instance.uuid],
            "context": context.to_dict(),
        }


def main() -> None:
    """Obey the tests' commands."""
    parser = argparse.ArgumentParser()
    parser.add_argument("configuration", help="a nova.conf")
    parser.add_argument("--instances", type=int, default=10)
    parser.add_argument("--sparse", action="store_true")
    arguments = parser.parse_args()
    _set_up(arguments.configuration)
    compute = _Compute(nova.conf.CONF.host, arguments.instances, arguments.sparse)
    tell("ready", compute.show(0))
    for command in commands():
        for number in range(command.get("swaps", 0)):
            compute.swap(number, fails=number % command["fail_every"] == command["fail_every"] - 1)
        for number in range(command.get("broken", 0)):
            compute.break_off(number)
        tell("done", command)
    rpc.cleanup()


if __name__ == "__main__":
    main()
