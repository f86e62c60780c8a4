"""The page in a real browser: no errors, no requests, keyboard, both themes, paper, and what axe-core says of it.

Chromium and its driver are those of the system; nothing is downloaded. Without them, or without selenium and axe-core,
the tests are skipped.
"""

from __future__ import annotations

import base64
import json
import shutil
from importlib.resources import files
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import pytest

from collapse_guard.report.gate_page import gate_html

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1200,900",
)
LACKING: Final = [
    name
    for name, there in (
        ("chromium", CHROMIUM),
        ("chromedriver", DRIVER),
        ("selenium", find_spec("selenium")),
        ("axe-core-python", find_spec("axe_core_python")),
    )
    if not there
]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(LACKING), reason=f"not installed: {', '.join(LACKING)}"),
    # selenium leaves sockets and files to the garbage collector
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SE_OFFLINE", "true")  # its manager downloads nothing
        patched.setenv("SE_AVOID_STATS", "true")
        browser = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    yield browser
    browser.quit()


@pytest.fixture(scope="module")
def file(view: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(gate_html(view), encoding="utf-8")
    return path


@pytest.fixture
def page(driver: Any, file: Path) -> Any:
    """Return the browser with the page freshly loaded, in the light theme, 1200 px wide."""
    seen(driver, light=True)
    driver.get_log("performance")
    driver.get(file.as_uri())
    return driver


def seen(driver: Any, *, light: bool, width: int = 1200, media: str = "screen") -> None:
    scheme = {"name": "prefers-color-scheme", "value": "light" if light else "dark"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": [scheme]})
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def test_nothing_is_asked_for_and_nothing_is_wrong(page: Any, file: Path) -> None:
    events = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    asked = {event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"}
    assert asked == {file.as_uri()}
    assert page.get_log("browser") == []


def test_names_from_the_data_are_text_and_run_nothing(page: Any, hostile: tuple[str, ...]) -> None:
    script = "return Array.from(document.scripts).map(each => each.type)"
    assert page.execute_script(script) == ["application/json"]
    assert page.execute_script("return document.images.length") == 0
    said = page.execute_script("return document.body.textContent")
    assert hostile[0] in said
    assert hostile[1] in said
    held = page.execute_script("return document.getElementById('collapse-guard-result').textContent")
    assert hostile[0] in json.dumps(json.loads(held))


def test_the_parts_of_the_page_are_where_a_reader_of_the_page_looks(page: Any) -> None:
    landmarks = "return ['header', 'nav', 'main'].map(name => document.querySelectorAll(name).length)"
    assert page.execute_script(landmarks) == [1, 1, 1]
    broken = """return Array.from(document.querySelectorAll('a[href^="#"], [aria-labelledby]')).filter(each =>
        !document.getElementById((each.getAttribute('href') || '').slice(1) || each.getAttribute('aria-labelledby'))
    ).length"""
    assert page.execute_script(broken) == 0
    ids = "return Array.from(document.querySelectorAll('[id]')).map(each => each.id)"
    found = page.execute_script(ids)
    assert len(found) == len(set(found))


def test_everything_can_be_reached_by_keyboard(page: Any) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    def pressed(key: str) -> str:
        ActionChains(page).send_keys(key).perform()
        said = "const e = document.activeElement; return [e.tagName, e.getAttribute('aria-label') || e.textContent]"
        return " ".join(" ".join(page.execute_script(said)).split())

    assert pressed(Keys.TAB) == "A Skip to the findings"
    assert pressed(Keys.ENTER).startswith("MAIN")
    first = pressed(Keys.TAB)
    assert first.startswith("SUMMARY Evidence")
    pressed(Keys.ENTER)
    assert page.execute_script("return document.activeElement.parentElement.open") is True
    reached = [first]
    while not reached[-1].startswith("BODY") and len(reached) < 300:
        reached.append(pressed(Keys.TAB))
    wanted = page.execute_script(
        "return Array.from(document.querySelectorAll('main summary, main a, main [tabindex=\"0\"]'))"
        ".filter(each => each.checkVisibility()).length"
    )
    assert len(reached) - 1 == wanted
    regions = [each for each in reached if each.startswith("DIV ")]
    assert "DIV Plot: Origins by generation" in regions
    assert "DIV Sources" in regions


def test_the_themes_differ_and_the_plots_follow_them(page: Any) -> None:
    script = """const of = name => getComputedStyle(document.querySelector(name));
        return [of('body').backgroundColor, of('body').color, of('.plot text').fill]"""
    light = page.execute_script(script)
    seen(page, light=False)
    dark = page.execute_script(script)
    assert light == ["rgb(255, 255, 255)", "rgb(28, 32, 36)", "rgb(28, 32, 36)"]
    assert dark == ["rgb(20, 23, 26)", "rgb(230, 233, 236)", "rgb(230, 233, 236)"]


@pytest.mark.parametrize("light", [True, False], ids=["light", "dark"])
def test_on_paper_the_page_is_dark_on_white(page: Any, *, light: bool) -> None:
    seen(page, light=light, media="print")
    script = "const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]"
    assert page.execute_script(script) == ["rgb(255, 255, 255)", "rgb(0, 0, 0)"]
    assert page.execute_script("return getComputedStyle(document.querySelector('nav')).display") == "none"
    printed = page.execute_cdp_cmd("Page.printToPDF", {"paperWidth": 8.27, "paperHeight": 11.69})
    assert base64.b64decode(printed["data"]).startswith(b"%PDF-")


def test_a_narrow_screen_scrolls_tables_and_not_the_page(page: Any) -> None:
    seen(page, light=True, width=400)
    sizes = "const e = document.documentElement; return [e.scrollWidth, e.clientWidth]"
    whole, visible = page.execute_script(sizes)
    assert whole <= visible <= 400


@pytest.mark.parametrize("light", [True, False], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1200, 400])
def test_axe_core_finds_nothing(page: Any, *, light: bool, width: int) -> None:
    seen(page, light=light, width=width)
    page.execute_script("document.querySelectorAll('details').forEach(each => { each.open = true })")
    page.execute_script(files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8"))
    found = page.execute_async_script("const done = arguments[arguments.length - 1]; axe.run().then(done)")
    assert len(found["passes"]) > 15
    assert [(each["id"], each["help"], each["nodes"][0]["html"][:120]) for each in found["violations"]] == []
