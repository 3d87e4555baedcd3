"""Scoring as such, with a benchmark of text files: processes, resuming, what is broken, archives, options."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.evaluation.tiny_benchmark import Numbers, NumberScoring, write_numbers
from univs.errors import UserError
from univs.evaluation import archives
from univs.evaluation.archives import unpacked
from univs.evaluation.fingerprints import Fingerprint
from univs.evaluation.measuring import measured_sequences
from univs.evaluation.part_store import PartStore, decode, encode
from univs.evaluation.report import plain, record_of, table_lines
from univs.evaluation.scoring import STORE, Outcome, Request, parse_options, score


@pytest.fixture
def request_of(tmp_path: Path):
    predictions, truth = write_numbers(tmp_path)

    def make(output: str = "out", **changes) -> Request:
        return Request(Numbers(), **{"predictions": predictions, "truth": truth, "output": tmp_path / output} | changes)

    return make


def stop_after(count: int):
    def on_sequence(done: int, total: int) -> None:
        if done == count:
            raise KeyboardInterrupt

    return on_sequence


@pytest.fixture
def measured_names(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the sequences that are measured in this process, as they are."""
    names = []
    measure = NumberScoring.measure
    monkeypatch.setattr(NumberScoring, "measure", lambda self, name: names.append(name) or measure(self, name))
    return names


# --- the same figures, whoever measures ---------------------------------------------------------------------------


def test_processes_give_the_same_bits(request_of) -> None:
    one, two = score(request_of("one")), score(request_of("two", jobs=2))
    assert plain(one.summary.figures) == plain(two.summary.figures)
    assert one.own_tables == two.own_tables and list(one.own_tables) == one.expected
    errors = NumberScoring(one.request.predictions, one.request.truth, 1.0)
    assert one.summary.figures["mean"] == errors.summarise({n: errors.measure(n) for n in one.expected}).figures["mean"]


def test_options_reach_the_benchmark(request_of) -> None:
    plainly, doubled = score(request_of()), score(request_of("two", options={"weight": 2.0}))
    assert doubled.summary.figures["mean"] == 2 * plainly.summary.figures["mean"]
    assert doubled.options == {"weight": 2.0, "strict": False, "windows": (1, 2), "names": []}


def test_a_killed_process_is_said(request_of) -> None:
    request = request_of(jobs=2)
    (request.predictions / "s3.txt").write_text("die")
    with pytest.raises(UserError, match="killed.*fewer --jobs"):
        score(request)


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_is_wrong_with_a_file_of_all_sequences_is_the_users_mistake(request_of, jobs: int) -> None:
    request = request_of(jobs=jobs)
    (request.predictions / "s1.txt").write_text("mistake")
    assert score(request).broken == {"s1": "all.json is no JSON."}
    (request.predictions / "s4.txt").write_text("mistake")
    with pytest.raises(UserError, match=r"all\.json is no JSON"):
        score(request)


# --- resuming -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_interrupted_scoring_goes_on_at_the_next_sequence(request_of, measured_names: list[str], jobs: int) -> None:
    whole = score(request_of("whole"))
    with pytest.raises(KeyboardInterrupt):
        score(request_of(jobs=jobs), stop_after(4))
    measured_names.clear()
    outcome = score(request_of())
    assert outcome.resumed == 4 and len(measured_names) == 2
    assert plain(outcome.summary.figures) == plain(whole.summary.figures)
    assert outcome.own_tables == whole.own_tables


@pytest.mark.parametrize(
    ("change", "kept"), [("prediction", 3), ("truth", 3), ("touch", 4), ("option", 0), ("shared", 0), ("new", 4)]
)
def test_parts_of_other_inputs_are_not_used(request_of, measured_names: list[str], change: str, kept: int) -> None:
    """s0 to s3 are scored before the interruption; a file that no sequence calls its own concerns all of them."""
    with pytest.raises(KeyboardInterrupt):
        score(request_of(), stop_after(4))
    measured_names.clear()
    options = {}
    if change == "option":
        options = {"weight": 3.0}
    elif change == "touch":
        os.utime(request_of().predictions / "s5.txt", ns=(1, 1))
    elif change == "shared":
        (request_of().truth / "list.json").write_text("[]")
    elif change == "new":
        for folder in (request_of().predictions, request_of().truth):
            (folder / "s9.txt").write_text("1 2")
    else:
        folder = request_of().predictions if change == "prediction" else request_of().truth
        (folder / "s0.txt").write_text("1 2")
    expected = score(request_of("anew", options=options))
    measured_names.clear()
    outcome = score(request_of(options=options))
    assert outcome.resumed == kept and len(measured_names) == len(outcome.expected) - kept
    assert plain(outcome.summary.figures) == plain(expected.summary.figures)
    assert outcome.own_tables == expected.own_tables


def test_what_is_complete_leaves_no_parts(request_of) -> None:
    request = request_of()
    score(request)
    assert not (request.output / STORE).exists()


def test_a_damaged_store_is_begun_anew(request_of) -> None:
    request = request_of()
    request.output.mkdir()
    (request.output / STORE).write_bytes(b"no database" * 100)
    assert score(request).complete


def test_parts_survive_being_kept() -> None:
    parts = {
        "array": np.arange(6, dtype=np.int16).reshape(2, 3),
        "empty": np.zeros((0, 4), np.float32),
        "nested": {1: [1.5, None, "ä"], ("a", 2): {"deep": np.array(7.0)}},
        "bits": 0.1 + 0.2,
        "nan": float("nan"),
    }
    back = decode(encode(parts))
    assert back["array"].dtype == np.int16 and back["array"].tolist() == parts["array"].tolist()
    assert back["empty"].shape == (0, 4)
    assert back["nested"][1] == [1.5, None, "ä"] and back["nested"]["a", 2]["deep"] == 7
    assert back["bits"] == parts["bits"] and np.isnan(back["nan"])


@pytest.mark.parametrize("parts", [{"object": object()}, {"array": np.array([object()])}])
def test_only_plain_data_are_kept(parts: dict) -> None:
    with pytest.raises(TypeError):
        encode(parts)


def test_a_store_reads_one_sequence_at_a_time(tmp_path: Path) -> None:
    mark = Fingerprint("key", {f"s{index}": "files" for index in range(3)})
    store = PartStore(tmp_path / "parts", mark)
    for index in range(3):
        store.put(f"s{index}", encode({"value": index}), [("mean", float(index))])
    assert list(store) == ["s0", "s1", "s2"] and len(store) == 3 and "s3" not in store
    assert store["s1"] == {"value": 1} and store.own_table("s2") == [("mean", 2.0)]
    with pytest.raises(KeyError):
        store["s3"]
    store.close()
    changed = Fingerprint("key", {"s0": "files", "s1": "other files", "s3": "files"})
    again = PartStore(tmp_path / "parts", changed)
    assert list(again) == ["s0"]
    again.close(keep=False)
    assert not (tmp_path / "parts").exists()


# --- what is broken -----------------------------------------------------------------------------------------------


def break_some(request: Request) -> Outcome:
    (request.predictions / "s1.txt").unlink()
    (request.predictions / "s2.txt").write_text("1 2")
    return score(request)


@pytest.mark.parametrize("jobs", [1, 2])
def test_broken_sequences_are_named_and_counted(request_of, jobs: int) -> None:
    outcome = break_some(request_of(jobs=jobs))
    assert outcome.broken == {
        "s1": "s1.txt is missing; one file per sequence is expected.",
        "s2": "s2.txt has 2 numbers; 4 are expected.",
    }
    assert outcome.exit_code() == 1 and outcome.exit_code(allow_missing=True) == 0
    record = record_of(outcome)
    assert record["sequences"] == {"expected": 6, "scored": 4, "broken": outcome.broken}
    assert record["complete"] is False
    rows = outcome.summary.objects
    assert [row["sequence"] for row in rows] == ["s0", "s3", "s4", "s5"]


def test_a_fault_of_the_program_is_never_excused(request_of) -> None:
    request = request_of()
    (request.predictions / "s1.txt").write_text("bug")
    outcome = score(request)
    assert "ZeroDivisionError: nobody thought of this" in outcome.broken["s1"]
    assert outcome.exit_code(allow_missing=True) == 1


def test_values_that_only_the_figures_look_at_are_the_users_mistake(request_of, monkeypatch) -> None:
    alone = NumberScoring.summarise
    monkeypatch.setattr(
        NumberScoring, "summarise", lambda self, measured: alone(self, measured) if len(measured) == 1 else len(3)
    )
    with pytest.raises(UserError, match=r"No figures can be made of these files \(TypeError"):
        score(request_of())


def test_a_missing_package_is_said_once(request_of) -> None:
    request = request_of()
    for path in request.predictions.iterdir():
        path.write_text("package")
    with pytest.raises(UserError, match="needs the package a-package.*pip install a-package"):
        score(request)


def test_nothing_scored_is_no_success(request_of) -> None:
    request = request_of()
    for path in request.predictions.iterdir():
        path.unlink()
    outcome = score(request)
    assert outcome.summary is None and len(outcome.broken) == 6
    assert outcome.exit_code(allow_missing=True) == 1
    assert record_of(outcome)["table"] is None


def test_progress_counts_every_sequence(request_of) -> None:
    steps = []
    score(request_of(), lambda done, total: steps.append((done, total)))
    assert steps == [(index, 6) for index in range(1, 7)]


def test_no_more_is_handed_out_than_is_worked_on(request_of) -> None:
    request = request_of()
    scoring = Numbers().open(request.predictions, request.truth, Numbers.options)
    asked = []
    names = (asked.append(name) or name for name in ["s0"] * 50)

    class Names(list):
        def __iter__(self):
            return names

    measured = measured_sequences(scoring, Names(range(50)), 2)
    next(measured)
    assert len(asked) <= 4
    measured.close()


def test_scoring_needs_no_pytorch() -> None:
    """A process that measures would need ten times the memory, and a user of another model might not have it."""
    code = (
        "import sys\n"
        "import univs.cli.scoring, univs.cli.submitting\n"
        "from univs.evaluation import benchmarks\n"
        "[benchmarks.find_benchmark(name) for name in benchmarks.benchmark_names()]\n"
        "sys.exit(bool({'torch', 'detectron2'} & set(sys.modules)))\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- mistakes of the user -----------------------------------------------------------------------------------------


def test_wrong_paths_are_one_sentence(request_of, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere is not there"):
        score(request_of(predictions=tmp_path / "nowhere"))
    with pytest.raises(UserError, match="holds the files that are scored"):
        score(request_of(output="predictions"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no sequence to score"):
        score(request_of(truth=tmp_path / "empty"))
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        score(request_of("file"))


def test_an_output_among_the_predictions_does_not_count_as_one(request_of) -> None:
    with pytest.raises(KeyboardInterrupt):
        score(request_of("predictions/scores"), stop_after(3))
    assert score(request_of("predictions/scores")).resumed == 3


def test_options_are_read_by_the_type_of_their_default() -> None:
    given = parse_options(Numbers(), ["weight=2", "strict=yes", "windows=1,2,4", "names=a,7"])
    assert given == {"weight": 2.0, "strict": True, "windows": (1, 2, 4), "names": ["a", 7]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("weight", "not of the form NAME=VALUE"),
        ("wait=1", "no option 'wait'; its options are: weight, strict, windows, names"),
        ("weight=heavy", "not a value like 1.0"),
        ("strict=maybe", "not a value like False"),
    ],
)
def test_wrong_options_are_one_sentence(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_options(Numbers(), [text])


def test_tables_are_as_wide_as_they_need() -> None:
    assert table_lines([("J&F", 0.5), ("AR", -1.0)]) == ["     J&F       AR", "  0.5000  -1.0000"]
    assert table_lines([("PQ", 54.3636), ("AP", float("nan"))]) == ["     PQ   AP", "  54.36  nan"]
    assert len(table_lines([(f"a long name {index}", 0.5) for index in range(12)])) == 12


# --- archives -----------------------------------------------------------------------------------------------------


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_zipped_predictions_are_scored_alike(request_of, tmp_path: Path) -> None:
    request = request_of()
    files = {path.name: path.read_bytes() for path in request.predictions.iterdir()}
    packed = zipped(tmp_path / "p.zip", files | {"__MACOSX/._s1.txt": b"", ".DS_Store": b""})
    outcome = score(request_of("zip", predictions=packed))
    assert plain(outcome.summary.figures) == plain(score(request).summary.figures)
    assert list((tmp_path / "zip").iterdir()) == []


def test_an_interrupted_scoring_of_a_zip_file_goes_on(request_of, tmp_path: Path) -> None:
    files = {path.name: path.read_bytes() for path in request_of().predictions.iterdir()}
    packed = zipped(tmp_path / "p.zip", files)
    with pytest.raises(KeyboardInterrupt):
        score(request_of(predictions=packed), stop_after(2))
    assert score(request_of(predictions=packed)).resumed == 2


def test_the_only_file_of_an_archive_is_meant(tmp_path: Path) -> None:
    with unpacked(zipped(tmp_path / "p.zip", {"results.json": b"[]"})) as path:
        assert path.name == "results.json" and path.read_text() == "[]"
    assert not path.exists()


@pytest.mark.parametrize("name", ["../out.txt", "/out.txt", "a/../../out.txt", "..\\out.txt", "C:/out.txt"])
def test_nothing_is_unpacked_outside(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="leads out of the folder"):
        with unpacked(zipped(tmp_path / "p.zip", {"a.txt": b"", name: b""}), tmp_path / "in"):
            pass
    assert list((tmp_path / "in").iterdir()) == [] and not (tmp_path / "out.txt").exists()


def test_links_in_archives_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(UserError, match="is a link"), unpacked(tmp_path / "p.zip"):
        pass


def test_archives_that_grow_too_much_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "SMALL_MEMBER_BYTES", 1000)
    monkeypatch.setattr(archives, "MOST_EXPANSION", 50)
    with pytest.raises(UserError, match="more than a file of predictions has"):
        with unpacked(zipped(tmp_path / "p.zip", {"bomb": bytes(100_000)})):
            pass
    monkeypatch.setattr(archives, "MOST_MEMBERS", 1)
    with pytest.raises(UserError, match="at most 1 are unpacked"):
        with unpacked(zipped(tmp_path / "q.zip", {"a": b"", "b": b""})):
            pass


def test_a_full_disk_is_known_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: SimpleNamespace(free=3))
    with pytest.raises(UserError, match="free some space"):
        with unpacked(zipped(tmp_path / "p.zip", {"a": b"four"})):
            pass


def test_damaged_archives_are_one_sentence(tmp_path: Path) -> None:
    whole = zipped(tmp_path / "p.zip", {"a.txt": os.urandom(2000)}).read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[:1000])
    (tmp_path / "bent.zip").write_bytes(whole[:500] + b"bent" + whole[504:])
    for name in ("cut.zip", "bent.zip"):
        with pytest.raises(UserError, match="is a damaged zip file"), unpacked(tmp_path / name):
            pass
