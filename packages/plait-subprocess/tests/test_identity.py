# SPDX-License-Identifier: MIT
"""Another user, other groups, another umask: as root they apply, for everybody else they are refused clearly."""

from __future__ import annotations

import os
import sys

import pytest

from plait.subprocess import PIPE, Popen, _platform, _start, run

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become someone else")
PACKAGE = Popen.__module__
NOBODY, OTHER = 65534, 54321


@pytest.fixture(params=["fork_exec", "fork", "by steps"], autouse=True)
def starter(request, monkeypatch):
    """With the private call, with public ones, and where the child prepares itself."""
    if request.param == "fork":
        monkeypatch.setattr(_start, "order", ["fork"])
    elif not _platform._shape():
        pytest.skip("this interpreter has no fork_exec that we know")
    return request.param


def ids(starter, **options):
    if starter == "by steps":
        options["nice"] = 1
    command = ["/bin/sh", "-c", "id -ru; id -u; id -rg; id -g; id -G; umask"]
    return run(command, stdout=PIPE, text=True, check=True, **options).stdout.split("\n")[:-1]


@as_root
def test_user_group_and_groups_are_those_asked_for(starter):
    said = ids(starter, user=NOBODY, group=OTHER, extra_groups=[OTHER + 1, OTHER + 2], umask=0o027)
    assert said[:4] == [str(NOBODY)] * 2 + [str(OTHER)] * 2
    assert set(said[4].split()) == {str(OTHER), str(OTHER + 1), str(OTHER + 2)}
    assert said[5] == "0027"


@as_root
def test_one_of_them_leaves_the_others_as_they_are(starter):
    mine = ids(starter)
    assert ids(starter, user=NOBODY)[2:] == mine[2:]
    assert ids(starter, group=OTHER)[:2] == mine[:2]
    assert set(ids(starter, extra_groups=[OTHER])[4].split()) == {str(OTHER), mine[3]}
    assert ids(starter, extra_groups=[])[4] == mine[3]


@as_root
def test_names_stand_for_numbers(starter):
    pwd, grp = pytest.importorskip("pwd"), pytest.importorskip("grp")
    user, group = pwd.getpwall()[-1], grp.getgrall()[-1]
    said = ids(starter, user=user.pw_name, group=group.gr_name, extra_groups=[group.gr_name])
    assert said[:4] == [str(user.pw_uid)] * 2 + [str(group.gr_gid)] * 2


@as_root
def test_the_saved_ids_are_changed_as_well():
    code = "grep -E '^(Uid|Gid)' /proc/self/status"
    if not os.path.isdir("/proc/self"):
        pytest.skip("needs /proc")
    said = run(code, shell=True, user=NOBODY, group=OTHER, stdout=PIPE, text=True).stdout.split()
    assert said == ["Uid:", *[str(NOBODY)] * 4, "Gid:", *[str(OTHER)] * 4]


# Becomes nobody, if it is root, when all is loaded that it will need.
REFUSED = r"""
import errno, importlib, os, pickle, signal, sys
from descriptors import open_descriptors
piece = importlib.import_module(sys.argv[1])
if sys.argv[2] == "fork": importlib.import_module(sys.argv[1] + "._start").order[:] = ["fork"]
extra = {"nice": 1} if sys.argv[2] == "by steps" else {}
for options in ({}, {"user": os.getuid()}):
    try: piece.run(["/absent"], **options, **extra)
    except OSError: pass
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
before = open_descriptors()
for options in ({"user": 0}, {"group": 0}, {"extra_groups": [0]}, {"user": 0, "group": 0, "extra_groups": [0]}):
    try: piece.run(["/bin/sh", "-c", "exit 3"], **options, **extra)
    except PermissionError as error:
        copy = pickle.loads(pickle.dumps(error))
        print(error.errno == errno.EPERM, error.phase == copy.phase and error.phase, "'/bin/sh'" in str(error), error)
    else: print("started")
print(piece.run("umask", shell=True, umask=0o27, stdout=piece.PIPE, **extra).stdout)
print(open_descriptors() == before)
try: os.waitpid(-1, 0)
except ChildProcessError: print("no child")
"""


def test_without_the_right_to_it_the_error_says_what_could_not_be_done(starter):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = run([sys.executable, "-c", REFUSED, PACKAGE, starter], env=env, text=True, capture_output=True)
    *refusals, umask, descriptors, child = done.stdout.splitlines() or [done.stderr] * 3
    assert (umask, descriptors, child) == ("b'0027\\n'", "True", "no child"), done.stderr
    exact = starter != "fork_exec"
    expected = ["setuid", "setgid", "setgroups", "setgroups" if exact else "before exec"]
    words = ["its user to 0", "its group to 0", "further groups to [0]", "further groups to [0]"]
    assert len(refusals) == 4, done.stderr
    for line, phase, text in zip(refusals, expected, words, strict=True):
        assert line.startswith(f"True {phase} True "), line
        assert text in line
        assert "lacks the right" in line
