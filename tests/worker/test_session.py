"""What a worker session gives when nothing goes wrong, and what it says of itself."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import attrs
import pytest
from PIL import Image

from tests.asking import reply_to
from tests.worker import PLAN, Opener, answered, ask, failed, running
from tests.worker.adapters import Looks
from vqa_engine.adapter import Answer, Described, GenerationPlan, ModelRef, Question
from vqa_engine.errors import AnswerError, CheckpointError, ConfigurationError, WorkerError
from vqa_engine.memory.policy import MemoryPolicy
from vqa_engine.results import Reply
from vqa_engine.session.local import LocalSession
from vqa_engine.session.protocol import Session

HOST = """
import sys
from vqa_engine.adapter import (GenerationPlan, Question)
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine.worker import WorkerSession
sys.path.insert(0, {root!r})
session = WorkerSession(AdapterSpec(name="x", target="tests.worker.adapters:Leaks",
                                    model={model}))
session.load()
session.ask([Question(question_id=1, image=b"", text="?")], GenerationPlan())
session.release()
heavy = {{"mlx", "torch", "transformers", "mlx_vlm", "numpy"}} & set(sys.modules)
sys.exit(f"the host imported {{heavy}}" if heavy else 0)
"""


def questions(folder: Path) -> list[Question]:
    """One question for each way an image can be given."""
    red = Image.new("RGB", (64, 48), "red")
    file = folder / "red.png"
    red.save(file)
    palette = red.convert("P")
    grey = Image.new("I;16", (5, 7), 40_000)
    turned = Image.open(_turned(folder / "turned.jpg"))
    return [
        ask("a", image=file),
        ask("b", image=Path("red.png"), image_root=folder, choices=("x", "y")),
        ask("c", image=file.read_bytes(), question_id="seven"),
        *(ask("d", image=image) for image in (red, red, palette, grey, turned)),
        ask("e", image=Image.new("RGBA", (3, 3), (0, 0, 255, 128))),
        ask("f", image=folder / "missing.png", origin="set.jsonl:7"),
        ask("g", image=b"no image"),
        ask("h", image=Image.open(_truncated(folder / "cut.png"))),
    ]


def _turned(path: Path) -> Path:
    image, exif = Image.new("RGB", (40, 20), "green"), Image.Exif()
    exif[0x0112] = 6
    image.save(path, exif=exif)
    return path


def _truncated(path: Path) -> Path:
    Image.effect_noise((200, 200), 90).save(path)
    path.write_bytes(path.read_bytes()[:9000])
    return path


def test_it_is_a_session(open_session: Opener) -> None:
    session: Session = open_session("Echo")
    assert session.load().profile.backend == "none"
    assert answered(reply_to(session, ask("hello"), PLAN)).text == "hello!"
    released = session.release()
    assert released.residue == 0
    assert session.release().residue == 0


def test_process_and_inline_give_the_same(open_session: Opener, tmp_path: Path) -> None:
    session = open_session("Looks")
    inline = LocalSession(Looks(), ModelRef())
    session.load()
    inline.load()
    asked = questions(tmp_path)
    for question in asked:
        assert bare(reply_to(session, question, PLAN)) == bare(reply_to(inline, question, PLAN))
    inline.release()
    for lazy in (q.image for q in asked if isinstance(q.image, Image.Image)):
        lazy.close()


def bare(reply: Reply) -> tuple[Answer | None, str | None]:
    """A reply without the memory reading, which is each process's own."""
    answer, failure = reply.answer, reply.failure
    return (answer and attrs.evolve(answer, memory=None), failure.message if failure else None)


@pytest.mark.parametrize("image", [Image.new("RGB", (4, 4), "red"), b"some bytes"])
def test_the_same_image_is_the_same_object(
    open_session: Opener, image: Image.Image | bytes
) -> None:
    session = open_session("Remembers")
    session.load()
    others = [image, image, b"another", image]
    answers = [answered(reply_to(session, ask("?", image=other), PLAN)).text for other in others]
    assert answers == ["False", "True", "False", "False"]


def test_a_relative_path_survives_a_change_of_folder(
    open_session: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (4, 4), "red").save(tmp_path / "red.png")
    session = open_session("Looks")
    session.load()
    monkeypatch.chdir(tmp_path)
    reply = reply_to(session, ask("?", image=Path("red.png")), PLAN)
    assert "(255, 0, 0)" in answered(reply).text


def test_it_answers_on_the_main_thread_of_another_process(open_session: Opener) -> None:
    session = open_session("WherePlan")
    session.load()
    pid, thread, python = answered(reply_to(session, ask("?"), PLAN)).text.split(" ")
    assert (int(pid), thread, python) == (session.pid, "True", sys.executable)
    assert os.getsid(running(session)) == session.pid


def test_the_plan_crosses_and_comes_back(open_session: Opener) -> None:
    session = open_session("Echo")
    session.load()
    plan = GenerationPlan(max_tokens=7, prefill_step=64, kv_bits=8, rung=3, seed=11)
    assert answered(reply_to(session, ask("?"), plan)).plan == plan


def test_numbers_of_other_libraries_become_plain(open_session: Opener) -> None:
    session = open_session("NumpyNumbers")
    session.load()
    assert answered(reply_to(session, ask("?"), PLAN)).token_ids == (0, 1, 2)


@pytest.mark.parametrize("text", ["lone \ud800 surrogate", ""])
def test_a_text_that_is_no_unicode_fails_alone(open_session: Opener, text: str) -> None:
    session = open_session("Echo")
    session.load()
    failure = reply_to(session, ask(text), PLAN).failure
    assert (failure is not None) == bool(text)
    assert answered(reply_to(session, ask("next"), PLAN)).text == "next!"


def test_a_huge_question_id_fails_alone(open_session: Opener) -> None:
    session = open_session("Echo")
    session.load()
    assert (
        "cannot be sent" in failed(reply_to(session, ask("?", question_id=1 << 70), PLAN)).message
    )
    assert reply_to(session, ask("next"), PLAN).answer


def test_options_that_are_not_plain_data_are_refused(open_session: Opener) -> None:
    session = open_session("Echo", options={"model": object()})
    with pytest.raises(ConfigurationError, match="options of 'echo' cannot be sent"):
        session.load()


def test_an_answer_that_is_no_answer_fails_alone(open_session: Opener) -> None:
    session = open_session("WrongRecord")
    session.load()
    failure = failed(reply_to(session, ask("?"), PLAN))
    assert failure.cause == "adapter"
    assert "text" in failure.message


def test_asking_before_loading_is_an_error(open_session: Opener) -> None:
    with pytest.raises(AnswerError, match="call load first"):
        open_session("Echo").ask([ask("?")], PLAN)


def test_it_can_be_loaded_again(open_session: Opener) -> None:
    session = open_session("Echo")
    first = session.load() and session.pid
    second = session.load() and session.pid
    assert first != second
    assert reply_to(session, ask("?"), PLAN).answer


@pytest.mark.slow
def test_without_a_log_directory_the_output_still_explains(open_session: Opener) -> None:
    session = open_session("SpeaksAndAborts", log_directory=None)
    session.load()
    assert "last words" in failed(reply_to(session, ask("bad last words"), PLAN)).detail


def test_the_log_has_a_header_for_each_start(open_session: Opener, tmp_path: Path) -> None:
    session = open_session("Noisy")
    session.load()
    reply_to(session, ask("bad"), PLAN)
    session.load()
    session.release()
    log = (tmp_path / "logs" / "noisy.log").read_bytes()
    assert log.count(b"=== 20") == 2
    assert log.count(b"rubbish") > 10_000


@pytest.mark.slow
def test_a_wish_for_a_fresh_process_is_met_between_questions(open_session: Opener) -> None:
    session = open_session("Recycled")
    (strategy,) = session.load().profile.strategies
    assert isinstance(strategy, Described)
    assert (strategy.name, strategy.settings["after"]) == ("RecycleWorker", 2)
    replies = [reply_to(session, ask("?", number), PLAN) for number in range(6)]
    pids = [answered(reply).text.split()[0] for reply in replies]
    assert [pids.index(pid) for pid in pids] == [0, 0, 2, 2, 4, 4]
    assert {reply.attempts for reply in replies} == {()}


@pytest.mark.skipif(find_spec("mlx") is None, reason="needs MLX")
def test_the_memory_policy_crosses(open_session: Opener) -> None:
    session = open_session("OnMlx", policy=MemoryPolicy(budget=123 << 20))
    assert session.load().budget == 123 << 20


def test_a_log_that_cannot_be_written_is_a_clear_error(
    open_session: Opener, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    session = open_session("Echo", log_directory=tmp_path / "file" / "logs")
    with pytest.raises(WorkerError, match=r"log of 'echo' cannot be written: .*Not a dir"):
        session.load()


def test_a_log_does_not_grow_without_end(
    open_session: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vqa_engine.worker.log.LARGEST", 1 << 20)
    session = open_session("Noisy")
    session.load()
    for _ in range(3):
        assert reply_to(session, ask("bad"), PLAN).answer
    reply_to(session, ask("good"), PLAN)
    assert (tmp_path / "logs" / "noisy.log").stat().st_size < 1 << 20


def test_a_process_that_the_host_forked_does_not_end_the_worker(open_session: Opener) -> None:
    session = open_session("Echo")
    session.load()
    code = os.fork()
    if code == 0:
        assert session._worker_place._resident is not None
        session._worker_place._resident.worker._finalizer()
        os._exit(0)
    os.waitpid(code, 0)
    pid = session.pid
    assert reply_to(session, ask("good"), PLAN).answer
    assert session.pid == pid


def test_a_label_is_no_path(tmp_path: Path, open_session: Opener) -> None:
    open_session("Echo", label="../a/b c").load()
    assert [path.name for path in (tmp_path / "logs").iterdir()] == ["_a_b_c.log"]


def test_the_host_imports_no_model_library() -> None:
    root = str(Path(__file__).parents[2])
    model = '__import__("vqa_engine.adapter").adapter.ModelRef(options={"room": 1 << 32})'
    code = HOST.format(root=root, model=model)
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_a_forgotten_session_ends_its_worker(open_session: Opener) -> None:
    session = open_session("Echo")
    session.load()
    session._worker_place._resident = None  # as if the session were gone; nobody called release


def test_a_typed_error_of_load_comes_back_as_itself(open_session: Opener) -> None:
    session = open_session("RaisesInLoad")
    with pytest.raises(CheckpointError) as caught:
        session.load()
    error = caught.value
    assert type(error) is CheckpointError
    assert (error.model, error.tried, error.remedy) == (
        "owner/name",
        ("here", "there"),
        "Download it.",
    )
    assert "cannot be loaded (tried here, then there)" in str(error)


@pytest.mark.slow
def test_a_worker_reads_utf8_whatever_the_locale(
    open_session: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "text").write_text("café ▁", "utf-8")
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for variable, value in locale.items():
        monkeypatch.setenv(variable, value)
    session = open_session("ReadsText")
    session.load()
    assert answered(reply_to(session, ask(str(tmp_path / "text")), PLAN)).text == "café ▁"


def test_an_adapter_may_change_the_current_folder(
    open_session: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (3, 2)).save("a.png")
    session = open_session("Moves")
    session.load()
    reply = reply_to(session, ask("size", image=Path("a.png")), PLAN)
    assert answered(reply).text == "(3, 2)"
