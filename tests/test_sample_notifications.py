from __future__ import annotations

import json

import pytest

from tests.sample_notifications import FOLDER, emitted


@pytest.mark.parametrize("phase", ["start", "end", "error"])
async def test_the_documented_sample_is_what_the_emitter_emits(phase: str) -> None:
    documented = json.loads((FOLDER / f"instance-volume_swap-{phase}.json").read_text())
    wire = (await emitted())[phase]

    assert documented == wire
    assert list(documented) == list(wire)
    assert list(documented["payload"]["nova_object.data"]) == list(wire["payload"]["nova_object.data"])
