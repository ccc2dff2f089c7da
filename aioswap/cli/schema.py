"""`aioswap schema`: what a payload looks like on the wire, as JSON Schema; or all of it, as an AsyncAPI document."""

from __future__ import annotations

from typing import Final

import click

from aioswap.cli.output import data, json_line
from aioswap.wire.asyncapi import asyncapi
from aioswap.wire.objects import VersionedObject
from aioswap.wire.payloads import (
    BlockDevicePayload,
    ExceptionPayload,
    FlavorPayload,
    InstanceActionPayload,
    InstanceActionVolumeSwapPayload,
    InstancePayload,
    IpPayload,
    SharePayload,
)
from aioswap.wire.schemas import payload_schema

__all__ = ["command"]

_PAYLOADS: Final[dict[str, type[VersionedObject]]] = {
    kind.__name__: kind
    for kind in (
        InstanceActionVolumeSwapPayload,
        InstanceActionPayload,
        InstancePayload,
        FlavorPayload,
        ExceptionPayload,
        IpPayload,
        BlockDevicePayload,
        SharePayload,
    )
}
_SWAP: Final = InstanceActionVolumeSwapPayload.__name__


@click.command("schema")
@click.option("--payload", "name", type=click.Choice(list(_PAYLOADS)), default=_SWAP, help="Of which payload.")
@click.option("--pin", metavar="VERSION", help="Of which version of it; else the newest that is known.")
@click.option("--asyncapi", "whole", is_flag=True, help="An AsyncAPI 3.0.0 document: channels, messages and operations, too.")
def command(name: str, pin: str | None, whole: bool) -> int:
    """Print the JSON Schema of a payload, as a notification holds it: with the keys that name its class and version.

    It is exact for that version: a field that is missing, or that the version does not have, is an error.
    """
    if whole and name != _SWAP:
        raise click.BadParameter(f"the AsyncAPI document is about {_SWAP} and what it holds", param_hint="--payload")
    kind = _PAYLOADS[name]
    version = pin or kind.known_versions[-1]
    if version not in kind.known_versions:
        raise click.BadParameter(f"{name} has the versions {', '.join(kind.known_versions)}", param_hint="--pin")
    for line in json_line(asyncapi(version) if whole else payload_schema(kind, version), indent=2).splitlines():
        data(line)
    return 0
