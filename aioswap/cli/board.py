"""What `aioswap watch` shows: which swaps are wanted, what of them is new, and how they look as a table that changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import nlargest
from typing import TYPE_CHECKING, Final

from aioswap.cli.output import escaped
from aioswap.cli.swap_rows import fault_of
from aioswap.swaps import Swap, SwapState
from aioswap.tracking.criteria import same_attempt
