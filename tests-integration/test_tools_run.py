# SPDX-License-Identifier: MIT
"""tools/run.py, which everybody starts with, and the sum that ends a run."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

abreast = importlib.import_module("abreast")
again = importlib.import_module("again")
run = importlib.import_module("run")
tally = importlib.import_module("tally")
workspace = importlib.import_module("workspace")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["tests"], ["-s", "tests"]),
        (["lint", "types", "-p", "3.12"], ["-s", "lint", "types", "-p", "3.12"]),
        (["demo", "--", "--workers", "2"], ["-s", "demo", "--", "--workers", "2"]),
        (["bench", "-p", "3.11", "-p", "3.13"], ["-s", "bench", "-p", "3.11", "3.13"]),
        (["tests", "-p", "3.11", "-x", "-p", "3.13"], ["-s", "tests", "-p", "3.11", "3.13", "-x"]),
        (["--list"], ["--list"]),
        (["tests", "--", "--", "-x"], ["-s", "tests", "--", "--", "-x"]),
    ],
)
def test_words_become_the_arguments_of_nox(words: list[str], expected: list[str]) -> None:
    assert run.nox_arguments(words) == expected


def test_uv_is_told_what_pip_was_told() -> None:
    env: dict[str, str] = {}
    run.tell_uv(
        {"index-url": "https://index.example/simple", "extra-index-url": "\nfile:///a\nfile:///b"}, env
    )
    assert env == {
        "UV_DEFAULT_INDEX": "https://index.example/simple",
        "UV_INDEX": "file:///a file:///b",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }


@pytest.mark.parametrize("variable", ["UV_DEFAULT_INDEX", "UV_INDEX_URL"])
def test_what_uv_was_told_itself_wins(variable: str) -> None:
    env = {variable: "https://mine.example/simple"}
    run.tell_uv({"index-url": "https://pips.example/simple"}, env)
    assert env == {variable: "https://mine.example/simple"}


def test_a_variable_of_pip_wins_over_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "python"
    rows = "global.cert='/file'\ninstall.find-links='/wheels'\n:env:.cert='/variable'\nglobal.odd=<nonsense>"
    fake.write_text(f'#!/bin/sh\ncat <<"EOF"\n{rows}\nEOF\n')
    fake.chmod(0o755)
    monkeypatch.setattr(run, "say", lambda text: None)
    assert run.pip_settings(str(fake)) == {"cert": "/variable", "find-links": "/wheels"}


def failing(times: int, attempts: list[None]) -> None:
    attempts.append(None)
    if len(attempts) <= times:
        raise ConnectionError(len(attempts))


def test_what_fails_for_a_passing_reason_is_tried_again() -> None:
    said: list[str] = []
    attempts: list[None] = []
    again.tried_again(lambda: failing(2, attempts), ConnectionError, said.append, (0, 0))
    assert (len(attempts), len(said)) == (3, 2)


def test_what_goes_on_failing_fails_in_the_end() -> None:
    attempts: list[None] = []
    with pytest.raises(ConnectionError, match="3"):
        again.tried_again(lambda: failing(9, attempts), ConnectionError, lambda text: None, (0, 0))
    assert len(attempts) == 3


def test_what_is_no_failure_of_that_kind_is_not_tried_again() -> None:
    attempts: list[None] = []
    with pytest.raises(ConnectionError, match="1"):
        again.tried_again(lambda: failing(9, attempts), KeyError, lambda text: None, (0, 0))
    assert len(attempts) == 1


def test_uv_keeps_its_cache_here_if_it_cannot_at_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "say", lambda text: None)
    (tmp_path / "a file").touch()
    for place, told in (
        ({"XDG_CACHE_HOME": str(tmp_path / "cache")}, None),
        ({"XDG_CACHE_HOME": str(tmp_path / "a file" / "cache")}, str(run.HOME / "uv-cache")),
        ({"XDG_CACHE_HOME": str(tmp_path / "a file"), "UV_CACHE_DIR": "/mine"}, "/mine"),
    ):
        run.give_uv_a_cache(place)
        assert place.get("UV_CACHE_DIR") == told


HOLD = "import run, sys; run.hold_lock(); print('held', flush=True); sys.stdin.read()"


def holder(checkout: Path) -> subprocess.Popen[str]:
    """A process that takes the lock of `checkout`, says so, and keeps it until its input ends."""
    env = {k: v for k, v in os.environ.items() if k != "PLAIT_RUN_IN"}
    return subprocess.Popen(
        [sys.executable, "-c", HOLD],
        cwd=checkout / "tools",
        env=env,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    place = tmp_path / "a checkout"
    (place / "tools").mkdir(parents=True)
    for name in ("run.py", "again.py"):
        (place / "tools" / name).write_text((ROOT / "tools" / name).read_text(encoding="utf-8"))
    return place


@pytest.mark.parametrize("ends", ["by itself", "killed"])
def test_a_second_run_waits_for_the_first_and_names_it(checkout: Path, ends: str) -> None:
    with holder(checkout) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with holder(checkout) as second:
            assert second.stderr is not None
            assert second.stdout is not None
            assert f"another run (pid {first.pid})" in second.stderr.readline()
            if ends == "killed":
                first.kill()
            else:
                first.communicate("")
            assert second.stdout.readline() == "held\n"
            second.communicate("")


def test_a_half_made_environment_is_made_again(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (checkout / "tools" / "pins.txt").write_text("nothing==1\n")
    monkeypatch.setattr(run, "ROOT", checkout)
    monkeypatch.setattr(run, "HOME", checkout / ".tools")
    monkeypatch.setattr(run, "PINS", checkout / "tools" / "pins.txt")
    made: list[Path] = []

    def make(place: Path, pins: str) -> None:
        made.append(place)
        run.python_of(place).parent.mkdir(parents=True, exist_ok=True)
        run.python_of(place).write_text("")
        if len(made) > 1:
            (place / "complete").write_text(pins)

    monkeypatch.setattr(run, "make_environment", make)
    assert run.environment() == run.environment() == run.environment()
    assert len(made) == 2, "the first was left half made, the second was complete, the third run found it"


@pytest.mark.skipif(os.name != "posix", reason="the shims of pyenv are shell scripts")
def test_a_shim_that_answers_command_not_found_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "{}.{}".format(*sys.version_info)
    shims, other = tmp_path / "pyenv" / "shims", tmp_path / "other place"
    for folder in (shims, other):
        folder.mkdir(parents=True)
    shim, real = shims / f"python{name}", other / f"python{name}"
    shim.write_text("#!/bin/sh\necho 'pyenv: command not found' >&2\nexit 127\n")
    real.write_text(f"#!/bin/sh\nexec '{sys.executable}' \"$@\"\n")
    shim.chmod(0o755)
    real.chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(shims), str(other), "/usr/bin", "/bin"]))
    base = getattr(sys, "_base_executable", sys.executable)
    assert os.path.realpath(workspace.interpreters((name,))[name]) == os.path.realpath(base)


@pytest.mark.skipif(os.name != "posix", reason="the launchers are shell scripts")
def test_the_newest_patch_release_of_a_pyenv_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("3.99.2", "3.99.10", "3.98.30"):
        exe = tmp_path / "versions" / version / "bin" / f"python{version.rpartition('.')[0]}"
        exe.parent.mkdir(parents=True)
        minor = version.rpartition(".")[0]
        exe.write_text(f"#!/bin/sh\nprintf '%s\\n' cpython {minor} {version} '{exe}'\n")
        exe.chmod(0o755)
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setenv("PATH", os.pathsep.join(["/usr/bin", "/bin"]))
    assert "3.99.10" in workspace.interpreters(("3.99", "3.97"))["3.99"]
    assert "3.97" not in workspace.interpreters(("3.99", "3.97"))


def test_an_interrupted_run_says_130(checkout: Path) -> None:
    with holder(checkout) as first:
        assert first.stdout is not None
        first.stdout.readline()
        env = {k: v for k, v in os.environ.items() if k != "PLAIT_RUN_IN"}
        argv = [sys.executable, str(checkout / "tools" / "run.py"), "--list"]
        with subprocess.Popen(argv, env=env, stderr=subprocess.PIPE, text=True) as second:
            assert second.stderr is not None
            assert "waiting for it" in second.stderr.readline()
            second.send_signal(signal.SIGINT)
            assert second.wait(20) == 130
        first.communicate("")


# ---------------------------------------------------------------------------------------------------------- the sum


REPORT = '<testsuites><testsuite tests="{}" failures="{}" errors="{}" skipped="{}"/></testsuites>'


def test_the_closing_line_sums_all_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sums = tally.Tally(tmp_path / "reports")
    sums.announce("one").write_text(REPORT.format(10, 1, 0, 2))
    sums.announce("two").write_text(REPORT.format(5, 0, 0, 1))
    sums.close()
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("=== 1 failed, 11 passed, 3 skipped in ")
    assert line.endswith("s ===")


def test_a_run_that_left_no_report_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sums = tally.Tally(tmp_path / "reports")
    sums.announce("one").write_text(REPORT.format(1, 0, 0, 0))
    sums.announce("killed")
    sums.close()
    said = capsys.readouterr().out
    assert "ERROR killed: no report" in said
    assert "=== 1 passed, 1 error in " in said


def test_a_run_that_failed_without_a_failure_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sums = tally.Tally(tmp_path / "reports")
    for name, failures in (("odd", 0), ("plain", 1)):
        sums.announce(name).write_text(REPORT.format(2, failures, 0, 0))
        with pytest.raises(RuntimeError), sums.watched(name):
            raise RuntimeError
    sums.close()
    said = capsys.readouterr().out
    assert "ERROR odd: no test failed" in said
    assert "=== 1 failed, 3 passed, 1 error in " in said


def test_a_check_that_failed_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sums = tally.Tally(tmp_path / "reports")
    sums.announce("one").write_text(REPORT.format(1, 0, 0, 0))
    for name in ("lint", "house"):
        sums.check_failed(name)
    sums.close()
    said = capsys.readouterr().out
    assert "ERROR lint: failed" in said
    assert "=== 1 passed, 2 errors in " in said


def test_a_part_of_a_run_leaves_the_sum_to_the_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = tally.Tally(tmp_path / "reports")
    for name in ("one", "odd", "killed", "failed"):
        whole.announce(name)
    for name, failures in (("one", 0), ("odd", 0), ("failed", 1)):
        part = tally.Tally(tmp_path / "reports", part=True)
        part.announce(name).write_text(REPORT.format(2, failures, 0, 0))
        part.close()
    assert capsys.readouterr().out == ""
    for name in ("odd", "killed", "failed"):
        whole.run_failed(name)
    whole.close()
    said = capsys.readouterr().out
    assert "ERROR odd: no test failed" in said
    assert "ERROR killed: no report" in said
    assert "=== 1 failed, 5 passed, 2 errors in " in said


def test_reports_of_an_earlier_run_do_not_count(tmp_path: Path) -> None:
    earlier = tmp_path / "reports" / "old.xml"
    earlier.parent.mkdir()
    earlier.write_text(REPORT.format(100, 0, 0, 0))
    sums = tally.Tally(tmp_path / "reports")
    sums.announce("one").write_text(REPORT.format(1, 0, 0, 0))
    assert sums.counts()["passed"] == 1
    assert not earlier.exists()


# -------------------------------------------------------------------------------------------------- several at a time


def job(name: str, program: str) -> object:
    return abreast.Job(name, [sys.executable, "-c", program], os.environ)


def test_jobs_run_side_by_side_and_their_words_stay_apart(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    os.mkfifo(first)
    os.mkfifo(second)
    # Each waits for the other: one after the other they would never end.
    meet = "import sys; print('{0}'); open({1!r}, 'w').write('x'); print(open({2!r}).read())"
    other = "import sys; print('{0}'); t = open({1!r}).read(); open({2!r}, 'w').write(t); sys.exit(3)"
    jobs = [
        job("a (1)", meet.format("a", str(first), str(second))),
        job("b", other.format("b", str(first), str(second))),
    ]
    said: list[str] = []
    ended = {e.job.name: e for e in abreast.Lanes(2, tmp_path / "logs", said.append).run(jobs)}
    assert {name: e.code for name, e in ended.items()} == {"a (1)": 0, "b": 3}
    assert ended["a (1)"].log.read_text() == "a\nx\n"
    assert ended["b"].log.read_text() == "b\n"
    assert sorted(said) == ["a (1) begins", "b begins"]


def test_one_lane_runs_them_in_the_order_given(tmp_path: Path) -> None:
    said: list[str] = []
    jobs = [job(name, "pass") for name in "cab"]
    assert [e.job.name for e in abreast.Lanes(1, tmp_path, said.append).run(jobs)] == ["c", "a", "b"]
    assert said == ["c begins", "a begins", "b begins"]


def test_who_is_interrupted_starts_nothing_more_and_interrupts_what_runs(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    os.mkfifo(begun)
    waits = f"import signal\nopen({str(begun)!r}, 'w').write('x')\nsignal.pause()"
    said: list[str] = []
    jobs = [job("waits", waits), job("reads", f"open({str(begun)!r}).read()")]
    jobs += [job(f"later {n}", "import signal; signal.pause()") for n in range(3)]
    ended = abreast.Lanes(2, tmp_path / "logs", said.append).run(jobs)
    assert next(ended).job.name == "reads"
    ended.close()  # as an exception where the caller stands would; it waits for what it has started
    assert "KeyboardInterrupt" in (tmp_path / "logs" / "waits.log").read_text()
    assert "later 1 begins" not in said


TERMINATED = """
import abreast, os, signal
abreast.be_interrupted_by_sigterm()
try:
    os.kill(os.getpid(), signal.SIGTERM)
    signal.pause()
except KeyboardInterrupt:
    print("interrupted")
"""


def test_who_is_asked_to_end_is_interrupted_and_so_ends_what_it_has_started() -> None:
    done = subprocess.run(
        [sys.executable, "-c", TERMINATED],
        cwd=ROOT / "tools",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr
