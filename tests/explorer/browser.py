"""Drive the explorer page in Debian's Chromium with selenium."""

import importlib.util
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--window-size=1280,1200")
FLAGS += ("--disable-quic", "--no-first-run", "--disable-background-networking")
FLAGS += ("--disable-component-update", "--disable-sync")
SIZE = 28  # edge of the images whose pixels are compared
PIXELS = """
const images = [...document.querySelectorAll(arguments[0] + ' img')], size = arguments[1];
const image = images.find(candidate => candidate.offsetParent);  // the visible one
const canvas = document.createElement('canvas');
canvas.width = canvas.height = size;
const pen = canvas.getContext('2d');
pen.drawImage(image, 0, 0, size, size);
return Array.from(pen.getImageData(0, 0, size, size).data);
"""
CLIPPED = """
const width = document.documentElement.clientWidth;
return [...document.querySelectorAll('body *')].filter(element => {
  if (!element.checkVisibility({visibilityProperty: true})) return false;
  const style = getComputedStyle(element), box = element.getBoundingClientRect();
  if (element.closest('.visually-hidden, .sr-only')) return false;
  return box.right > width + 1 || box.left < -1
    || (style.overflowX != 'visible' && element.scrollWidth > element.clientWidth + 1
        && element.clientWidth && style.textOverflow != 'ellipsis');
}).map(element => element.outerHTML.slice(0, 200));
"""
SET_SLIDER = """
arguments[0].value = arguments[1];
arguments[0].dispatchEvent(new Event('input', {bubbles: true}));
"""
AUDITED_RUN = """
import runpy, sys
def report_connections(event, values):
    if event == "socket.connect" and "127.0.0.1" not in values[1]:
        print("connects to", values[1], flush=True)
sys.addaudithook(report_connections)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
TIMEOUT = 90  # seconds; long, for busy machines


def require_browser() -> None:
    """Skip the test if the browser or a package is missing; fail if VAELAB_REQUIRE_BROWSER=1."""
    packages = ("gradio", "selenium")
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    missing += [str(path) for path in (CHROMIUM, DRIVER) if not path.exists()]
    if missing and os.environ.get("VAELAB_REQUIRE_BROWSER") == "1":
        pytest.fail(f"VAELAB_REQUIRE_BROWSER=1, but these are missing: {', '.join(missing)}")
    if missing:
        pytest.skip(f"the page needs a browser; missing: {', '.join(missing)}")


@contextmanager
def serve_runs(folder: Path, port: int, *runs: Path) -> Iterator[str]:
    """Run scripts/explore.py in a subprocess and yield the URL of its page.

    Fails if the process ends early, prints a traceback, or connects to any other host.
    """
    script = ROOT / "scripts" / "explore.py"
    command = [sys.executable, "-c", AUDITED_RUN, script, *runs, "--port", str(port)]
    environment = os.environ | {"GRADIO_TEMP_DIR": str(folder / "uploads")}
    with (folder / "log").open("w") as file:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=file, stderr=file)
    try:
        url = f"http://127.0.0.1:{port}/"
        wait_until_served(url, server, folder / "log")
        yield url
        log = (folder / "log").read_text()
        assert server.poll() is None, log
        assert "connects to" not in log, log
        assert "Traceback" not in log, log
    finally:
        server.terminate()
        server.wait()


def wait_until_served(url: str, server: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(url):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"the page does not respond: {log.read_text()[-2000:]}")


@contextmanager
def serve_here(run: Path) -> Iterator[str]:
    """Serve the page of a run from a thread of this process and yield its URL."""
    from vaelab.explorer.explorer import Explorer
    from vaelab.explorer.page import launch_page

    page = launch_page([Explorer.open(run)], "127.0.0.1", None, prevent_thread_lock=True)
    try:
        yield page.local_url
    finally:
        page.close()


@contextmanager
def open_browser(folder: Path) -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    driver = webdriver.Chrome(options, Service(str(DRIVER)))
    try:
        yield driver
    finally:
        driver.quit()


def requested_hosts(driver: Any) -> set[str]:
    """Return every host from which the page requested something."""
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    requests = [entry for entry in messages if entry["method"] == "Network.requestWillBeSent"]
    urls = [entry["params"]["request"]["url"] for entry in requests]
    return {url.split("/")[2] for url in urls if url.startswith(("http", "ws"))}


def is_equal(first: Any, second: Any) -> bool:
    return np.array_equal(first, second) if isinstance(first, np.ndarray) else first == second


class Page:
    """The page as a visitor sees and uses it. Actions wait for their effect."""

    def __init__(self, driver: Any, url: str):
        from selenium.webdriver.support.ui import WebDriverWait

        self.driver, self.wait = driver, WebDriverWait(driver, TIMEOUT, 0.05)
        driver.get(url)
        self.wait_until(lambda: len(self.find_visible(".pictures img")) == 2)

    def wait_until(self, condition: Callable[[], Any]) -> None:
        self.wait.until(lambda _: condition())

    def act_and_wait(self, act: Callable[[], Any], observe: Callable[[], Any]) -> None:
        """Call `act` and wait until the result of `observe` changes."""
        before = observe()
        act()
        self.wait_until(lambda: not is_equal(observe(), before))

    def find(self, selector: str) -> list[Any]:
        return self.driver.find_elements("css selector", selector)

    def find_visible(self, selector: str) -> list[Any]:
        return [element for element in self.find(selector) if element.is_displayed()]

    def visible_text(self, selector: str) -> str:
        return "\n".join(element.text for element in self.find_visible(selector))

    def messages(self) -> str:
        return self.visible_text(".toast-body")

    def find_button(self, text: str) -> Any:
        """Return the visible button with this text."""
        return next(
            button for button in self.find_visible("button") if button.text.split("\n")[0] == text
        )

    def open_tab(self, name: str) -> None:
        """Open the first visible tab with this name."""
        tabs = "button[role=tab]"
        self.wait_until(lambda: any(tab.text == name for tab in self.find_visible(tabs)))
        next(tab for tab in self.find_visible(tabs) if tab.text == name).click()

    def click_tile(self, position: int, grid: int = 0) -> None:
        """Click a test image in one of the visible grids of test images."""
        grids = self.find_visible(".tiles")
        grids[grid].find_elements("css selector", "button.gallery-item")[position].click()

    def captions(self) -> list[str]:
        """Return the captions of the visible images."""
        return [caption.text for caption in self.find_visible(".picture label")]

    def set_width(self, width: int) -> None:
        size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.wait_until(lambda: self.driver.execute_script("return innerWidth") == width)

    def find_clipped(self) -> list[str]:
        """Return what is wider than the window, or than its visible part."""
        return self.driver.execute_script(CLIPPED)

    def read_pixels(self, selector: str = ".pictures .picture:last-child") -> np.ndarray:
        return np.array(self.driver.execute_script(PIXELS, selector, SIZE))

    def read_sliders(self) -> dict[str, float]:
        """Return the values of the sliders by the name of their latent."""
        return {
            name: float(slider.get_attribute("value"))
            for name, slider in self._find_sliders().items()
        }

    def set_slider(self, name: str, value: float) -> None:
        self.driver.execute_script(SET_SLIDER, self._find_sliders()[name], value)

    def _find_sliders(self) -> dict[str, Any]:
        sliders = self.find_visible(".dial input[type=range]")
        return {slider.get_attribute("aria-label").split()[3]: slider for slider in sliders}

    def read_ring_position(self) -> float:
        """Return the x coordinate of the ring on the map, in pixels."""
        return self.find_visible(".map div")[0].rect["x"]

    def drag(self, element: Any, *steps: tuple[int, int]) -> None:
        """Press at an offset from an element's centre, move by the other steps, and release."""
        from selenium.webdriver.common.action_chains import ActionChains

        chain = ActionChains(self.driver, duration=20)
        chain.move_to_element_with_offset(element, *steps[0]).click_and_hold()
        for step in steps[1:]:
            chain.move_by_offset(*step)
        chain.release().perform()

    def upload(self, path: Path) -> None:
        self.find("input[type=file]")[0].send_keys(str(path))
