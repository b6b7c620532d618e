# SPDX-License-Identifier: MIT
"""The repository's sessions. `python3 tools/run.py --list` shows them; tools/run.py needs nothing but Python.

Everything is tested as wheels built from this tree. Each package gets an environment of its own per Python, holding the
package, its declared siblings and its test group, and nothing else: an undeclared dependency is an ImportError there.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nox
from nox.command import CommandFailed

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "tools"))

import abreast
import again
import tally
import vendored as vendoring
import wheelhouse
import workspace

nox.needs_version = ">=2026.10"
nox.options.default_venv_backend = "uv"
nox.options.error_on_missing_interpreters = (
    False  # also where CI=true would turn it on: missing is skipped, and said
)
nox.options.download_python = "never"
CHECKS = ("lint", "layers", "types", "house")
nox.options.sessions = [*CHECKS, "tests"]
os.environ.setdefault("UV_PYTHON_DOWNLOADS", "never")
os.environ.setdefault("UV_PYTHON_PREFERENCE", "only-system")

KNOWN = workspace.make_findable(ROOT / ".tools" / "bin")
PACKAGES = {package.name: package for package in workspace.packages()}
PYTHONS = [*workspace.SUPPORTED, *(name for name in workspace.ALSO if name in KNOWN)]
_own = "{}.{}".format(*sys.version_info)
TOOLS_PYTHON = _own if _own in KNOWN else next(iter(KNOWN), _own)
PINS = {
    name: f"tools/requirements-{name}.txt"
    for name in (
        "run",
        "tests",
        "checks",
        "wheels",
        "tox",
        "release",
        "demo",
        "conformance",
        "bench",
        "peers",
    )
}
# How many sessions `all` runs at a time. More than two, and tests would wait for a processor and not for each other.
LANES = min(2, os.cpu_count() or 1)
PYODIDES = ("0.29.5", "314.0.7")  # Python 3.13 and 3.14
DIST = ROOT / "dist"
SIBLINGS = DIST / "siblings.txt"
INTEGRATION = ROOT / "tests-integration"

PART = "PLAIT_PART_OF_A_RUN"  # in the environment of the nox runs that `all` starts
reports = tally.Tally(ROOT / "build" / "reports", part=PART in os.environ)
atexit.register(reports.close)
abreast.be_interrupted_by_sigterm()


def processor_time() -> float:
    """Seconds of processor time of all children that were waited for, and of theirs."""
    return sum(os.times()[2:4])


@contextmanager
def timed(session: nox.Session, what: str) -> Iterator[None]:
    """Log how long a step took, and how much of it the processors were busy with it."""
    begun, busy = time.monotonic(), processor_time()
    try:
        yield
    finally:
        took, busy = time.monotonic() - begun, processor_time() - busy
        session.log(f"{what}: {took:.1f} s, {busy:.1f} s of processor time")


def pytest(session: nox.Session, name: str, *args: str, env: dict[str, str] | None = None) -> None:
    """Run pytest with a report that the closing line adds up."""
    report = reports.announce(name)
    with timed(session, f"pytest, {name}"), reports.watched(name):
        session.run(
            *("python", "-m", "pytest", "-q", f"--junitxml={report}", *args, *session.posargs),
            env=env,
        )


def chosen(session: nox.Session, usual: tuple[str, ...]) -> bool:
    """Is this session's Python one of the usual ones, or was it asked for by -p, or by the session's full name?"""
    asked = any(word in ("-p", "--python", "--pythons", "--extra-pythons") for word in sys.argv)
    return session.python in usual or asked or session.name in sys.argv


@contextmanager
def told(session: nox.Session) -> Iterator[None]:
    """Turn a failed step of the wheelhouse into the session's own error, without a traceback of ours."""
    try:
        yield
    except wheelhouse.WheelhouseError as error:
        session.error(str(error))


def run_all(session: nox.Session, *commands: list[str]) -> None:
    """Run every command, then fail if any did: one run tells everything."""
    failed = []
    for command in commands:
        try:
            with timed(session, command[0]):
                session.run(*command)
        except CommandFailed:
            failed.append(" ".join(command[:2]))
    if failed:
        session.error(f"failed: {', '.join(failed)}")


def build(session: nox.Session) -> None:
    """Fill dist/ from this tree; once per run, and not at all while the tree is the same."""
    if PART in os.environ:
        return  # who started us has done it, and others are installing from there
    with told(session):
        wheelhouse.build(ROOT, DIST, log=session.log)


def install(session: nox.Session, *args: str) -> None:
    """Install into the session's environment; a failure is tried again, for it may be the network's."""
    again.tried_again(lambda: session.install(*args), CommandFailed, session.log)


def install_for_tests(session: nox.Session, package: workspace.Package) -> None:
    """The package's own wheel with exactly what it declares, and its test group."""
    install(
        session,
        *("-c", str(SIBLINGS), "-c", PINS["tests"]),
        *("--group", f"{package.folder.relative_to(ROOT)}/pyproject.toml:test"),
        package.name,
    )


def compile_ours(session: nox.Session) -> None:
    """Compile the installed plait, as pip would have left it.

    Tests start hundreds of interpreters. Where the environment says that nobody may write bytecode, each of them would
    compile what it imports of us: a third of all the time that tests take.
    """
    script = (
        "import compileall, os, sysconfig as s; "
        "place = os.path.join(s.get_path('purelib'), 'plait'); "
        "raise SystemExit(not compileall.compile_dir(place, quiet=1))"
    )
    session.run("python", "-I", "-c", script, log=False)


def check_siblings(session: nox.Session, package: workspace.Package) -> None:
    """Fail unless the environment holds the declared siblings, and those they declare, and nothing else of ours."""
    wanted = sorted(workspace.closure(package, PACKAGES))
    script = (
        "import importlib.metadata as m; "
        "print(*sorted(n for d in m.distributions() if (n := d.metadata['Name']).startswith('plait-')))"
    )
    have = str(session.run("python", "-I", "-c", script, silent=True, log=False)).split()
    if have != wanted:
        session.error(f"{package.name} came with {have}, but it declares {wanted}")
    session.log(
        f"{package.name} came with {', '.join(set(have) - {package.name}) or 'nothing else'}, as declared"
    )


@nox.session(python=False)
def demo(session: nox.Session) -> None:
    """The source census: all seven packages at work, from their wheels (arguments after `--` are the demo's)."""
    demo_folder = ROOT / ".nox" / "demo"
    build(session)
    with told(session):
        python = wheelhouse.environment(demo_folder, sys.executable)
        wheelhouse.install(python, ["-c", str(SIBLINGS), "-r", str(ROOT / PINS["demo"]), *PACKAGES])
    # The demo ends its own processes on Ctrl-C; nox must not be faster than that. Paths are the caller's.
    with session.chdir(session.invoked_from):
        session.run(
            *(str(python), str(ROOT / "tools" / "demo.py"), *session.posargs),
            external=True,
            interrupt_timeout=10,
            terminate_timeout=5,
        )


@nox.session(reuse_venv=True)
def wheels(session: nox.Session) -> None:
    """Build sdist, then wheel from the sdist, of every package into dist/, and install each wheel alone."""
    with timed(session, "wheelhouse"):
        build(session)
    python = KNOWN.get(TOOLS_PYTHON, sys.executable)
    with timed(session, "each wheel alone"), told(session):
        for package in PACKAGES.values():
            with tempfile.TemporaryDirectory() as folder:
                wanted = sorted(workspace.closure(package, PACKAGES))
                have = wheelhouse.install_alone(package, DIST, Path(folder), python)
                if have != wanted:
                    session.error(f"{package.name} alone pulled in {have}; it declares {wanted}")
                session.log(
                    f"{package.name} imports, with {', '.join(set(have) - {package.name}) or 'nothing else'}"
                )


def integration_files(with_tools: bool) -> list[Path]:
    """The tests of all packages together, with or without those of the tools."""
    return sorted(
        f for f in INTEGRATION.glob("test_*.py") if with_tools or not f.name.startswith("test_tools_")
    )


@nox.session(python=PYTHONS)
@nox.parametrize("piece", [nox.param(name, id=name) for name in (*PACKAGES, "integration")])
def tests(session: nox.Session, piece: str) -> None:
    """Each package's tests against wheels of this tree on each Python, then tests-integration."""
    name = f"{piece} on {session.python}"
    reports.announce(name)
    build(session)
    if piece in PACKAGES:
        package = PACKAGES[piece]
        install_for_tests(session, package)
        compile_ours(session)
        check_siblings(session, package)
        session.chdir(package.folder)
        pytest(session, name)
        return
    # The tools run on one Python only, the one that runs this; so do their tests, which need all the checkers.
    with_tools = session.python == TOOLS_PYTHON
    files = integration_files(with_tools)
    if not files:
        reports.withdraw(name)
        session.skip("tests-integration has no tests for this Python")
    group = f"{next(iter(PACKAGES.values())).folder.relative_to(ROOT)}/pyproject.toml:test"
    # `all` has what is independent of the Python on one only; `tests` has everything everywhere.
    less = ("-m", "not once") if PART in os.environ and not with_tools else ()
    checkers = [word for name in ("run", "checks", "wheels") for word in ("-r", PINS[name]) if with_tools]
    install(session, "-c", str(SIBLINGS), "-c", PINS["tests"], "--group", group, *checkers, *PACKAGES)
    compile_ours(session)
    pytest(session, name, "-c", str(INTEGRATION / "pytest.ini"), *less, *(str(f) for f in files))


@nox.session(python=False, default=False, name="all")
def all_sessions(session: nox.Session) -> None:
    """What a change has to pass: the checks, and `tests`, two sessions at a time (arguments after `--` are pytest's).

    Most tests wait for something most of the time: one suite after another leaves half of two processors idle. Those of
    the demo that are marked `once` look at what the Python makes no difference to, and run on one Python here.
    """
    # A shell's job in the background ignores Ctrl-C, and so would those who are started here: they could not be told.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    build(session)
    tests_of: dict[str, str] = {}  # session -> what it is called in the reports
    # The longest first, so that the lanes end together; and of one package on one Python at a time.
    pieces = ["integration", *reversed(PACKAGES)]
    for python in sorted(PYTHONS, key=lambda python: python != TOOLS_PYTHON):
        for piece in pieces:
            tests_of[f"tests-{python}({piece})"] = f"{piece} on {python}"
            if python in KNOWN:  # a missing one skips its sessions, and says so
                reports.announce(f"{piece} on {python}")
    lanes = abreast.Lanes(LANES, ROOT / "build" / "logs", session.log)
    nox_here = [sys.executable, "-m", "nox", "-f", str(ROOT / "noxfile.py"), "-s"]
    words = ["--", *session.posargs] if session.posargs else []
    env = {**os.environ, PART: "1"}
    jobs = [abreast.Job(name, [*nox_here, name], env) for name in CHECKS]
    jobs += [abreast.Job(name, [*nox_here, name, *words], env) for name in tests_of]
    failed = []
    for ended in lanes.run(jobs):
        name = ended.job.name
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stderr.buffer.write(ended.log.read_bytes())
        sys.stderr.flush()
        session.log(f"{name} took {ended.seconds:.0f} s{', and failed' if ended.code else ''}")
        if ended.code:
            failed.append(name)
            if name in tests_of:
                reports.announce(tests_of[name])  # or again
                reports.run_failed(tests_of[name])
            else:
                reports.check_failed(name)
    if failed:
        session.error(f"failed: {', '.join(failed)}")


@nox.session(reuse_venv=True)
@nox.parametrize("piece", [nox.param(name, id=name) for name in PACKAGES])
def tox(session: nox.Session, piece: str) -> None:
    """Each package's own tox, from its unpacked sdist elsewhere, lowest siblings included."""
    package = PACKAGES[piece]
    build(session)
    install(session, "-r", PINS["tox"])
    with tempfile.TemporaryDirectory(prefix="plait-tox-") as folder:
        unpacked = wheelhouse.unpack_sdist(package, DIST, Path(folder) / "sdist")
        session.chdir(unpacked)
        with timed(session, f"tox of {piece}"):
            # Without a line for the package itself, which tox builds from the sdist; and in a place of its own,
            # because UV_CONSTRAINT is a list separated by spaces and the checkout's path may hold some.
            here = Path(folder) / "siblings.txt"
            pins = SIBLINGS.read_text().splitlines(keepends=True)
            here.write_text("".join(line for line in pins if not line.startswith(f"{package.name} @")))
            constraints = f"{os.environ.get('UV_CONSTRAINT', '')} {here}".strip()
            session.run("tox", "run", *session.posargs, env={"UV_CONSTRAINT": constraints})


@nox.session(python=PYTHONS)
@nox.parametrize("piece", [nox.param(name, id=name) for name in PACKAGES])
def vendored(session: nox.Session, piece: str) -> None:
    """Each package's tests against its copy in app/_vendor, beside another installed version of all seven."""
    package = PACKAGES[piece]
    name = f"{piece} vendored on {session.python}"
    reports.announce(name)
    build(session)
    with told(session):
        other = vendoring.other_version(ROOT, ROOT / "build" / "other-version", log=session.log)
    install(
        session,
        *("-c", str(other / "siblings.txt"), "-c", PINS["tests"]),
        *("--group", f"{package.folder.relative_to(ROOT)}/pyproject.toml:test"),
        *PACKAGES,
    )
    with tempfile.TemporaryDirectory(prefix="plait-vendored-") as folder:
        with told(session):
            stage = vendoring.prepare(
                package, PACKAGES, Path(folder), DIST, Path(session.virtualenv.location)
            )
        session.chdir(stage)
        pytest(session, name, "-p", "vendored_guard")


@nox.session(python=PYTHONS)
def faults(session: nox.Session) -> None:
    """Scenarios of hangs, losses and leaks: -- [--impl plait|stdlib] [--repeat N] [--json FILE] [--list] [NAME...]."""
    if not chosen(session, ("3.11", "3.13")):
        session.skip(f"runs on demand: -p {session.python}")
    build(session)
    install(session, "-c", str(SIBLINGS), "-r", PINS["demo"], *PACKAGES)
    # On Ctrl-C the runner ends all that its scenarios started; nox must not be faster than that.
    session.run(
        *("python", "tools/faults.py", *session.posargs),
        interrupt_timeout=20,
        terminate_timeout=5,
    )


@nox.session(python=PYTHONS)
def bench(session: nox.Session) -> None:
    """Speed beside the standard modules: -- [AREA...] [-k PART] [--same] [--peers] [--quick] [--json FILE] [--list]."""
    if not chosen(session, ("3.11", "3.13")):
        session.skip(f"runs on demand: -p {session.python}")
    build(session)
    # Compiled, as pip leaves it and as the standard modules are: else imports and spawned processes are those of sources,
    # wherever the environment says that nobody may write bytecode.
    install(session, "--compile", "-c", str(SIBLINGS), "-r", PINS["bench"], *PACKAGES)
    if "--peers" in session.posargs:
        # Not every library exists for every Python: one that cannot be installed is named in the table.
        for line in (ROOT / PINS["peers"]).read_text().splitlines():
            if not line.startswith("#"):
                session.install(
                    "--only-binary", ":all:", "--no-deps", line, success_codes=range(256), silent=True
                )
    session.run(
        *("python", "tools/bench.py", *session.posargs),
        interrupt_timeout=20,
        terminate_timeout=5,
    )


@nox.session(python=PYTHONS)
def conformance(session: nox.Session) -> None:
    """The interpreter's own tests against plait; `-- --help` explains: -- [PACKAGE...] [--impl ...] [--propose] ..."""
    python = KNOWN[str(session.python)]
    probe = [python, "-I", "-c", "import test.support, test.test_queue"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        session.skip(f"{python} comes without its tests (the package `test`)")
    build(session)
    # The tool runs on the Python that runs this, whatever is under test; its children run in environments of its own.
    with told(session):
        tool = wheelhouse.environment(ROOT / ".nox" / "conformance-tool", sys.executable)
        wheelhouse.install(tool, ["-r", str(ROOT / PINS["conformance"])])
    session.run(
        *(str(tool), str(ROOT / "tools" / "conformance")),
        *("--python", python, "--siblings", str(SIBLINGS), *session.posargs),
        external=True,
        interrupt_timeout=20,
        terminate_timeout=10,
    )


@nox.session(python=False)
@nox.parametrize("release", [nox.param(release, id=release) for release in PYODIDES])
def pyodide(session: nox.Session, release: str) -> None:
    """Where no thread can be started: the wheels in Pyodide, under Node (skipped without node and npm)."""
    if not (shutil.which("node") and shutil.which("npm")):
        session.skip("node and npm are not installed")
    build(session)
    folder = ROOT / "build" / "pyodide" / release
    folder.mkdir(parents=True, exist_ok=True)
    npm = ("npm", "install", "--silent", "--no-save", "--prefix", str(folder), f"pyodide@{release}")
    again.tried_again(lambda: session.run(*npm, external=True), CommandFailed, session.log)
    programs = INTEGRATION / "programs"
    session.run(
        *("node", str(programs / "in_pyodide.mjs"), str(folder), str(DIST), str(programs / "in_pyodide.py")),
        external=True,
    )


@nox.session(reuse_venv=True)
def layers(session: nox.Session) -> None:
    """Imports point downwards (import-linter), only to declared siblings, only at public names."""
    install(session, "-r", PINS["checks"])
    session.run("python", "tools/layers.py", *session.posargs)


@nox.session(reuse_venv=True)
def types(session: nox.Session) -> None:
    """mypy --strict and pyright over the merged view of all packages."""
    install(session, "-r", PINS["checks"])
    session.run("python", "tools/merged_view.py", silent=True)
    run_all(
        session,
        ["mypy", "--config-file", "tools/mypy.ini", "build/merged/plait", *session.posargs],
        # What users see; nothing of it runs.
        ["mypy", "--config-file", "tools/mypy.ini", *map(str, ROOT.glob("packages/*/tests/typed_*.py"))],
        ["pyright", "-p", "tools/pyrightconfig.json"],
    )


@nox.session(reuse_venv=True)
def lint(session: nox.Session) -> None:
    """ruff: rules, then format (arguments after `--` replace the paths)."""
    install(session, "-r", PINS["checks"])
    paths = session.posargs or ["packages", "tools", "tests-integration", "noxfile.py"]
    run_all(
        session,
        ["ruff", "check", "--output-format=concise", "--config", "tools/ruff.toml", *paths],
        ["ruff", "format", "--check", "--config", "tools/ruff.toml", *paths],
    )


@nox.session(reuse_venv=True)
def house(session: nox.Session) -> None:
    """The rules of the house that a program can check, in the tree, its wheels and its sdists."""
    build(session)
    install(session, "-r", PINS["wheels"])
    session.run("python", "tools/house.py", *session.posargs)


@nox.session(python=False)
def clean(_session: nox.Session) -> None:
    """Remove what sessions leave behind: build/, dist/, .nox/ and caches (not .tools/, which runs this)."""
    for name in (
        "build",
        "dist",
        ".nox",
        ".mypy_cache",
        ".ruff_cache",
        ".pytest_cache",
        ".import_linter_cache",
    ):
        shutil.rmtree(ROOT / name, ignore_errors=True)
    for name in ("__pycache__", ".pytest_cache", ".hypothesis", ".tox"):
        for folder in ("packages", "tests-integration", "tools"):
            for left in [*(ROOT / folder).rglob(name)]:
                shutil.rmtree(left, ignore_errors=True)
