"""Swaps as commands print them: what of their fields a table has room for."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from aioswap.cli.output import Style
from aioswap.swaps import Swap
from aioswap.tracking.fields import FIELDS, fields_of

__all__ = ["header_of", "print_swap", "print_swaps", "row_of"]

_TABLE: Final = FIELDS[:9]
_OTHERS: Final = ("state", "host", "instance", "old_volume_id", "new_volume_id", "duration", "fault")
_WHOLE: Final = ("json", "csv")
"""Formats that programs read: they get every field."""


def header_of(style: Style) -> tuple[str, ...]:
    """Return the names of the columns of a list of swaps: all of them, or what people can take in."""
    return FIELDS if style.columns or style.format in _WHOLE else _TABLE


def row_of(swap: Swap, now: datetime, style: Style) -> list[Any]:
    """Return the values for `header_of(style)`."""
    fields = _readable(swap, now, style)
    return [fields[name] for name in header_of(style)]


def print_swaps(swaps: Iterable[Swap], now: datetime, style: Style) -> None:
    """Print a list of swaps.

    Raises:
        click.UsageError: `style` names a column that there is not.
    """
    style.rows(header_of(style), [row_of(swap, now, style) for swap in swaps])


def print_swap(swap: Swap, now: datetime, style: Style) -> None:
    """Print all that is known of one swap, and the others that were waited for together with it.

    Raises:
        click.UsageError: as `print_swaps`.
    """
    fields = _readable(swap, now, style)
    others = [fields_of(other, now) for other in swap.others]
    fields["others"] = [{name: other[name] for name in _OTHERS} for other in others]
    if style.format == "table" and not style.columns:  # nobody wants to read what is not there
        fields = {name: value for name, value in fields.items() if value not in (None, (), [], False)}
    style.item(fields)


def _readable(swap: Swap, now: datetime, style: Style) -> dict[str, Any]:
    fields = fields_of(swap, now)
    if style.format != "table":
        return fields
    if not style.columns and swap.inferred is not None:
        fields["fault"] = ": ".join(filter(None, ("inferred", swap.inferred, fields["fault"])))
    return {name: _moment(value) for name, value in fields.items()}


def _moment(value: Any) -> Any:
    return f"{value:%Y-%m-%d %H:%M:%SZ}" if isinstance(value, datetime) else value
