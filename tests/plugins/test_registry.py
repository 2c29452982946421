"""Plugins: found from metadata, loaded one at a time, checked, and never fatal to others."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from stevedore import NamedExtensionManager

from tests.builders import a_distribution
from tests.fakes import Instant
from vqa_engine.adapter import ModelAdapter
from vqa_engine.errors import AdapterBroken, AdapterClash, AdapterInvalid, AdapterNotInstalled
from vqa_engine.plugins import registry
from vqa_engine.plugins.entry_points import ADAPTERS
from vqa_engine.plugins.probe import PluginReport, report
from vqa_engine.plugins.spec import AdapterSpec

GOOD = "from tests.fakes import Instant as Adapter"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path to install distributions in."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def state_of(name: str) -> PluginReport:
    return next(one for one in report() if one.name == name)


def test_finding_reads_metadata_and_imports_nothing(site: Path) -> None:
    a_distribution(site, "loud", {"loud": "loud_mod:Adapter"}, modules={"loud_mod": "1 / 0"})
    plugin = next(plugin for plugin in registry.find() if plugin.name == "loud")
    assert (plugin.distribution, plugin.version) == ("loud", "1.0")
    assert "loud_mod" not in sys.modules


def test_packages_that_come_and_go_are_noticed(site: Path) -> None:
    os.utime(site, ns=(0, 0))  # or all this may be within one tick of the file system's clock
    assert not [one for one in registry.find() if one.name == "guest"]
    a_distribution(site, "guest", {"guest": "a:b"})
    assert [one.name for one in registry.find() if one.name == "guest"] == ["guest"]
    shutil.rmtree(site / "guest-1.0.dist-info")
    os.utime(site, ns=(0, 0))
    assert not [one for one in registry.find() if one.name == "guest"]


def test_a_plugin_that_was_installed_a_moment_ago_is_loaded(site: Path) -> None:
    NamedExtensionManager(ADAPTERS, names=[])  # fills stevedore's caches
    a_distribution(site, "fresh", {"fresh": "fresh_mod:Adapter"}, modules={"fresh_mod": GOOD})
    assert registry.load("fresh") is Instant


def test_a_name_that_nobody_offers_is_not_installed() -> None:
    with pytest.raises(AdapterNotInstalled, match=r"mlx_vlm@OWNER/NAME") as caught:
        registry.load("no_such")
    assert "smolvlm" in caught.value.known
    assert "vqa-engine-no-such" not in str(caught.value)


@pytest.mark.parametrize("typo", ["smolvml", "smol-vlm", "SmolVLM"])
def test_a_mistyped_name_is_corrected_and_nothing_is_to_be_installed(typo: str) -> None:
    with pytest.raises(AdapterNotInstalled, match=r"Did you mean 'smolvlm'\?") as caught:
        registry.load(typo)
    assert "pip install" not in str(caught.value)


def test_a_hyphen_equals_an_underscore(site: Path) -> None:
    a_distribution(site, "hyp", {"two-words": "hyp_mod:Adapter"}, modules={"hyp_mod": GOOD})
    assert registry.load("two_words") is registry.load("two-words") is Instant
    a_distribution(site, "und", {"two_words": "hyp_mod:Adapter"})
    with pytest.raises(AdapterClash, match=r"hyp 1\.0.* and by und 1\.0"):
        registry.load("two-words")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_library", "no_such_library"),
        ("raise RuntimeError('bad day')", "RuntimeError: bad day"),
        ("assert False, 'asserted'", "AssertionError: asserted"),
        ("import sys; sys.exit('bye')", "SystemExit: bye"),
        ("x = (", "SyntaxError"),
        ("", "AttributeError"),
    ],
)
def test_a_plugin_whose_import_fails_is_broken_not_missing(
    site: Path, source: str, reason: str
) -> None:
    module = f"broken_mod_{abs(hash(source))}"
    a_distribution(site, "bad", {"bad": f"{module}:Adapter"}, modules={module: source})
    with pytest.raises(AdapterBroken, match="is installed, but its import failed") as caught:
        registry.load("bad")
    assert reason in caught.value.reason
    assert (caught.value.distribution, caught.value.version) == ("bad", "1.0")


@pytest.mark.slow
def test_broken_plugins_are_listed_beside_healthy_ones(site: Path) -> None:
    a_distribution(site, "bad2", {"bad2": "bad2_mod:Adapter"}, modules={"bad2_mod": "exit(3)"})
    a_distribution(site, "good2", {"good2": "good2_mod:Adapter"}, modules={"good2_mod": GOOD})
    assert state_of("bad2").state == "broken"
    assert "SystemExit" in state_of("bad2").reason
    assert state_of("good2").state == "healthy"


@pytest.mark.slow
def test_a_clash_names_both_distributions_even_when_another_name_stands_between(
    site: Path,
) -> None:
    modules = {"clash_mod": GOOD}
    a_distribution(site, "one", {"x": "clash_mod:Adapter"}, modules=modules)
    a_distribution(site, "ten", {"y": "clash_mod:Adapter"})
    a_distribution(site, "two", {"x": "clash_mod:Adapter"}, version="2.5")
    with pytest.raises(AdapterClash, match=r"one 1\.0.* and by two 2\.5") as caught:
        registry.load("x")
    assert len(caught.value.distributions) == 2
    assert state_of("x").state == "clash"
    assert state_of("y").state == "healthy"


class NoRelease:
    def load(self, model: object) -> None: ...
    def answer(self, question: object, plan: object) -> object: ...
    def memory_profile(self) -> object: ...


class WrongAnswer(Instant):
    def answer(self, question: object) -> object:  # type: ignore[override]
        return question


class NeedsArgument(Instant):
    def __init__(self, path: str) -> None: ...


class OtherNames(Instant):
    def load(self, m: object) -> None: ...
    def answer(self, q: object, p: object, *more: object) -> object: ...  # type: ignore[override]


@pytest.mark.parametrize(
    ("factory", "problem"),
    [
        (NoRelease, r"the method release\(\) is missing"),
        (WrongAnswer, r"answer\(self, question\) should be answer\(self, question, plan\)"),
        (NeedsArgument, "callable without arguments"),
        ("text", "neither a class nor a function"),
    ],
)
def test_a_misfit_is_named_exactly(factory: object, problem: str) -> None:
    with pytest.raises(AdapterInvalid, match=problem):
        registry.check("misfit", factory)


def test_parameter_names_are_the_author_s_own() -> None:
    registry.check("other", OtherNames)


def test_a_factory_function_is_checked_by_what_it_makes(site: Path) -> None:
    source = "def make(): return object()"
    a_distribution(site, "fac", {"fac": "fac_mod:make"}, modules={"fac_mod": source})
    with pytest.raises(AdapterInvalid, match="release"):
        registry.make(AdapterSpec(name="fac"))


def test_an_importable_class_needs_no_entry_point() -> None:
    adapter = registry.make(AdapterSpec(name="instant", target="tests.fakes:Instant"))
    assert isinstance(adapter, ModelAdapter)


@pytest.mark.slow
def test_first_party_adapters_come_through_the_same_door_and_are_healthy() -> None:
    states = {one.name: one.state for one in report() if one.distribution == "vqa-engine"}
    assert {"llava_mlx", "mlx_vlm", "phi35_vision", "smolvlm"} <= set(states)
    assert set(states.values()) == {"healthy"}


def test_listing_and_checking_every_adapter_imports_no_model_library() -> None:
    code = (
        "import sys; from vqa_engine.plugins import registry;"
        "[registry.load(plugin.name)().memory_profile() for plugin in registry.find()];"
        "print({'mlx', 'mlx_vlm', 'torch', 'transformers'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "set()"
