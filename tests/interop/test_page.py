"""The page of `aioswap serve` in a real Chromium: what people see, hear and press."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from aioswap.web.access import Access
from tests.interop.browser import Browser, browsing
from tests.interop.scene import PICTURES, Scene, on_stage, paint
from tests.web.kit import Site, served

pytestmark = [pytest.mark.interop, pytest.mark.timeout(180)]

_ROWS: Final = "[...document.querySelectorAll('tr[data-state]')]"
_RED: Final = "rgb(195, 39, 43)"
_AMBER: Final = "rgb(154, 98, 0)"
_TOKEN: Final = "a token that is long".replace(" ", "-")
_EVIL: Final = (
    "<img src=x onerror=window.pwned=1>",
    "<script>window.pwned=1</script>",
    "\"'><svg/onload=window.pwned=1>&amp;\u202e",
    "javascript:window.pwned=1",
    "{{7*7}}${window.pwned=1}`",
)


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with browsing() as browser:
        await browser.look(1280, 860, prefers_color_scheme="light")
        yield browser


@pytest.fixture
async def stage() -> AsyncIterator[tuple[Scene, Site]]:
    async with on_stage() as stage:
        yield stage


async def test_a_swap_appears_grows_fails_and_turns_red(browser: Browser, stage: tuple[Scene, Site]) -> None:
    scene, site = stage
    await browser.open(site.url)
    await browser.until("document.querySelector('#link').dataset.is === 'live'")
    empty = await browser.js("return document.querySelector('#none').innerText")
    await scene.say("start", publisher="nova-compute:compute-7", instance="instance-7")
    await browser.until(f"{_ROWS}.length === 1")
    running = await browser.text()
    await browser.js("window.before = parseFloat(document.querySelector('.bar').style.width)")
    await browser.until("parseFloat(document.querySelector('.bar').style.width) > window.before")
    await scene.say("error", publisher="nova-compute:compute-7", instance="instance-7")
    await browser.until("document.querySelector('tr[data-state]').dataset.state === 'failed'")
    failed = await browser.text()
    colour = await browser.js("return getComputedStyle(document.querySelector('tr[data-state] .word')).color")
    said = await browser.until("document.querySelector('#said').textContent")

    assert "No swap has been heard of yet." == empty
    assert "running" in running
    assert ("compute-7" in running, "instance-7" in running) == (True, True)
    assert "VolumeNotFound: no valid connector" in failed
    assert _RED == colour
    assert "Failed: the swap of instance instance-7 on compute-7" == said
    assert "1 failed – Volume swaps" == await browser.js("return document.title")
    assert [] == await browser.complaints()


async def test_a_hostile_name_shows_as_text_wherever_it_stands(browser: Browser, stage: tuple[Scene, Site]) -> None:
    scene, site = stage
    await browser.open(site.url)
    for number, evil in enumerate(_EVIL):
        names = dict.fromkeys(("instance", "old", "new", "request_id", "global_request_id"), f"{number} {evil}")
        await scene.say("error", publisher=f"nova-compute:{evil}", **names)
    await browser.until(f"{_ROWS}.length === {len(_EVIL)}")
    shown = await browser.js("return [...document.querySelectorAll('tr.host th')].map((title) => title.firstChild.data)")
    titles = await browser.js("return [...document.querySelectorAll('button.id')].map((button) => button.title)")
    details = []
    for number in range(len(_EVIL)):
        await browser.js("document.querySelectorAll('button.id')[arguments[0]].click()", number)
        details.append(await browser.js("return document.querySelector('#details-list').innerText"))
        await browser.press("ESCAPE")
    made = await browser.js("return document.querySelectorAll('img, svg, script:not([src]), [onerror], [onload]').length")

    assert sorted(_EVIL) == sorted(shown)
    assert sorted(f"{number} {evil}" for number, evil in enumerate(_EVIL)) == sorted(titles)
    assert all(any(evil in told for told in details) for evil in _EVIL)
    assert (0, None) == (made, await browser.js("return window.pwned ?? null"))
    assert [] == await browser.complaints()


async def test_it_says_so_while_it_is_not_connected_and_shows_all_after_a_restart(browser: Browser) -> None:
    scene = Scene()
    async with scene.air.transport, scene.tracker:
        async with served(scene.tracker, clock=scene.air.clock) as site:
            port = site.port
            await scene.say("start", instance="before", request_id="req-before")
            await browser.open(site.url)
            await browser.until(f"{_ROWS}.length === 1")
        await browser.until("document.querySelector('#link').dataset.is === 'away'")
        away = await browser.until("document.querySelector('#said').textContent.includes('lost') && document.body.innerText")
        title = await browser.js("return document.title")
        await scene.say("end", instance="before", request_id="req-before")
        await scene.say("start", instance="meanwhile", request_id="req-meanwhile")
        async with served(scene.tracker, clock=scene.air.clock, port=port):
            await browser.until("document.querySelector('#link').dataset.is === 'live'")
            states = await browser.js(f"return {_ROWS}.map((row) => row.dataset.state)")
            said = await browser.until("document.querySelector('#said').textContent.includes('again') && true")

    assert "Not connected, trying again; this is from 12:00:0" in away
    assert "(not connected) Volume swaps" == title
    assert ["running", "succeeded"] == sorted(states)
    assert said


async def test_it_says_so_while_the_tracker_is_deaf(browser: Browser, stage: tuple[Scene, Site]) -> None:
    scene, site = stage
    await browser.open(site.url)
    await browser.until("document.querySelector('#link').dataset.is === 'live'")
    scene.air.transport.lose()
    await scene.air.clock.advance(1)
    await browser.until("document.querySelector('#link').dataset.is === 'deaf'")

    assert "connection 1 of 1 to RabbitMQ is away" in await browser.text()


async def test_a_stuck_swap_is_amber_and_said(browser: Browser, stage: tuple[Scene, Site]) -> None:
    scene, site = stage
    await scene.say("start")
    await browser.open(site.url)
    await browser.until(f"{_ROWS}.length === 1")
    await scene.air.clock.advance(1_800)
    await browser.until("document.querySelector('tr[data-state]').dataset.state === 'stuck'")
    colour = await browser.js("return getComputedStyle(document.querySelector('tr[data-state] .word')).color")

    assert _AMBER == colour
    assert "Stuck: the swap of instance instance-1 on host-1" == await browser.until(
        "document.querySelector('#said').textContent"
    )


async def test_everything_is_reached_by_keyboard_in_order(browser: Browser, stage: tuple[Scene, Site]) -> None:
    scene, site = stage
    await scene.play()
    await browser.open(site.url)
    await browser.until(f"{_ROWS}.length === 13")
    order = []
    for _ in range(9):
        await browser.press("TAB")
        order.append(await browser.js("const e = document.activeElement; return e.id || e.dataset.state || e.className"))
    outline = await browser.js("return getComputedStyle(document.activeElement).outlineStyle")
    await browser.press("ENTER")
    opened = await browser.js("return [document.querySelector('dialog').open, document.activeElement.textContent]")
    await browser.press("ESCAPE")
    closed = await browser.js("return [document.querySelector('dialog').open, document.activeElement.className]")

    assert ["skip", "running", "stuck", "failed", "succeeded", "find", "span", "id", "id"] == order
    assert "none" != outline
    assert ([True, "Close"], [False, "id"]) == (opened, closed)


async def test_the_focus_stays_where_it_is_when_swaps_change(browser: Browser, stage: tuple[Scene, Site]) -> None:
    scene, site = stage
    await scene.say("start", instance="first", request_id="req-first")
    await browser.open(site.url)
    await browser.until(f"{_ROWS}.length === 1")
    await browser.js("document.querySelector('button.id').focus()")
    await scene.say("start", instance="second", request_id="req-second")
    await scene.say("end", instance="first", request_id="req-first")
    await browser.until(f"{_ROWS}.length === 2 && document.querySelector('[data-state=succeeded] button.id')")

    assert "first" == await browser.js("return document.activeElement.title")


async def test_states_and_a_text_choose_what_is_shown(browser: Browser, stage: tuple[Scene, Site]) -> None:
    scene, site = stage
    await scene.play()
    await browser.open(site.url)
    await browser.until(f"{_ROWS}.length === 13")
    await browser.press("TAB", "TAB", "TAB", "TAB", "SPACE")
    await browser.until(f"{_ROWS}.length === 2")
    pressed = await browser.js("return document.querySelector('.states [data-state=failed]').getAttribute('aria-pressed')")
    await browser.press("TAB", "TAB", *"COMPUTE-02")
    await browser.until(f"{_ROWS}.length === 1")
    await browser.press(*"-none")
    await browser.until(f"{_ROWS}.length === 0")

    assert "true" == pressed
    assert "No swap is as asked for." in await browser.text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_text_stands_out(scheme: str, browser: Browser, stage: tuple[Scene, Site]) -> None:
    scene, site = stage
    await scene.play()
    await browser.look(1280, 860, prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
    await browser.open(site.url)
    await browser.until(f"{_ROWS}.length === 13")
    faint = await browser.js(_FAINT)
    ground = await browser.js("return getComputedStyle(document.documentElement).backgroundColor")
    motion = await browser.js("return getComputedStyle(document.querySelector('.bar')).transitionProperty")

    assert [] == faint
    assert {"light": "rgb(246, 247, 249)", "dark": "rgb(18, 22, 29)"}[scheme] == ground
    assert "none" == motion


_FAINT: Final = """
const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const ground = (node) => {
  for (; node; node = node.parentElement) {
    const colour = parts(getComputedStyle(node).backgroundColor);
    if (colour.length < 4 || colour[3] > 0.99) return colour;
  }
};
const faint = [];
for (const node of document.querySelectorAll("body *:not(.unseen, .skip, option, script, noscript)")) {
  if (![...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim()) || !node.checkVisibility()) continue;
  const [a, b] = [light(parts(getComputedStyle(node).color)), light(ground(node))];
  const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (contrast < 4.5) faint.push([node.textContent, contrast]);
}
return faint;
"""
"""Texts whose contrast is below 4.5 to 1 (WCAG 2.2, 1.4.3)."""


async def test_a_narrow_window_shows_all_without_scrolling_aside(browser: Browser, stage: tuple[Scene, Site]) -> None:
    scene, site = stage
    await scene.play()
    await browser.look(380, 800)
    await browser.open(site.url)
    await browser.until(f"{_ROWS}.length === 13")

    assert await browser.js("return document.documentElement.scrollWidth <= 380")


async def test_the_page_works_with_a_token_that_no_address_holds(browser: Browser) -> None:
    async with on_stage(access=Access(token=_TOKEN)) as (scene, site):
        await scene.say("start", instance="secret")
        await browser.open(site.url)
        refused = await browser.text()
        await browser.open(site.url.replace("//", f"//anybody:{_TOKEN}@"))  # as if typed into the browser's own dialog
        await browser.open(site.url)
        await browser.until(f"{_ROWS}.length === 1")
        address = await browser.js("return location.href")

    assert "secret" not in refused
    assert site.url == address


async def test_the_pictures_of_the_documentation_can_be_painted(tmp_path: Path) -> None:
    await paint(tmp_path)
    names = await asyncio.to_thread(lambda: {file.name: file.stat().st_size for file in tmp_path.iterdir()})
    kept = await asyncio.to_thread(lambda: {file.name: file.stat().st_size for file in PICTURES.glob("serve*.png")})

    assert {"serve.png", "serve-dark.png"} == names.keys() == kept.keys()
    assert max(*names.values(), *kept.values()) < 300_000
