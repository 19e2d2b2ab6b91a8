"""``metaexp ls``: what is listed, filtered and sorted, and that a damaged folder costs itself alone."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import hostile_watch
import pytest
from folders_of_runs import a_job, a_record, write_run, write_sweep

import metaexp as mx
from metaexp.cli.main import main
from metaexp.core.disk.locks import hold_lock
from metaexp.core.errors import ConfigError
from metaexp.folders import listing, rows
from metaexp.folders.filters import parse_filters
from metaexp.folders.find import find, jobs
from metaexp.folders.listing import format_columns, format_size, with_progress
from metaexp.folders.rows import row_of
from metaexp.results.episodes import episodes_sha256
from metaexp.results.job_note import removed_jobs
from metaexp.results.record import RECORD_FILE, write_record
from metaexp.sweep.folder import create


def listed(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, object]]:
    """The rows of ``metaexp ls``."""
    assert main(["ls", *words, "--json"]) == 0
    rows: list[dict[str, object]] = json.loads(capsys.readouterr().out)
    return rows


def names(rows: list[dict[str, object]]) -> list[str]:
    return [Path(str(row["folder"])).name for row in rows]


def test_runs_sweeps_and_searches_have_a_line_each(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls"]) == 0
    out = capsys.readouterr().out
    head, *lines, total = out.splitlines()
    assert head.split() == ["state", "when", "(UTC)", "size", "result", "what", "folder"]
    assert len(lines) == 4
    by_name = {line.rpartition("/")[2]: line for line in lines}
    assert by_name["first"].startswith("completed  2026-11-23 07:00")
    texts = {
        "first": ("completed", "test accuracy 50.00 ± 1.00 %", "maml on glyphs, 5-way 1-shot, seed 0"),
        "second": ("failed", "DataError: it is gone"),
        "seeds": ("failed", "1 of 3 completed, 1 waiting, 1 failed", "3 jobs"),
        "rates": ("completed", "best val/accuracy 0.7 in trial 1", "2 trials"),
    }
    for name, (state, *words) in texts.items():
        assert by_name[name].startswith(state)
        assert all(f"  {word} " in by_name[name] for word in words)
    assert total.startswith("2 runs, 1 sweep, 1 search, ")


def test_jobs_and_trials_are_listed_with_jobs_with_a_filter_and_for_their_own_folder(
    outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(listed(capsys, "--jobs")) == 7
    assert len(listed(capsys, "algorithm=maml")) == 7
    assert len(listed(capsys, "outputs/sweeps/seeds")) == 3
    assert len(listed(capsys, "outputs/sweeps")) == 1


@pytest.mark.parametrize(("owner", "kind"), [("sweeps/seeds", "2 jobs"), ("searches/rates", "1 trial")])
def test_removed_jobs_and_trials_are_counted_and_named(
    outputs: Path, capsys: pytest.CaptureFixture[str], owner: str, kind: str
) -> None:
    place = outputs / owner
    name = "000-maml-glyphs-seed0"
    said = f"{place}: 1 run was removed, with its folder: {name}"
    texts = {
        ("ls",): f"{kind}, 1 removed ",
        ("ls", str(place)): said,
        ("show", str(place)): said,
        ("watch", "--once", str(place)): ", 1 removed",
    }
    for words in texts:
        assert main(list(words)) == 0
        assert "removed" not in capsys.readouterr().out
    shutil.rmtree(place / name)
    for words, text in texts.items():
        assert main(list(words)) == 0
        assert text in capsys.readouterr().out
    for folder in place.glob("00*"):
        shutil.rmtree(folder)
    for words in list(texts)[1:]:
        assert main(list(words)) == 0
        assert " removed" in capsys.readouterr().out
    assert main(["ls", str(outputs), "--folders"]) == 0
    assert str(place) in capsys.readouterr().out


@pytest.mark.parametrize("owner", ["sweeps/seeds", "searches/rates"])
def test_json_has_removed_jobs_and_trials(outputs: Path, capsys: pytest.CaptureFixture[str], owner: str) -> None:
    place = outputs / owner
    gone = place / "000-maml-glyphs-seed0"

    def removed(*words: str) -> list[str]:
        return [str(row["folder"]) for row in listed(capsys, *words) if row["state"] == "removed"]

    def of_owner() -> list[object]:
        return [row["removed"] for row in listed(capsys) if row["folder"] == str(place)]

    total = len(listed(capsys, "--jobs"))
    assert (removed(str(place)), removed("--jobs"), of_owner()) == ([], [], [[]])
    shutil.rmtree(gone)
    assert (removed(str(place)), removed("--jobs"), of_owner()) == ([str(gone)], [str(gone)], [[str(gone)]])
    assert len(listed(capsys, "--jobs")) == total
    assert (removed(), removed("--jobs", "algorithm=maml"), removed("algorithm=maml")) == ([], [], [])
    (row,) = (row for row in listed(capsys, str(place), "--sort", "test") if row["state"] == "removed")
    assert (row["error"], row["kind"], row["settings"]) == ("it was removed, with its folder", "run", {})
    for folder in place.glob("00*"):
        shutil.rmtree(folder)
    assert set(removed(str(place))) == {str(row["folder"]) for row in listed(capsys, str(place))}
    assert str(gone) in removed(str(place))


def test_the_list_of_jobs_of_a_sweep_is_looked_at_once(
    outputs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Path] = []

    def look(owner: Path) -> list[Path]:
        looked.append(owner)
        return removed_jobs(owner)

    for module in (rows, listing):
        monkeypatch.setattr(module, "removed_jobs", look, raising=False)
    listed(capsys)
    assert sorted(looked) == [outputs / "searches/rates", outputs / "sweeps/seeds"]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["algorithm=maml", "train.steps=600"], 7),
        (["train.steps=600.0"], 7),
        (["train.steps=6e2,7"], 7),
        (["train.steps=601"], 0),
        (["state=failed"], 2),
        (["state=failed,waiting"], 3),
        (["status=waiting"], 1),
        (["algorithm.first_order=false"], 7),
        (["algorithm.first_order=true"], 0),
        (["optimizer=adam"], 4),
        (["optimizer=sgd"], 0),
        (["test=null"], 5),
        (["algorithm=MAML"], 0),
        (["seed=1", "state=completed"], 1),
    ],
)
def test_a_filter_is_any_key_of_a_row_or_of_the_settings(
    outputs: Path, capsys: pytest.CaptureFixture[str], words: list[str], found: int
) -> None:
    assert len(listed(capsys, *words)) == found


def test_a_filter_by_a_tag_finds_runs_that_have_it_among_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert listed(capsys, str(tmp_path), "tags=baseline") == []
    plain = a_record()
    tagged = replace(plain, name="tagged", config={**plain.config, "tags": ["baseline", "wide"], "notes": "first"})
    write_run(tmp_path / "tagged", tagged)
    write_run(tmp_path / "other")
    assert names(listed(capsys, str(tmp_path), "tags=baseline")) == ["tagged"]
    assert names(listed(capsys, str(tmp_path), "tags=[baseline,wide]")) == ["tagged"]
    assert listed(capsys, str(tmp_path), "tags=base") == []
    assert [row["name"] for row in mx.runs(tmp_path, tags="wide")] == [tagged.name]


@pytest.mark.parametrize("value", ["{home}/elsewhere", "~/elsewhere"])
def test_ls_and_python_look_in_the_folder_that_the_environment_names(
    value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "elsewhere" / "there")
    write_run(tmp_path / "outputs" / "here")
    monkeypatch.setenv("METAEXP_OUTPUTS", value.format(home=tmp_path))
    assert names(listed(capsys)) == [row["folder"].name for row in mx.runs()] == ["there"]
    monkeypatch.delenv("METAEXP_OUTPUTS")
    assert names(listed(capsys)) == [row["folder"].name for row in mx.runs()] == ["here"]


@pytest.mark.parametrize(
    ("choices", "is_found", "other"),
    [
        ("optimizer: sgd\n", "sgd", "null"),
        ("optimizer: 5\n", "5", "null"),
        ("task: x\n", None, "None"),
        (None, None, "None"),
    ],
)
def test_a_run_without_a_file_of_a_group_has_null_for_ls_and_none_for_python(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], choices: str | None, is_found: str | None, other: str
) -> None:
    run = tmp_path / "run"
    write_run(run)
    if choices is None:
        (run / "choices.yaml").unlink()
    else:
        (run / "choices.yaml").write_text(choices)
    assert names(listed(capsys, str(tmp_path), f"optimizer={is_found or 'null'}")) == ["run"]
    assert listed(capsys, str(tmp_path), f"optimizer={other}") == []
    assert [row["folder"] for row in mx.runs(tmp_path, optimizer=is_found)] == [run]
    with nullcontext() if other == "null" else pytest.warns(UserWarning, match="optimizer=None: no run has it"):
        assert len(mx.runs(tmp_path, optimizer=None if other == "null" else other)) == 0


def test_rows_are_sorted_the_newest_last_or_by_any_key(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    times = [str(row["when"]) for row in listed(capsys)]
    assert times == sorted(times)
    by_test = [row["test"] for row in listed(capsys, "--jobs", "--sort", "test") if row["test"] is not None]
    assert by_test == [0.4, 0.5]
    back = [row["test"] for row in listed(capsys, "--jobs", "--sort=test", "--reverse") if row["test"] is not None]
    assert back == [0.5, 0.4]
    seeds = [row["seed"] for row in listed(capsys, "--jobs", "--sort", "seed")]
    assert seeds == sorted(seeds, key=int)


def test_a_setting_is_a_column_and_folders_are_listed_alone(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", "--jobs", "--show", "train.steps,algorithm.inner_lr"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0].split()[-3:] == ["train.steps", "algorithm.inner_lr", "folder"]
    assert all(" 600 " in line and " 0.4 " in line for line in out.splitlines()[1:-1])
    assert main(["ls", "outputs", "state=completed", "--folders", "--sort", "folder"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "outputs/first"


def test_a_name_that_neither_a_run_nor_the_configuration_has_is_warned_of_with_the_nearest(
    outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["algorithm=mmal"], ["algorithm=maml,mmal", "--json"]):
        assert main(["ls", *words]) == 0
        error = capsys.readouterr().err
        assert error.startswith(
            "warning: algorithm=mmal: no run has it, and there is no such file of algorithm. Did you"
        )
        assert "mean maml? The runs have maml." in error
    for word in ("algorithm=proto_net", "name=mine", "state=damaged", "seed=7", "algorithm=null"):
        assert main(["ls", word]) == 0
        assert capsys.readouterr().err == ""


def test_nothing_found_is_said_with_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["ls", str(tmp_path / "empty")]) == 0
    assert "no run, sweep or search in" in capsys.readouterr().out
    monkeypatch.chdir(tmp_path)  # where there is no folder outputs yet
    assert main(["ls"]) == 0
    assert capsys.readouterr().out == "no run, sweep or search in outputs; `metaexp train` makes one\n"
    write_run(tmp_path / "a run")
    assert main(["ls", str(tmp_path), "train.steps=7"]) == 0
    shown = capsys.readouterr()
    assert "has train.steps=7; `metaexp ls` without filters lists all" in shown.out
    assert shown.err == ""
    assert main(["ls", str(tmp_path / "nowhere")]) == 4
    assert "is not there. Give a folder of runs, such as outputs." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("state=fialed", "state=fialed is not a state. Did you mean failed? Known: waiting, running, stopped"),
        ("algoritm=maml", "algoritm: no run here has such a key. Did you mean algorithm? Known: folder, kind"),
        ("train.stps=5", "Did you mean train.steps?"),
        ("seed=", "'seed=' is not a filter. Write KEY=VALUE, as in algorithm=maml"),
        ("--sort=nothing", "nothing: no run here has such a key."),
    ],
)
def test_a_wrong_filter_is_refused(outputs: Path, capsys: pytest.CaptureFixture[str], word: str, message: str) -> None:
    assert main(["ls", "--jobs", word]) == 2
    assert message in capsys.readouterr().err


def test_all_wrong_filters_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_filters(["state=x", "=1", "seed=1"])
    assert len(caught.value.problems) == 2


def test_a_damaged_folder_is_a_row_and_the_others_are_as_they_were(
    outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = listed(capsys)
    (outputs / "first" / RECORD_FILE).write_text("{")
    (outputs / "sweeps" / "seeds" / "sweep.json").write_text("[]")
    (outputs / "searches" / "rates" / "search.json").write_text('{"best": 7, "trials": []}')
    after = listed(capsys)
    damaged = {name: row for name, row in zip(names(after), after, strict=True) if row["state"] == "damaged"}
    assert set(damaged) == {"first", "seeds", "rates"}
    assert "record.json cannot be read as JSON" in str(damaged["first"]["error"])
    assert "search.json is damaged: KeyError" in str(damaged["rates"]["error"])
    whole = [row for row in before if row["name"] == "maml-glyphs-5way_1shot-seed1"]
    assert [row for row in after if row["state"] != "damaged"] == whole
    assert len(listed(capsys, "state=damaged")) == 1  # jobs and trials are whole


def test_why_a_folder_is_damaged_or_failed_can_be_read_to_the_end(
    outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (outputs / "first" / RECORD_FILE).write_text("{")
    (outputs / "sweeps" / "seeds" / "sweep.json").write_text("[]")
    errors = {str(row["folder"]): str(row["error"]) for row in listed(capsys) if row["error"]}
    assert main(["ls"]) == 0
    lines = capsys.readouterr().out.splitlines()
    reasons = lines[lines.index("failed or damaged:") + 1 :]
    long = [folder for folder, error in errors.items() if error != "DataError: it is gone"]
    assert len(long) == 2
    assert len(errors) > len(long)  # a short reason is in its row alone
    assert sorted(reasons) == sorted(f"  {folder}: {errors[folder]}" for folder in long)
    assert any(f"  {errors[str(outputs / 'first')][:66]} ...  " in line for line in lines)


def test_the_reasons_of_many_folders_are_listed_up_to_ten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(13):
        write_run(tmp_path / f"run{number}", a_record("failed", test=None, val=None, error=f"DataError: {'no ' * 300}"))
        if number in (10, 12):
            assert main(["ls", str(tmp_path)]) == 0
            lines = capsys.readouterr().out.splitlines()
            reasons = lines[lines.index("failed or damaged:") + 1 :]
            assert len(reasons) == 11
            assert ("and 3 more, which --json has as well" in reasons[-1]) == (number == 12)
            assert len(reasons[0]) < len(str(tmp_path)) + 520
            assert reasons[0].endswith(" ...")


def test_episodes_of_another_run_make_a_run_damaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "run", a_record(test_episodes_sha256="0" * 64))
    assert [row["state"] for row in listed(capsys, str(tmp_path))] == ["completed"]  # a copy without them
    (tmp_path / "run" / "test_episodes.csv").write_text("episode,after_0\n0,1.0\n")
    (row,) = listed(capsys, str(tmp_path))
    assert row["state"] == "damaged"
    assert "test_episodes.csv is not the file that record.json was written for" in str(row["error"])


def test_other_line_ends_of_the_episodes_damage_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As Git makes them on some systems."""
    write_run(tmp_path / "run", a_record(test_episodes_sha256=episodes_sha256([[1.0, 0.5]])))
    (tmp_path / "run" / "test_episodes.csv").write_bytes(b"episode,after_0\r\n0,1.0\r\n1,0.5\r\n")
    assert [row["state"] for row in listed(capsys, str(tmp_path))] == ["completed"]
    (tmp_path / "run" / "test_episodes.csv").write_bytes(b"episode,after_0\r\n0,1.0\r\n1,0.25\r\n")
    assert [row["state"] for row in listed(capsys, str(tmp_path))] == ["damaged"]


def test_what_a_process_works_on_is_running_and_else_it_has_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run", a_record("running", test=None, val=None))
    sweep = write_sweep(tmp_path / "sweep", "interrupted", "killed", "completed").path
    assert [row["state"] for row in listed(capsys, str(tmp_path), "--sort", "folder")] == ["stopped", "stopped"]
    (sweep / ".locks").mkdir(exist_ok=True)
    with hold_lock(run / ".lock"), hold_lock(sweep / ".locks" / "command-1"):
        rows = listed(capsys, str(tmp_path), "--sort", "folder")
    assert [row["state"] for row in rows] == ["running", "running"]
    assert rows[0]["result"] == "step 600 of 600"
    killed = write_run(tmp_path / "killed", a_record("running", test=None, val=None, steps=0))
    (killed / "metrics.jsonl").write_text('{"step": 50, "train/loss": 1.5}\n{"step": 60, "tra')
    (row,) = listed(capsys, str(killed))
    assert (row["steps"], row["result"]) == (50, "step 50 of 600")  # a killed run's record is as it began
    assert [row["state"] for row in listed(capsys, str(sweep), "--sort", "folder")] == ["stopped"] * 2 + ["completed"]


def test_links_are_not_followed_and_count_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "in" / "run")
    (size,) = (row["size"] for row in listed(capsys, str(tmp_path / "in")))
    assert size == sum(path.stat().st_size for path in run.rglob("*") if path.is_file())
    (tmp_path / "large").write_bytes(bytes(5000))
    (run / "link").symlink_to(tmp_path / "large")
    (tmp_path / "in" / "other").symlink_to(run)
    (row,) = listed(capsys, str(tmp_path / "in"))
    assert 0 < int(str(row["size"])) - int(str(size)) < 1000


def test_jobs_that_repeat_others_do_not_keep_a_sweep_from_being_complete(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "sweep", "completed", "waiting")
    assert row_of(find(sweep.path)[0]).result == "1 of 2 completed, 1 waiting"
    same = tmp_path / "same"
    made = create(same, ["metaexp"], "d", [a_job(0), replace(a_job(0), number=1, name="001-again")])
    write_record(a_record(), made.path / "000-maml-glyphs-seed0")
    row = row_of(find(same)[0])
    assert (row.state, row.result) == ("completed", "1 of 1 completed")


def test_a_job_knows_its_sweep(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "sweep", "waiting")
    (found,) = find(sweep.path)
    (job,) = jobs(found)
    assert (found.kind, job.owner) == ("sweep", sweep.path)
    (direct,) = find(job.path)
    assert direct.owner == sweep.path
    assert jobs(direct) == [direct]


def test_a_folder_that_cannot_be_read_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0)
    with hostile_watch.drop_rights_of_root():
        code = main(["ls", str(closed)])
    closed.chmod(0o755)
    assert code == 4
    assert "cannot be read: Permission denied." in capsys.readouterr().err


def test_progress_is_shown_only_when_it_takes_a_while(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list(with_progress([1, 2, 3], "read")) == [1, 2, 3]
    shown: list[int] = []

    class Shown:
        def show_progress(self, what: str, total: int, done: int) -> object:
            assert (what, total) == ("read", 3)
            return nullcontext(shown.append)

    monkeypatch.setattr("metaexp.folders.listing._SECONDS_WITHOUT_PROGRESS", -1.0)
    monkeypatch.setattr("metaexp.run.progress.default_display", Shown)
    assert list(with_progress([1, 2, 3], "read")) == [1, 2, 3]
    assert shown == [0, 1, 2]


def test_sizes_and_columns_are_easy_to_read() -> None:
    assert [format_size(n) for n in (0, 999, 1000, 12_345, 999_600, 1_234_567, 5 * 10**13)] == [
        "0 B", "999 B", "1.0 kB", "12 kB", "1.0 MB", "1.2 MB", "50 TB",
    ]  # fmt: skip
    assert format_columns([["a", "b", "c"], ["long", "1", "x\ny"]], right=(1,)) == ["a     b  c", "long  1  x y"]


def test_listing_imports_no_torch_and_needs_no_hydra(outputs: Path) -> None:
    code = (
        "import sys; from metaexp.cli.main import main; main(['ls']); main(['rm', '--help'])\n"
        "assert 'hydra' not in sys.modules\n"
        "main(['show', 'outputs/first'])\n"
        "assert 'hydra' in sys.modules  # it compares with the defaults\n"
        "main(['rm', 'outputs/first', '--yes'])\n"
        "assert not {'torch', 'numpy', 'wandb', 'matplotlib', 'optuna'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
