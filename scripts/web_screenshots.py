"""Takes pictures of the web page: docs/web/compare.png for README, and more where asked to.

    uv run python -m scripts.web_screenshots [--out FOLDER]

Starts a server, opens its page in a real headless Chromium (Debian's packages chromium and
chromium-driver) and leaves the picture of README in docs/web. With --out it also takes every
sub-tab in light and dark and at the width of a phone, to be looked at.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx

from llmserve_env.errors import InvalidInputError

ROOT: Final = Path(__file__).resolve().parents[1]
PICTURE: Final = ROOT / "docs" / "web" / "compare.png"
DESKTOP_PX, PHONE_PX = (1180, 1000), (400, 860)
TABS: Final = ("Compare agents", "Take the wheel", "Why?", "Fidelity")
PLAYGROUND: Final = "Playground"
PATIENCE_S: Final = 300.0
SETTLE_S: Final = 1.5
FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--no-proxy-server",
)


@contextmanager
def server() -> Iterator[str]:
    """The URL of a server on a free port of this machine, stopped at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    environ = os.environ | {"LLMSERVE_HOST": "127.0.0.1", "PORT": str(port)}
    process = subprocess.Popen([sys.executable, "-m", "server.app"], cwd=ROOT, env=environ)
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: _answers(url))
        yield url
    finally:
        process.terminate()
        process.wait(timeout=30)


@contextmanager
def browser() -> Iterator[Any]:
    """A fresh headless Chromium.

    Raises:
        InvalidInputError: If Chromium, its driver or selenium is not installed.
    """
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        raise InvalidInputError("need chromium and chromedriver: apt-get install chromium-driver")
    # Here, because only those who take pictures have it.
    from selenium import webdriver

    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.binary_location = chromium
        made = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
        try:
            yield made
        finally:
            made.quit()


def take_picture_of_readme(driver: Any, url: str) -> None:
    """Run a comparison and leave its picture in docs/web."""
    _open(driver, url, theme="light", size_px=DESKTOP_PX)
    driver.find_element("id", "compare-run").click()
    until(lambda: "Done:" in driver.find_element("id", "compare-status").text)
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    _shoot(driver, PICTURE, DESKTOP_PX[0])


def take_all(driver: Any, url: str, folder: Path) -> None:
    """Every sub-tab in light, dark and at the width of a phone."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, theme, size_px in (
        ("light", "light", DESKTOP_PX),
        ("dark", "dark", DESKTOP_PX),
        ("phone", "light", PHONE_PX),
    ):
        _open(driver, url, theme=theme, size_px=size_px)
        for tab in TABS:
            _choose(driver, tab)
            if tab == TABS[1]:
                _drive(driver)
            time.sleep(SETTLE_S)
            plain = "".join(letter for letter in tab.lower() if letter.isalpha())
            _resize(driver, size_px)
            _shoot(driver, folder / f"{name}_{plain}.png", size_px[0])
            _resize(driver, size_px)
        _choose(driver, PLAYGROUND)
        _press(driver, "Reset")
        until(partial(_says, driver, None, "Best constant found"))
        _shoot(driver, folder / f"{name}_{PLAYGROUND.lower()}.png", size_px[0])


def main() -> int:
    """Zero when all pictures are taken."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, help="also every sub-tab, into this folder")
    arguments = parser.parse_args()
    with server() as url, browser() as driver:
        take_picture_of_readme(driver, url)
        if arguments.out is not None:
            take_all(driver, url, arguments.out)
    print(f"wrote {PICTURE.relative_to(ROOT)}, {PICTURE.stat().st_size / 1000:.0f} kB")
    return 0


def _drive(driver: Any) -> None:
    """Start the episode at the wheel and play some windows."""
    driver.find_element("id", "wheel-start").click()
    until(lambda: "200 windows" in driver.find_element("id", "wheel-status").text)
    for played in (10, 20, 30, 40):
        driver.find_element("id", "wheel-ten").click()
        until(partial(_says, driver, "wheel-status", f"Window {played} "))


def _says(driver: Any, element_id: str | None, words: str) -> bool:
    """Whether an element, or the whole page, shows the words."""
    by, name = ("tag name", "body") if element_id is None else ("id", element_id)
    return words in driver.find_element(by, name).text


def _press(driver: Any, label: str) -> None:
    buttons = driver.find_elements("tag name", "button")
    next(button for button in buttons if button.text.strip() == label).click()


def _open(driver: Any, url: str, *, theme: str, size_px: tuple[int, int]) -> None:
    _resize(driver, size_px)
    driver.get(f"{url}/web/?__theme={theme}")
    until(lambda: driver.find_element("id", "compare-run").is_displayed())
    time.sleep(SETTLE_S)


def _choose(driver: Any, tab: str) -> None:
    """Open a sub-tab, from the menu of those that a narrow page has no room for if need be."""
    script = """
        const named = (selector) => [...document.querySelectorAll(selector)]
            .find((button) => button.textContent.trim() === arguments[0]);
        const shown = named('button[role=tab]');
        if (shown) { shown.click(); return; }
        [...document.querySelectorAll('.overflow-menu > button')].forEach((menu) => menu.click());
        named('.overflow-dropdown button').click();"""
    driver.execute_script(script, tab)


def _resize(driver: Any, size_px: tuple[int, int]) -> None:
    width, height = size_px
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def _shoot(driver: Any, path: Path, width: int) -> None:
    """The whole page as a picture."""
    height = driver.execute_script(
        "return document.querySelector('.gradio-container').scrollHeight"
    )
    _resize(driver, (width, height))
    time.sleep(SETTLE_S)
    driver.save_screenshot(str(path))


def until(is_so: Callable[[], bool], *, every_s: float = 0.2) -> None:
    """Wait until it is so; what fails meanwhile is not there yet.

    Raises:
        TimeoutError: If it is not so in time.
    """
    # Here, because only those who take pictures have it.
    from selenium.common.exceptions import WebDriverException

    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        try:
            if is_so():
                return
        except WebDriverException:
            pass
        time.sleep(every_s)
    raise TimeoutError(f"the page did not come to it within {PATIENCE_S:.0f} s")


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", trust_env=False).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


if __name__ == "__main__":
    sys.exit(main())
