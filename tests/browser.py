"""A real browser, for tests that ask for its fixtures by name."""

from __future__ import annotations

import shutil
import time

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")

needs_browser = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="there is no Chromium with its driver (apt-get install chromium chromium-driver)"
)


class Browser:
    """What a person sees and does."""

    def __init__(self, driver):
        from selenium.webdriver.common.keys import Keys

        self.driver, self.keys = driver, Keys

    def open(self, address, scheme="light", **sizes):
        size = {"width": 1280, "height": 900, "deviceScaleFactor": 1, "mobile": False, **sizes}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        self.complaints()  # those of before
        self.driver.get(address)

    def js(self, code, *arguments):
        return self.driver.execute_script(f"return {code}", *arguments)

    def all(self, selector):
        return self.driver.find_elements("css selector", selector)

    def one(self, selector):
        return self.driver.find_element("css selector", selector)

    def texts(self, selector):
        return self.js("[...document.querySelectorAll(arguments[0])].map(e => e.textContent)", selector)

    def items(self, column=1):
        """The ids of a list, in its order."""
        code = "[...document.querySelectorAll(`.lists > section:nth-child(${arguments[0]}) li[data-item]`)]"
        return self.js(code + ".map(e => e.dataset.item)", column)

    def until(self, true, what="", seconds=20):
        start = time.monotonic()
        while not true():
            assert time.monotonic() - start < seconds, what or self.status
            time.sleep(0.05)

    @property
    def status(self):
        return self.one("#status").text

    def set(self, selector, value):
        """Set a slider or a text as a hand does."""
        code = "(e => { e.value = arguments[1]; e.dispatchEvent(new Event('input', {bubbles: true})); })"
        self.js(f"{code}(document.querySelector(arguments[0]))", selector, value)

    def type(self, *keys):
        """Press keys where the focus is."""
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    @property
    def focused(self):
        return self.js("document.activeElement.id || document.activeElement.textContent")

    def complaints(self):
        """What the browser has to say against the page: violations of its policy, errors."""
        return [entry["message"] for entry in self.driver.get_log("browser")]


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    selenium = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    from selenium.webdriver.chrome.service import Service as DriverService

    options = selenium.ChromeOptions()
    options.binary_location = CHROMIUM
    profile = tmp_path_factory.mktemp("profile")
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = selenium.Chrome(options, DriverService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def browser(driver):
    driver.execute_cdp_cmd("Storage.clearDataForOrigin", {"origin": "*", "storageTypes": "all"})
    yield Browser(driver)
    driver.execute_script("localStorage.clear(); sessionStorage.clear()")
