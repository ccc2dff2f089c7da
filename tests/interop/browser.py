# mypy: disable-error-code="import-not-found,import-untyped"
"""A real Chromium without a window, of Debian's packages: it talks to loopback only and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest

from tests.packages import apt_install

__all__ = ["Browser", "browsing", "need_chromium"]

_FLAGS: Final = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
)
_DEADLINE: Final = 30.0
_NONE: Final = "these tests need a Chromium: install the packages chromium and chromium-driver, or run the tests as root"


def need_chromium() -> tuple[str, str]:
    """Return the paths of browser and driver; skip the test if there are none, but in CI let it fail."""
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        apt_install("chromium", "chromium-driver")
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        if "CI" in os.environ:
            pytest.fail(_NONE)
        pytest.skip(_NONE)
    return browser, driver


class Browser:
    """One window.

    Args:
        driver: what steers it; it blocks, so that all is done in a thread.
    """

    def __init__(self, driver: Any) -> None:
        self._driver = driver

    async def open(self, url: str) -> None:
        """Go there, and wait until the page is loaded."""
        await asyncio.to_thread(self._driver.get, url)

    async def js(self, script: str, *arguments: object) -> Any:
        """Return what a script returns."""
        return await asyncio.to_thread(self._driver.execute_script, script, *arguments)

    async def until(self, condition: str) -> Any:
        """Wait until an expression in JavaScript is true, and return it; fail with what is on the page."""
        from selenium.webdriver.support.wait import WebDriverWait

        script = f"return {condition}"

        def wait() -> Any:
            return WebDriverWait(self._driver, _DEADLINE, 0.05).until(lambda driver: driver.execute_script(script))

        try:
            return await asyncio.to_thread(wait)
        except Exception as error:
            raise AssertionError(f"never: {condition}; the page says: {await self.text()}") from error

    async def text(self) -> str:
        """Return all that is to be read on the page."""
        return str(await self.js("return document.body.innerText"))

    async def press(self, *keys: str) -> None:
        """Press keys, one after the other, wherever the focus is."""
        from selenium.webdriver import ActionChains, Keys

        def press() -> None:
            for key in keys:
                ActionChains(self._driver).send_keys(getattr(Keys, key, key)).perform()

        await asyncio.to_thread(press)

    async def look(self, width: int, height: int, **features: str) -> None:
        """Give the window a size, and the page preferences: `prefers_color_scheme="dark"`."""
        told = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]

        def look() -> None:
            size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
            self._driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            self._driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": told})

        await asyncio.to_thread(look)

    async def picture(self, path: Path) -> None:
        """Write what is to be seen as PNG."""
        await asyncio.to_thread(self._driver.save_screenshot, str(path))

    async def complaints(self) -> list[str]:
        """Return what the browser has complained of: errors of scripts, and what the page's policy forbids."""
        entries = await asyncio.to_thread(self._driver.get_log, "browser")
        return [entry["message"] for entry in entries]


@asynccontextmanager
async def browsing() -> AsyncGenerator[Browser]:
    """Give a browser that knows nothing, and end it."""
    from selenium import webdriver  # what only `make interop` installs must not be missed by other tests
    from selenium.webdriver.chrome.service import Service

    binary, driver_path = need_chromium()
    with TemporaryDirectory() as folder:
        options = webdriver.ChromeOptions()
        options.binary_location = binary
        for flag in (*_FLAGS, f"--user-data-dir={folder}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        environment = {**os.environ, "HOME": folder, "no_proxy": "*"}
        service = Service(executable_path=driver_path, env=environment)
        driver = await asyncio.to_thread(lambda: webdriver.Chrome(options=options, service=service))
        try:
            yield Browser(driver)
        finally:
            await asyncio.to_thread(driver.quit)
