"""What jobs warn of is passed on once, while they run."""

from __future__ import annotations

from pathlib import Path

from metaexp.machine.job_warnings import JobWarnings


def test_each_warning_is_printed_once_and_at_the_end_from_how_many_jobs(tmp_path: Path) -> None:
    lines: list[str] = []
    warnings = JobWarnings(lines.append)
    logs = [tmp_path / f"{number}.log" for number in range(3)]
    for log in logs:
        log.write_text(f"a line\nwarning: no server answers run {log.name}\nno warning: here\nwarning: torn")
        warnings.look(f"job {log.stem}", log)
    assert lines == ["job 0: warning: no server answers run 0.log"]
    with logs[1].open("a") as file:
        file.write(" line\nwarning: torn line\n")
    warnings.look("job 1", logs[1])
    assert lines[1:] == ["job 1: warning: torn line"]
    warnings.close()
    assert lines[2:] == ["3 jobs: warning: no server answers run 0.log"]


def test_what_was_said_before_or_came_from_an_earlier_command_is_not_repeated(tmp_path: Path) -> None:
    lines: list[str] = []
    log = tmp_path / "output.log"
    log.write_text("warning: of yesterday\n")
    warnings = JobWarnings(lines.append, ["warning: every job: 4 classes are known"])
    warnings.begin(log)
    with log.open("a") as file:
        file.write("warning: 4 classes are known\nwarning: of today\n")
    warnings.look("job 0", log)
    assert lines == ["job 0: warning: of today"]


def test_a_log_that_is_missing_or_leads_elsewhere_has_no_warnings(tmp_path: Path) -> None:
    lines: list[str] = []
    warnings = JobWarnings(lines.append)
    (tmp_path / "other").write_text("warning: of another file\n")
    (tmp_path / "link").symlink_to(tmp_path / "other")
    for name in ("missing", "link"):
        warnings.look("job 0", tmp_path / name)
    assert lines == []
    warnings.look("job 0", tmp_path / "other")
    assert lines == ["job 0: warning: of another file"]
