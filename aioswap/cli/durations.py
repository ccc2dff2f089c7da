"""Spans of time as options say them, and the one that several commands have."""

from __future__ import annotations

import re
from typing import Final

import click

__all__ = ["DURATION", "stuck_after_option"]

_UNITS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_FORM: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)([smhd]?)")
_LONGEST: Final = 3_155_760_000.0
"""A century, in seconds: what a tracker takes at most."""


class _Duration(click.ParamType[float]):
    """Seconds, or a number with a unit. Above 0, a century at most."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        form = _FORM.fullmatch(str(value))
        seconds = float(form[1]) * _UNITS[form[2]] if form else 0.0
        if not 0 < seconds <= _LONGEST:
            self.fail(f"{value!r}: give seconds, or a number with s, m, h or d, such as 90 or 30m; above 0", param, ctx)
        return seconds


DURATION: Final = _Duration()

stuck_after_option: Final = click.option(
    "--stuck-after",
    type=DURATION,
    default="1d",
    help="A swap that runs for so long is stuck: seconds, or 30m, 24h, 7d.",
    show_default=True,
)
