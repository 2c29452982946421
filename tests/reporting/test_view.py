"""The viewer: a real server, asked by a real client and a real browser."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import pytest

from tests.builders import a_question, png
from tests.reporting.builders import METRICS, PLAN, a_run, many
from tests.reporting.conftest import Tab
from tests.reporting.test_page import HOSTILE, hostile
from vqa_engine.adapter import Answer
from vqa_engine.errors import ConfigurationError
from vqa_engine.reporting.view import Server, Viewer
from vqa_engine.results import Row
from vqa_engine.runs import journal
from vqa_engine.runs.journal import Journal
from vqa_engine.scoring import metric

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytest.importorskip("starlette", reason="needs the extra serve")
pytest.importorskip("uvicorn", reason="needs the extra serve")


@contextmanager
def viewing(*runs: Path, folders: tuple[Path, ...] = ()) -> Iterator[str]:
    """The address of a viewer of these runs."""
    with Viewer(runs, METRICS, folders) as viewer:
        server = Server(viewer)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            yield server.address
        finally:
            server.stop()
            thread.join()


def ask(address: str, path: str, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
    """One answer of the server; the path goes out as it is."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=20)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    answer.body = answer.read()  # type: ignore[attr-defined]
    connection.close()
    return answer


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(png())
    (tmp_path / "secret.png").write_bytes(png())
    rows = [
        Row(
            adapter="a",
            question=a_question(number, image=image),
            answer=Answer(text="yes", plan=PLAN),
        )
        for number, image in enumerate((tmp_path / "in" / "a.png", tmp_path / "secret.png"))
    ]
    return a_run(tmp_path / "runs" / "run", rows, count=5)


def test_a_picture_is_sent_if_a_run_names_it_and_a_folder_has_it(run: Path, tmp_path: Path) -> None:
    (tmp_path / "in" / "unnamed.png").write_bytes(png())
    named, outside = tmp_path / "in" / "a.png", tmp_path / "secret.png"
    with viewing(run, folders=(tmp_path / "in",)) as address:
        sent = ask(address, f"/picture?key={quote(str(named))}")
        assert (sent.status, sent.getheader("content-type")) == (200, "image/webp")
        for path in (outside, tmp_path / "in" / "unnamed.png", Path("/etc/passwd"), ""):
            assert ask(address, f"/picture?key={quote(str(path))}").status == 404
        for path in ("/../secret.png", "/picture/../../etc/passwd", "/runs", "//etc/passwd"):
            assert ask(address, path).status == 404


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_another_name_in_the_host_header_is_refused(run: Path, host: str) -> None:
    with viewing(run) as address:
        for path in ("/", "/data", "/version", "/picture?key=x"):
            assert ask(address, path, Host=host).status == 400
        assert ask(address, "/").status == 200
        assert ask(address, "/", Host=f"localhost:{urlsplit(address).port}").status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_but_reading_is_answered(run: Path, method: str) -> None:
    with viewing(run) as address:
        assert ask(address, "/", method).status == 405


def test_every_answer_carries_the_policy(run: Path) -> None:
    with viewing(run) as address:
        for path in ("/", "/data", "/version", "/picture?key=x"):
            answer = ask(address, path)
            policy = answer.getheader("content-security-policy") or ""
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert answer.getheader("cross-origin-resource-policy") == "same-origin"
            assert answer.getheader("access-control-allow-origin") is None


def test_the_run_is_not_touched(run: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in run.iterdir()}
    with viewing(run) as address:
        ask(address, "/data")
    assert {file: file.stat().st_mtime_ns for file in run.iterdir()} == before


def test_a_port_that_is_taken_is_an_error_with_a_remedy(run: Path) -> None:
    viewer = Viewer([run], [metric(METRICS[0])], [])
    first = Server(viewer)
    taken = urlsplit(first.address).port or 0
    with pytest.raises(ConfigurationError, match=f"Port {taken} .* another --port"):
        Server(viewer, taken)
    first.close()


def test_the_folder_of_unseen_pictures_is_named(run: Path, tmp_path: Path) -> None:
    metrics = [metric(METRICS[0])]
    assert Viewer([run], metrics, []).unseen_folder() == tmp_path / "in"
    assert Viewer([run], metrics, [tmp_path]).unseen_folder() is None


@pytest.mark.slow
def test_new_rows_appear_while_the_run_goes_on(tab: Tab, run: Path, tmp_path: Path) -> None:
    with viewing(run, folders=(tmp_path / "in",)) as address:
        page = tab.open(address)
        assert page.inner_text("#found") == "2 rows"
        assert "3 questions of 5 not asked" in page.inner_text("#summary")
        tab.show("q=red")
        store = Journal(run / journal.FILE)
        for number in (2, 3):
            answer = Answer(text="no", plan=PLAN)
            store.record(number, Row(adapter="a", question=a_question(number), answer=answer))
        store.flush()
        page.wait_for_function("() => document.querySelector('#found').textContent === '4 rows'")
        assert "1 question of 5 not asked" in page.inner_text("#summary")
        assert page.evaluate("location.hash") == "#q=red"
        store.close()
        page.click("#list a >> nth=0")
        page.wait_for_function("() => document.querySelector('#opened img')?.naturalWidth === 8")
        assert all(asked.startswith(address) for asked in tab.asked)
        assert not tab.said


@pytest.mark.slow
def test_a_hostile_run_executes_nothing_in_the_viewer(browser: Browser, tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", hostile(), labels=["a", "<b onclick=window.pwned=1>"])
    tab = Tab(browser)
    with viewing(run) as address:
        page = tab.open(address)
        for place in range(2 * len(HOSTILE)):
            tab.show(f"row={place}")
        page.wait_for_timeout(100)
        assert page.evaluate("window.pwned") is None
        assert all(asked.startswith(address) for asked in tab.asked)
    tab.close()


@pytest.mark.slow
def test_a_viewer_that_was_stopped_is_said_to_be(tab: Tab, tmp_path: Path) -> None:
    with viewing(a_run(tmp_path / "run", many(5), labels=["a", "b"])) as address:
        page = tab.open(address)
    page.wait_for_selector("#gone:not([hidden])")
    assert "Start it again" in page.inner_text("#gone")
