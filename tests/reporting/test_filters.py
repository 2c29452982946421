"""The filters of the page count what SQL counts over the same journal."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from attrs import evolve

from tests.builders import a_question
from tests.reporting.builders import METRICS, a_run, many
from tests.reporting.conftest import Tab, write
from vqa_engine.runs import journal
from vqa_engine.scoring import metric

pytestmark = pytest.mark.slow

LABELS = ("alpha", "beta")
TOTAL = 1500
PROFILES = {name: metric(name) for name in METRICS}

VIEWS = {
    "": "1",
    "show=wrong": "a.score < 0.5 OR b.score < 0.5",
    "show=wrong&by=1": "b.score < 0.5",
    "show=wrong&metric=1": "a.official < 0.5 OR b.official < 0.5",
    "show=failed": "a.cause IS NOT NULL OR b.cause IS NOT NULL",
    "show=failed&by=0": "a.cause IS NOT NULL",
    "show=degraded": "a.degraded OR b.degraded",
    "show=differ": "rtrim(lower(trim(a.answer)), '.') != rtrim(lower(trim(b.answer)), '.')",
    "right=0&wrong=1": "a.score >= 0.5 AND b.score < 0.5",
    "right=1&wrong=0": "b.score >= 0.5 AND a.score < 0.5",
    "right=0,1": "a.score >= 0.5 AND b.score >= 0.5",
    "wrong=0,1": "a.score < 0.5 AND b.score < 0.5",
    "type=how%20many": "a.type = 'how many'",
    "kind=yes/no&show=wrong&by=0": "a.kind = 'yes/no' AND a.score < 0.5",
    "cause=out_of_memory": "a.cause = 'out_of_memory' OR b.cause = 'out_of_memory'",
    "place=gpu%201&by=0": "a.place = 'gpu 1'",
    "place=gpu%201&by=0&show=failed": "a.place = 'gpu 1' AND a.cause IS NOT NULL",
    "place=elsewhere": "0",
    "slow=0.3": "a.seconds > 0.3 OR b.seconds > 0.3",
    "slow=0.3&by=1": "b.seconds > 0.3",
    "rows=100-199": "a.position BETWEEN 100 AND 199",
    "q=KETTLE": "a.told LIKE '%kettle%' OR b.told LIKE '%kettle%'",
    "q=failed: image": "a.told LIKE '%failed: image%' OR b.told LIKE '%failed: image%'",
    "q=1000003": "a.id LIKE '%1000003%'",
    "q=nothing of this sort": "0",
}
"""The address of a view, and the same condition over the two adapters' rows."""

FLAT = """
CREATE TEMP TABLE flat AS
SELECT adapter, id, position, cause, degraded,
    json_extract(CAST(rows.record AS TEXT), '$.answer.text') AS answer,
    json_extract(CAST(rows.record AS TEXT), '$.seconds') AS seconds,
    json_extract(CAST(rows.record AS TEXT), '$.place') AS place,
    json_extract(CAST(questions.record AS TEXT), '$.question_type') AS type,
    json_extract(CAST(questions.record AS TEXT), '$.answer_type') AS kind,
    told(rows.record, questions.record) AS told,
    score('vqa-v2-normalised', rows.record, questions.record) AS score,
    score('vqa-v2-official', rows.record, questions.record) AS official
FROM rows JOIN questions USING (id);
CREATE INDEX temp.places ON flat (adapter, id);
"""


def told(row: bytes, question: bytes) -> str:
    """All texts that a search goes through."""
    outcome, asked = json.loads(row), json.loads(question)
    said = outcome["answer"]["text"] if outcome["answer"] else outcome["failure"]["message"]
    return " | ".join([asked["text"], said, *asked["answers"]])


def score(name: str, row: bytes, question: bytes) -> float | None:
    """The score of an answer, from the journal's records."""
    answer = json.loads(row)["answer"]
    if answer is None:
        return None
    asked = a_question(answers=tuple(json.loads(question)["answers"]))
    return PROFILES[name].grade(answer["text"], asked).value


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("filters") / "run"
    rows = [evolve(row, place=f"gpu {at % 3}") for at, row in enumerate(many(TOTAL, LABELS))]
    return a_run(folder, rows, labels=LABELS)


@pytest.fixture(scope="module")
def counts(run: Path) -> dict[str, int]:
    db = sqlite3.connect(f"file:{run / journal.FILE}?mode=ro", uri=True)
    db.create_function("score", 3, score)
    db.create_function("told", 2, told)
    db.executescript(FLAT)
    query = (
        "SELECT count(*) FROM flat a JOIN flat b USING (id) "
        "WHERE a.adapter = 'alpha' AND b.adapter = 'beta' AND ({})"
    )
    found = {view: db.execute(query.format(where)).fetchone()[0] for view, where in VIEWS.items()}
    db.close()
    return found


def test_every_view_has_as_many_rows_as_sql_counts(
    tab: Tab, run: Path, counts: dict[str, int]
) -> None:
    tab.open(write(run).as_uri())
    for view, expected in counts.items():
        shown = tab.show(view)
        assert int(shown.split()[0].replace(",", "")) == expected, (view, shown)
    assert not tab.said
    assert len({count for count in counts.values() if 0 < count < TOTAL}) > 12


def test_the_links_of_the_page_show_as_many_rows_as_they_say(tab: Tab, run: Path) -> None:
    page = tab.open(write(run).as_uri())
    links = page.eval_on_selector_all(
        ".flips li, td.number:has(a), .types .head",
        "all => all.map(one => [one.querySelector('a').getAttribute('href').slice(1),"
        " one.textContent.match(/([\\d,]+)$/)?.[1]])",
    )
    assert len(links) > 24
    assert {view.split("place=")[1] for view, _ in links if "place=" in view} == {
        *("gpu+0", "gpu+1", "gpu+2")
    }
    for view, said in links:
        shown = tab.show(view).split()[0]
        if not view.startswith(("type", "kind")):  # these count what is scored
            assert shown == said, view


def test_the_buttons_count_their_rows(tab: Tab, run: Path, counts: dict[str, int]) -> None:
    page = tab.open(write(run).as_uri())
    for button in page.query_selector_all("#shows button"):
        value, said = button.get_attribute("value"), button.inner_text()
        expected = counts["" if value == "all" else f"show={value}"]
        assert said.endswith(f"{expected:,}")


def test_slowest_first_is_in_order(tab: Tab, run: Path) -> None:
    page = tab.open(write(run).as_uri(), "sort=slow&by=0")
    places = page.evaluate("[...found]")
    seconds = page.evaluate("[...found].map((place) => of(0, 'seconds').at(place))")
    assert seconds == sorted(seconds, reverse=True)
    assert sorted(places) == list(range(TOTAL))
