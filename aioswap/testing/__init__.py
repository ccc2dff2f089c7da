"""What tests of services that use aioswap need. Its fixtures come with pytest by themselves; `pytest --fixtures` lists them."""

from __future__ import annotations

from aioswap.testing.clock import ManualClock

__all__ = ["ManualClock"]
