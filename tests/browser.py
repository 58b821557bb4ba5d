"""A real headless Chromium, and the clicks that the tests of the page share."""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
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
PATIENCE_S = 120.0
# Of the browser itself, not of the page.
OWN_SCHEMES = ("data:", "blob:", "chrome:", "about:")

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="needs Debian's chromium and chromium-driver"
)


class Page:
    """The LLMServe tab in a browser of its own."""

    def __init__(self, driver, url):
        self.driver, self.url = driver, url

    def open(self, *, theme="light"):
        self.driver.get(f"{self.url}/web/?__theme={theme}")
        self.until(lambda: self.element("compare-run").is_displayed())

    def element(self, element_id):
        return self.driver.find_element("id", element_id)

    def text(self, element_id):
        return self.element(element_id).text

    def html(self, element_id):
        return self.element(element_id).get_attribute("innerHTML")

    def click(self, element_id):
        self.element(element_id).click()

    def tab(self, name):
        shown = self._tab_named("button[role=tab]", name)
        if shown is None:  # on a narrow page the rest is behind a button
            menus = self.driver.find_elements("css selector", "button[aria-label='More tabs']")
            next(menu for menu in menus if menu.is_displayed()).click()
            shown = self._tab_named(".overflow-dropdown button", name)
        shown.click()

    def _tab_named(self, selector, name):
        found = self.driver.find_elements("css selector", selector)
        return next((tab for tab in found if tab.text.strip() == name), None)

    def fill(self, element_id, text):
        field = self.element(element_id).find_element("css selector", "input")
        field.clear()
        field.send_keys(text)

    def upload(self, element_id, path):
        script = """
            const button = document.getElementById(arguments[0]);
            return button.parentElement.querySelector('input[type=file]');"""
        self.driver.execute_script(script, element_id).send_keys(str(path))

    def choose(self, element_id, label):
        """Choose an entry of a dropdown, which may have to be filled first."""
        self.element(element_id).find_element("css selector", "input").click()
        options = "//ul[@role='listbox']/li"

        def is_chosen():
            option = self._option(options, label)
            if option is None:
                return False
            option.click()  # the list may be drawn anew under the pointer: then once more
            return True

        self.until(is_chosen)

    def _option(self, options, label):
        found = self.driver.find_elements("xpath", options)
        return next((option for option in found if label in option.text), None)

    def until(self, is_so: Callable[[], bool]):
        from selenium.common.exceptions import WebDriverException

        deadline_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline_s:
            try:
                if is_so():
                    return
            except WebDriverException:
                pass  # not there yet, or replaced while it was looked at
            time.sleep(0.1)
        raise AssertionError("the page did not come to it; see the test for what was waited for")

    def until_text(self, element_id, wanted):
        self.until(lambda: wanted in self.text(element_id))

    def press(self, key):
        """Press a key wherever the keyboard is."""
        from selenium.webdriver import ActionChains

        ActionChains(self.driver).send_keys(key).perform()

    def focused(self):
        """What the keyboard is on: the nearest named element's id, and whether one sees it."""
        script = """
            const on = document.activeElement;
            let named = on;
            while (named && !/^(compare|wheel|why|knob|fidelity)-/.test(named.id)) {
                named = named.parentElement;
            }
            const outline = getComputedStyle(on);
            const isSeen = outline.outlineStyle !== 'none' && outline.outlineWidth !== '0px';
            return [named ? named.id : '', isSeen];"""
        return tuple(self.driver.execute_script(script))

    def tab_until(self, element_id, key="\ue004", most=60):
        """Press Tab until the keyboard is there; the ids on the way, and whether all were seen."""
        passed, are_seen = [], True
        for _ in range(most):
            self.press(key)
            where, is_seen = self.focused()
            if where:
                passed.append(where)
                are_seen = are_seen and is_seen
            if where == element_id:
                return passed, are_seen
        raise AssertionError(f"{most} times Tab did not lead to {element_id}: {passed}")

    def requested(self):
        """The addresses of everything that was fetched since the last call."""
        messages = (json.loads(entry["message"]) for entry in self.driver.get_log("performance"))
        sent = (
            message["message"]["params"]
            for message in messages
            if message["message"]["method"]
            in ("Network.requestWillBeSent", "Network.webSocketCreated")
        )
        return [params.get("url") or params["request"]["url"] for params in sent]

    def external_requests(self):
        own = (self.url, self.url.replace("http", "ws"), *OWN_SCHEMES)
        return [address for address in self.requested() if not address.startswith(own)]

    def resize(self, width, height):
        is_phone = width < 500
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": is_phone}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def widest(self):
        return self.driver.execute_script("return document.documentElement.scrollWidth")

    def whole_height(self):
        return self.driver.execute_script("return document.documentElement.scrollHeight")


@contextmanager
def chromium_page(url: str, folder: Path) -> Iterator[Page]:
    """A page of a fresh browser whose profile and downloads lie in the folder."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}", "--window-size=1280,1000"):
        options.add_argument(flag)
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    options.add_experimental_option("prefs", {"download.default_directory": str(folder)})
    environ = os.environ | {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
    service = webdriver.ChromeService(DRIVER, env=environ)
    driver = webdriver.Chrome(options=options, service=service)
    try:
        yield Page(driver, url)
    finally:
        driver.quit()
