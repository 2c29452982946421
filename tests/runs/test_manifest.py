"""The manifest: what decides a run's answers, and no secret."""

from __future__ import annotations

from attrs import evolve

from vqa_engine import Engine, GenerationPlan
from vqa_engine.adapter import ModelRef
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine.questions import load_questions
from vqa_engine.runs.manifest import Manifest, decode, differences


def a_manifest(plan: GenerationPlan | None = None, **options: str) -> Manifest:
    spec = AdapterSpec(
        name="instant", target="tests.fakes:Instant", model=ModelRef(options=options)
    )
    with Engine(adapters=[spec], plan=plan) as engine:
        return engine.manifest(load_questions("shapes:count=5"))


def test_it_reads_back_as_it_was_written() -> None:
    manifest = a_manifest(instruction="short")
    assert decode(manifest.encode()) == manifest
    assert differences(manifest, manifest) == {}


def test_a_difference_is_named_with_both_values() -> None:
    old, new = a_manifest(), a_manifest(GenerationPlan(seed=4), instruction="short")
    assert differences(old, new) == {
        "plan.seed": (0, 4),
        "adapters.instant.options.instruction": (None, "short"),
        "adapters.instant.options": ({}, None),
    }


def test_another_commit_of_the_data_is_another_run_but_a_new_note_of_it_is_not() -> None:
    unnoted = a_manifest()
    first, second = (evolve(unnoted, question_data=f"owner/pets@{one}") for one in "ab")
    assert differences(first, second) == {"question_data": ("owner/pets@a", "owner/pets@b")}
    assert differences(unnoted, first) == {}


def test_a_key_given_as_an_option_does_not_lie_on_disk() -> None:
    written = a_manifest(api_key="sk-very-secret", api_key_env="MY_KEY").encode()
    assert b"sk-very-secret" not in written
    assert b"MY_KEY" in written


def test_another_key_is_another_setting() -> None:
    assert differences(a_manifest(api_key="one"), a_manifest(api_key="two"))
