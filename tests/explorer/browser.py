"""Debian's Chromium, driven by selenium, and the page that it looks at."""

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
SIZE = 28  # of the pictures that are looked at
PIXELS = """
const images = [...document.querySelectorAll(arguments[0] + ' img')], size = arguments[1];
const image = images.find(each => each.offsetParent);  // the one that can be seen
const canvas = document.createElement('canvas');
canvas.width = canvas.height = size;
const pen = canvas.getContext('2d');
pen.drawImage(image, 0, 0, size, size);
return Array.from(pen.getImageData(0, 0, size, size).data);
"""
TURN = """
arguments[0].value = arguments[1];
arguments[0].dispatchEvent(new Event('input', {bubbles: true}));
"""
WATCHED = """
import runpy, sys
def watch(event, values):
    if event == "socket.connect" and "127.0.0.1" not in values[1]:
        print("it calls", values[1], flush=True)
sys.addaudithook(watch)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
PATIENCE = 90  # seconds, for a machine with much else to do


def need_browser() -> None:
    """Skip where something is missing, but fail if VAELAB_REQUIRE_BROWSER=1 says it is there."""
    packages = ("gradio", "selenium")
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    missing += [str(path) for path in (CHROMIUM, DRIVER) if not path.exists()]
    if missing and os.environ.get("VAELAB_REQUIRE_BROWSER") == "1":
        pytest.fail(f"VAELAB_REQUIRE_BROWSER=1, but there is no {' and no '.join(missing)}")
    if missing:
        pytest.skip(f"the page needs a browser: there is no {' and no '.join(missing)}")


@contextmanager
def served(folder: Path, port: int, *runs: Path) -> Iterator[str]:
    """scripts/explore.py in a process of its own; the address of its page.

    It fails if that process has ended or has called any other host.
    """
    script = ROOT / "scripts" / "explore.py"
    words = [sys.executable, "-c", WATCHED, script, *runs, "--port", str(port)]
    environment = os.environ | {"GRADIO_TEMP_DIR": str(folder / "uploads")}
    with (folder / "log").open("w") as file:
        server = subprocess.Popen(words, cwd=folder, env=environment, stdout=file, stderr=file)
    try:
        address = f"http://127.0.0.1:{port}/"
        wait_for(address, server, folder / "log")
        yield address
        log = (folder / "log").read_text()
        assert server.poll() is None, log
        assert "it calls" not in log, log
        assert "Traceback" not in log, log
    finally:
        server.terminate()
        server.wait()


def wait_for(address: str, server: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(address):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"the page does not answer: {log.read_text()[-2000:]}")


@contextmanager
def browser(folder: Path) -> Iterator[Any]:
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


def requested(driver: Any) -> set[str]:
    """Every host that the page has asked for something."""
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    sent = [each for each in messages if each["method"] == "Network.requestWillBeSent"]
    addresses = [each["params"]["request"]["url"] for each in sent]
    return {address.split("/")[2] for address in addresses if address.startswith(("http", "ws"))}


def same(first: Any, second: Any) -> bool:
    return np.array_equal(first, second) if isinstance(first, np.ndarray) else first == second


class Page:
    """What a visitor sees and does; every change is waited for."""

    def __init__(self, driver: Any, address: str):
        from selenium.webdriver.support.ui import WebDriverWait

        self.driver, self.wait = driver, WebDriverWait(driver, PATIENCE, 0.05)
        driver.get(address)
        self.until(lambda: self.find(".decoded img"))

    def until(self, holds: Callable[[], Any]) -> None:
        self.wait.until(lambda _: holds())

    def changes(self, act: Callable[[], Any], what: Callable[[], Any]) -> None:
        """Do it and wait until what is seen is another."""
        before = what()
        act()
        self.until(lambda: not same(what(), before))

    def find(self, selector: str) -> list[Any]:
        return self.driver.find_elements("css selector", selector)

    def seen(self, selector: str) -> list[Any]:
        return [each for each in self.find(selector) if each.is_displayed()]

    def words(self, selector: str) -> str:
        return "\n".join(each.text for each in self.seen(selector))

    def messages(self) -> str:
        return self.words(".message")

    def tab(self, name: str) -> None:
        """Open a tab, the first of this name that can be seen."""
        self.until(lambda: any(each.text == name for each in self.seen("button[role=tab]")))
        next(each for each in self.seen("button[role=tab]") if each.text == name).click()

    def pixels(self, where: str = ".decoded figure:last-of-type") -> np.ndarray:
        return np.array(self.driver.execute_script(PIXELS, where, SIZE))

    def sliders(self) -> dict[str, float]:
        """The values by the names of the latents."""
        return {name: float(each.get_attribute("value")) for name, each in self._sliders().items()}

    def turn(self, name: str, value: float) -> None:
        self.driver.execute_script(TURN, self._sliders()[name], value)

    def _sliders(self) -> dict[str, Any]:
        found = self.seen(".dials input[type=range]")
        return {each.get_attribute("aria-label").split()[3]: each for each in found}

    def ring(self) -> float:
        """How far from the left the mark of the map is, in pixels."""
        return self.seen(".map .here")[0].rect["x"]

    def drag(self, element: Any, *steps: tuple[int, int]) -> None:
        """Press at the first step from the middle of an element, go the others, let go."""
        from selenium.webdriver.common.action_chains import ActionChains

        chain = ActionChains(self.driver, duration=20)
        chain.move_to_element_with_offset(element, *steps[0]).click_and_hold()
        for step in steps[1:]:
            chain.move_by_offset(*step)
        chain.release().perform()

    def upload(self, path: Path) -> None:
        self.find("input[type=file]")[0].send_keys(str(path))
