# SPDX-License-Identifier: MIT
"""Runs sessions of the noxfile on a machine that has nothing but Python and a package index.

    python3 tools/run.py demo
    python3 tools/run.py tests
    python3 tools/run.py tests -p 3.12 -k queue -- -x     options before `--` are nox's, after it the session's
    python3 tools/run.py bench -p 3.11 3.13               several Pythons (or -p 3.11 -p 3.13)
    python3 tools/run.py --list

It makes an environment with nox and uv (pinned in tools/requirements-run.txt) under .tools/, once, and becomes nox in
it: exit code and Ctrl-C are nox's own.

    - One run at a time: sessions share environments and the wheelhouse, so a second run waits for the first, and
      says so. The lock belongs to the process, so the kernel drops it however the process ends.
    - An environment counts only when its stamp was written, which is the last step; what else is found is made anew.
    - Where pip is told which index, certificate or constraint to use (its files or PIP_*), uv is told the same.
    - A download that fails is tried again for some minutes (tools/again.py).
    - Where uv cannot keep its cache in the home folder, it is kept under .tools/.
"""

from __future__ import annotations

import ast
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import again

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".tools"
PINS = ROOT / "tools" / "requirements-run.txt"

# pip's setting -> uv's variable. pip merges all its indexes and takes the best version: uv is asked for the same below.
PIP_TO_UV = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "no-index": "UV_NO_INDEX",
    "constraint": "UV_CONSTRAINT",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "timeout": "UV_HTTP_TIMEOUT",
    "proxy": "ALL_PROXY",
}
# How patient uv is, unless it is told something else: seconds, and the retries of a request, whose pauses double.
PATIENCE = {"UV_HTTP_RETRIES": "6", "UV_HTTP_TIMEOUT": "120", "UV_HTTP_CONNECT_TIMEOUT": "30"}
OLDER_NAME = {"UV_DEFAULT_INDEX": "UV_INDEX_URL", "UV_INDEX": "UV_EXTRA_INDEX_URL"}


def say(text: str) -> None:
    print(f"tools/run.py: {text}", file=sys.stderr, flush=True)


def hold_lock() -> None:
    """Wait until no other run uses this checkout. The descriptor stays open on purpose, through the exec too."""
    if os.environ.get("PLAIT_RUN_IN") == str(ROOT):
        return  # started by a session of a run that holds the lock
    HOME.mkdir(exist_ok=True)
    try:
        import fcntl
    except ImportError:
        return  # no file locks here: two runs at once are the caller's business
    lock = os.open(HOME / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, 20, 0).decode(errors="replace").strip() or "unknown"
        say(f"another run (pid {holder}) uses this checkout; waiting for it to end")
        fcntl.flock(lock, fcntl.LOCK_EX)
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    os.set_inheritable(lock, True)


def pip_settings(python: str) -> dict[str, str]:
    """What pip would use, by long option name; a variable wins over a file, `install` over `global`."""
    listed = subprocess.run(
        [python, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    rows: dict[str, dict[str, str]] = {}
    for line in listed.stdout.splitlines():
        key, _, value = line.partition("=")
        section, _, option = key.rpartition(".")
        try:
            rows.setdefault(section, {})[option] = str(ast.literal_eval(value))
        except (SyntaxError, ValueError):
            say(f"pip's setting {key} was not understood; uv goes without it")
    merged: dict[str, str] = {}
    for section in ("global", "install", ":env:"):
        merged.update(rows.get(section, {}))
    return merged


def tell_uv(settings: dict[str, str], env: dict[str, str]) -> None:
    """Give uv what pip was told, unless uv itself was told something."""
    for option, variable in PIP_TO_UV.items():
        told = variable in env or OLDER_NAME.get(variable, variable) in env
        if option in settings and not told:
            env[variable] = " ".join(settings[option].split())
    if "extra-index-url" in settings:
        env.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")


def give_uv_a_cache(env: dict[str, str]) -> None:
    """Let uv keep its cache here if it cannot in the home folder: it would do nothing at all without one."""
    if "UV_CACHE_DIR" in env or "UV_NO_CACHE" in env:
        return
    try:
        base = Path(env.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        (base / "uv").mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=base / "uv"):
            return
    except (OSError, RuntimeError) as error:
        say(f"uv keeps its cache in .tools/uv-cache, because the usual place cannot be written to: {error}")
        env["UV_CACHE_DIR"] = str(HOME / "uv-cache")


def make_environment(place: Path, pins: str) -> None:
    say(f"making {place.relative_to(ROOT)} (once)")
    shutil.rmtree(place, ignore_errors=True)
    base = getattr(sys, "_base_executable", None) or sys.executable
    tried = []
    for module in ("venv", "virtualenv"):
        done = subprocess.run([base, "-m", module, str(place)], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            break
        tried.append(f"python -m {module}: {(done.stdout + done.stderr).strip()}")
        shutil.rmtree(place, ignore_errors=True)
    else:
        said = "\n  ".join(tried)
        sys.exit(
            f"tools/run.py: {base} can make no environment; install its venv package or virtualenv\n  {said}"
        )
    env = dict(os.environ)
    for variable, theirs in (("UV_DEFAULT_INDEX", "PIP_INDEX_URL"), ("UV_INDEX", "PIP_EXTRA_INDEX_URL")):
        value = env.get(variable) or env.get(OLDER_NAME[variable])
        if value:
            env.setdefault(theirs, value)
    command = [
        str(python_of(place)),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-r",
        str(PINS),
    ]

    def install() -> None:
        subprocess.run(
            command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True
        )

    try:
        again.tried_again(install, subprocess.CalledProcessError, say)
    except subprocess.CalledProcessError as error:
        sys.exit(f"{error.stdout}\ntools/run.py: pip could not install {PINS.relative_to(ROOT)}, see above")
    (place / "complete").write_text(pins)


def python_of(place: Path) -> Path:
    return place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def environment() -> Path:
    """The folder of a complete environment, made when there is none for these pins, this Python and this place."""
    pins = PINS.read_text(encoding="utf-8")
    base = getattr(sys, "_base_executable", None) or sys.executable
    identity = hashlib.sha256("\0".join([pins, sys.version, base, str(ROOT)]).encode()).hexdigest()[:12]
    place = HOME / f"env-{identity}"
    stamp = place / "complete"
    if not (stamp.is_file() and stamp.read_text() == pins and python_of(place).exists()):
        make_environment(place, pins)
    return place


def pythons_together(options: list[str]) -> list[str]:
    """`-p 3.11 -x -p 3.13` -> `-p 3.11 3.13 -x`: nox would take the last of several -p, and not a word of the others."""
    if "-p" not in options:
        return options
    pythons: list[str] = []
    others: list[str] = []
    into = others
    for word in options:
        if word == "-p":
            into = pythons
            continue
        if word.startswith("-"):
            into = others
        into.append(word)
    return ["-p", *pythons, *others]


def nox_arguments(words: list[str]) -> list[str]:
    """`tests lint -p 3.12 -- -x` -> `-s tests lint -p 3.12 -- -x`."""
    ours, mark, rest = words, [], []
    if "--" in words:
        at = words.index("--")
        ours, mark, rest = words[:at], ["--"], words[at + 1 :]
    first = next((i for i, word in enumerate(ours) if word.startswith("-")), len(ours))
    sessions, options = ours[:first], ours[first:]
    options = pythons_together(options)
    return [*(["-s", *sessions] if sessions else []), *options, *mark, *rest]


def main(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(__doc__)
        words = ["--list"]
    if sys.version_info < (3, 10):
        sys.exit(
            f"tools/run.py: needs Python 3.10 or newer, this is {sys.version.split()[0]} ({sys.executable})"
        )
    hold_lock()
    place = environment()
    python = str(python_of(place))
    env = dict(os.environ, PLAIT_RUN_IN=str(ROOT))
    tell_uv(pip_settings(python), env)
    for variable, value in PATIENCE.items():
        env.setdefault(variable, value)
    give_uv_a_cache(env)
    for leftover in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "NOXSESSION", "NOXPYTHON"):
        env.pop(leftover, None)
    argv = [python, "-m", "nox", "-f", str(ROOT / "noxfile.py"), *nox_arguments(words)]
    sys.stdout.flush()
    if os.name == "posix":
        os.execve(python, argv, env)
    return subprocess.run(argv, env=env, check=False).returncode


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
