"""The page in a real browser: nothing of a run is executed, everything is reached by keyboard."""

from __future__ import annotations

import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from attrs import evolve

from tests.builders import png
from tests.reporting.builders import PLAN, a_run, a_varied_question, many
from tests.reporting.conftest import Tab, write
from tests.reporting.test_page import HOSTILE, hostile
from vqa_engine.adapter import Answer
from vqa_engine.results import Row

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from playwright.sync_api import Browser

AXE = "axe-core@4.14.1"
"""The accessibility rules, from the npm registry; MPL-2.0, so not kept here."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_run(tmp_path_factory.mktemp("page") / "run", many(300), labels=["a", "b"])


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed, so axe-core cannot be had")
    folder = tmp_path_factory.mktemp("axe")
    fetched = subprocess.run(
        [npm, "pack", AXE], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    if fetched.returncode:
        pytest.skip(f"{AXE} cannot be fetched: {fetched.stderr.strip()[-200:]}")
    shutil.unpack_archive(next(folder.glob("*.tgz")), folder)
    return (folder / "package" / "axe.min.js").read_text()


def test_a_hostile_run_executes_nothing_and_asks_for_nothing(tab: Tab, tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", hostile(), labels=["a", "<b onclick=window.pwned=1>"])
    address = write(run).as_uri()
    page = tab.open(address)
    tab.show("q=script&type=%3Cimg%20src%3Dx%20onerror%3Dwindow.pwned%3D1%3E")
    for place in range(2 * len(HOSTILE)):
        tab.show(f"row={place}")
        page.wait_for_selector("#detail[open] .spoken")
    page.wait_for_timeout(100)
    assert page.evaluate("window.pwned") is None
    assert page.evaluate("document.querySelectorAll('script').length") == 2
    strangers = [asked for asked in tab.asked if not asked.startswith("file:///")]
    assert not strangers
    blocked = [said for said in tab.said if "ERR_FILE_NOT_FOUND" not in said]
    assert not blocked


def test_no_request_leaves_the_page_and_nothing_is_complained_of(tab: Tab, run: Path) -> None:
    page = tab.open(write(run, pictures="none").as_uri())
    for view in ("show=wrong", "q=cat", "sort=slow", "row=3", ""):
        tab.show(view)
    page.mouse.wheel(0, 4000)
    assert tab.asked == [(run / "report.html").as_uri()]
    assert not tab.said


def test_a_row_opened_shows_all_that_is_known_of_it(tab: Tab, tmp_path: Path) -> None:
    image = tmp_path / "pictures" / "a b#1.png"
    image.parent.mkdir()
    image.write_bytes(png((32, 16)))
    rows = list(many(40))
    asked = a_varied_question(
        41, image=image, images=(image,), answers=(), choices=("red", "blue"), right=1
    )
    rows.append(
        Row(
            adapter="a",
            question=asked,
            answer=Answer(text="red", plan=PLAN, probability=0.451, logprob=-0.25),
        )
    )
    run = a_run(tmp_path / "runs" / "run", rows, labels=["a", "b"])
    page = tab.open(write(run).as_uri(), "row=40")
    page.wait_for_function("() => document.querySelector('#opened img')?.naturalWidth === 32")
    assert "32 × 16 pixels" in page.inner_text("#opened")
    assert "not asked" in page.inner_text(".spoken:last-child")
    assert page.inner_text(".truths") == "blue"
    for word in ("A. red · B. blue", "45.1 % among the choices", "-0.25"):
        assert word in page.inner_text("#opened")
    assert "2, of which the first is shown" in page.inner_text("#opened")
    degraded = next(
        place for place, row in enumerate(rows[:40]) if row.adapter == "a" and row.answer
    )
    tab.show(f"row={degraded}")
    text = page.inner_text("#opened")
    for word in ("tokens", "576 of them image", "prefill", "peak", "plan", "vqa-v2-official", "× "):
        assert word in text
    answer, asked = rows[degraded].answer, rows[degraded].question
    assert answer
    assert answer.image_size
    assert "{} × {} pixels as the model got it".format(*answer.image_size) in text
    assert (
        page.inner_text(".spoken pre") == f"User:<image>{asked.text}\nAnswer briefly.\nAssistant:"
    )


def test_the_places_of_a_run_are_set_apart(tab: Tab, tmp_path: Path) -> None:
    rows = [evolve(row, place=f"gpu {at % 2}") for at, row in enumerate(many(40, ["a"]))]
    page = tab.open(write(a_run(tmp_path / "run", rows)).as_uri())
    table = page.inner_text("#places table")
    assert [line.split("\t")[1] for line in table.splitlines() if "gpu" in line] == [
        "gpu 0",
        "gpu 1",
    ]
    page.click("#places a:has-text('gpu 1')")
    page.wait_for_function("() => document.querySelector('#found').textContent === '20 rows of 40'")
    page.click(".chip")
    assert page.inner_text("#found") == "40 rows"
    tab.show("row=1")
    assert "gpu 1" in page.inner_text(".spoken .facts")
    single = write(a_run(tmp_path / "single", many(5, ["a"])))
    assert 'id="places"' not in single.read_text()


def test_the_address_leads_back_to_the_same_view(tab: Tab, run: Path) -> None:
    page = tab.open(write(run).as_uri())
    page.click("#shows button[value=wrong]")
    page.select_option("#type", "type=how many")
    page.fill("#search", "near")
    shown, address = page.inner_text("#found"), page.url
    page.click("#list a >> nth=1")
    page.wait_for_selector("#detail[open]")
    place = page.inner_text("#place")
    opened = page.url
    page.go_back()
    page.wait_for_selector("#detail", state="hidden")
    assert page.url == address
    page.goto("about:blank")
    tab.open(opened)
    assert page.inner_text("#place") == place
    assert page.inner_text("#found") == shown
    assert page.input_value("#search") == "near"


def test_the_keyboard_reaches_every_row(tab: Tab, run: Path) -> None:
    page = tab.open(write(run).as_uri(), "show=wrong")
    page.keyboard.press("j")
    page.wait_for_selector("#detail[open]")
    first = page.inner_text("#opened .asked")
    page.keyboard.press("j")
    page.wait_for_function(
        "first => document.querySelector('.asked').textContent !== first", arg=first
    )
    page.keyboard.press("k")
    assert page.inner_text("#opened .asked") == first
    page.keyboard.press("Escape")
    page.wait_for_selector("#detail", state="hidden")
    page.keyboard.press("/")
    page.keyboard.type("kettle")
    page.wait_for_function("() => document.documentElement.dataset.view.includes('q=kettle')")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") in {"by", "type"}


def test_more_rows_than_a_browser_has_pixels_for_are_reached(tab: Tab, run: Path) -> None:
    page = tab.open(write(run).as_uri())
    count = 2_000_001  # at 42 pixels each; a browser ends near 33 million
    page.evaluate(
        "count => { found = Uint32Array.from({length: count}, (_, n) => n % 300);"
        " measure(); draw(true); }",
        count,
    )
    places = "all => all.map(one => Number(one.dataset.place))"
    tops = "all => all.map(one => Math.round(one.getBoundingClientRect().top))"
    for fraction in (0, 0.5, 1):
        scroll = "part => { const w = $('window'); w.scrollTop = part * w.scrollHeight; draw() }"
        page.evaluate(scroll, fraction)
        shown = page.eval_on_selector_all("#list a", places)
        following = {(after - before) % 300 for before, after in pairwise(shown)}
        at = page.eval_on_selector_all("#list a", tops)
        assert following == {1}
        assert {after - before for before, after in pairwise(at)} == {42}
    assert shown[-1] == (count - 1) % 300


LONG = [f"a-long-name-of-a-model-{number}@organisation/checkpoint" for number in range(5)]


@pytest.mark.parametrize("labels", [["a"], ["a", "b"], LONG], ids=["one", "two", "five"])
def test_nothing_is_wider_than_the_window(
    browser: Browser, tmp_path: Path, labels: list[str]
) -> None:
    run = a_run(tmp_path / "run", many(60, labels), labels=labels)
    address = write(run, pictures="none").as_uri()
    for width in (360, 800, 1440):
        tab = Tab(browser, viewport={"width": width, "height": 800})
        page = tab.open(address, "row=2")
        for element in ("document.documentElement", "document.querySelector('#detail')"):
            assert page.evaluate(f"{element}.scrollWidth <= {element}.clientWidth"), width
        assert not tab.said
        tab.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_fault_of_accessibility(
    browser: Browser, run: Path, axe: str, scheme: str
) -> None:
    tab = Tab(browser, color_scheme=scheme)
    page = tab.open(write(run).as_uri())
    page.evaluate(axe)
    for view in ("", "show=differ", "row=4"):
        tab.show(view)
        found = page.evaluate("axe.run()")
        serious = [
            (one["id"], [node["html"][:200] for node in one["nodes"][:3]])
            for one in found["violations"]
            if one["impact"] in {"serious", "critical"}
        ]
        assert not serious, view
        assert len(found["passes"]) > 15
    tab.close()


def test_the_figures_need_no_script(browser: Browser, run: Path) -> None:
    tab = Tab(browser, java_script_enabled=False)
    tab.page.goto(write(run).as_uri())
    text = tab.page.inner_text("body")
    for part in ("Accuracy", "Question by question", "The rows need JavaScript"):
        assert part in text
    assert tab.page.locator("svg.gauge").count() > 4
    tab.close()
