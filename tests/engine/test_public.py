"""The public face of the package."""

from __future__ import annotations

import subprocess
import sys

import pytest

import vqa_engine


@pytest.mark.parametrize("name", vqa_engine.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(vqa_engine, name).__class__


def test_the_public_names_are_sorted() -> None:
    plain = [name for name in vqa_engine.__all__ if not name.isupper()]
    assert plain == sorted(plain, key=lambda name: (name[0].islower(), name))


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Motor'"):
        vqa_engine.Motor  # noqa: B018


def test_importing_the_contract_does_not_import_the_engine() -> None:
    code = "import sys, vqa_engine.adapter; print('vqa_engine.engine' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.slow
def test_a_worker_imports_nothing_of_the_host() -> None:
    host = "vqa_engine.worker.process", "vqa_engine.session.host", "vqa_engine.engine", "psutil"
    code = f"import sys, vqa_engine.worker.child; print({set(host)} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_dir_lists_the_public_names_in_a_fresh_interpreter() -> None:
    code = "import vqa_engine; print(*(set(vqa_engine.__all__) ^ set(dir(vqa_engine))))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
