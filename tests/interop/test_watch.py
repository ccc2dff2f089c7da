"""`aioswap watch` beside a real listener on the default queues: both hear everything that a real Nova emits."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Final

import pytest

from tests.interop.bus import Bus
from tests.interop.peers import Peers

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

SWAPS: Final = 200


async def test_watch_takes_nothing_from_a_listener_on_the_default_queues(bus: Bus, peers: Peers) -> None:
    watch = ("-m", "aioswap", "watch", "--url", bus.url, "--json", "--count", str(2 * SWAPS))
    async with peers.nova() as nova, peers.listener() as listener:
        nova.command(swaps=1, fail_every=4)  # Nova makes its exchange
        await nova.take("emitted", 2)
        await listener.take("heard", 2)
        pipe = asyncio.subprocess.PIPE
        watching = await asyncio.create_subprocess_exec(sys.executable, *watch, stdout=pipe, stderr=pipe)
        assert watching.stderr is not None
        said = await watching.stderr.readline()
        nova.command(swaps=SWAPS, fail_every=4)
        emitted = await nova.take("emitted", 2 * SWAPS)
        heard = await listener.take("heard", 2 * SWAPS)
        out, _ = await watching.communicate()
        complaints = [*nova.complaints, *listener.complaints]
    swaps = [json.loads(line) for line in out.splitlines()]
    ids = sorted(told["message_id"] for told in emitted)

    assert b"watching: interrupt it to end\n" == said
    assert 0 == watching.returncode
    assert ids == sorted(told["metadata"]["message_id"] for told in heard)
    assert ids == sorted({one for swap in swaps for one in swap["evidence"]})
    assert [SWAPS * 3 // 4, SWAPS // 4] == [sum(swap["state"] == state for swap in swaps) for state in ("succeeded", "failed")]
    assert [] == complaints
