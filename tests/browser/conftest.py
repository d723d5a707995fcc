"""A real browser for pages that are opened from a file, with the network cut."""

import contextlib
import importlib.util
from pathlib import Path

import pytest
from support import give_up

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser():
    if not CHROMIUM.exists():
        give_up(f"{CHROMIUM} is missing (apt-get install chromium)")
    if importlib.util.find_spec("playwright") is None:
        give_up("playwright is not installed (make setup)")
    sync_api = importlib.import_module("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def offline_page(browser):
    """Return a context manager: an offline page that fails if it logs an error or asks for anything but a file."""

    @contextlib.contextmanager
    def opened():
        context = browser.new_context(viewport={"width": 1200, "height": 800})
        context.set_offline(True)
        page = context.new_page()
        problems = []
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda asked: None if asked.url.startswith("file:") else problems.append(asked.url))
        yield page
        context.close()
        assert problems == []

    return opened


@pytest.fixture
def page(offline_page):
    with offline_page() as opened:
        yield opened
