"""scripts/abi refuses a change that breaks programs built with an earlier logcore.h, and accepts any
other."""
import os
import platform
import re
import shutil
import subprocess

import pytest
from harness import TOP, run

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64",
                                reason="the committed interface is that of x86-64")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A copy of the library and its build files, with an up-to-date interface."""
    folder = tmp_path_factory.mktemp("built")
    for name in ("logcore", "common", "scripts", "Makefile", "modules.mk", "programs.mk", "unit.mk",
                 "tests.mk", "fuzz.mk", "bench.mk", "install.mk"):
        (shutil.copytree if (TOP / name).is_dir() else shutil.copy)(TOP / name, folder / name)
    build(folder)
    run(folder / "scripts/abi", "renew", env=ENVIRONMENT)
    return folder


@pytest.fixture
def tree(built, tmp_path):
    """One that a test may change."""
    run("cp", "-a", built, tmp_path / "tree")
    return tmp_path / "tree"


# Without the variables of a parent make.
ENVIRONMENT = {k: v for k, v in os.environ.items()
               if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "BUILD", "SAN")}


def build(tree):
    run("make", "-s", "-C", tree, "CFLAGS=-g -w", "OPT=-O0", "build/liblogcore.so.0", env=ENVIRONMENT)


def abi(tree, changes):
    """Run scripts/abi after (file, pattern, replacement) changes: exit status, output."""
    for name, pattern, replacement in changes:
        file = tree / "logcore" / name
        text, count = re.subn(pattern, replacement, file.read_text(), flags=re.M)
        assert count, f"nothing in {name} is like {pattern}"
        file.write_text(text)
    build(tree)
    done = subprocess.run([tree / "scripts/abi"], text=True, capture_output=True, env=ENVIRONMENT)
    return done.returncode, done.stdout + done.stderr


LAST_OPTION = r"(?s)(struct logcore_options \{.*?)^\};"
EXPORT_ANOTHER = [("logcore.map", r"^\tlogcore_stats;", "\tlogcore_stats;\n\tlogcore_sink_close;"),
                  ("sink.c", r"^void logcore_sink_close", "LOGCORE_API void logcore_sink_close")]


@pytest.mark.parametrize("change", [
    [("logcore.h", LAST_OPTION, r"\1\tint more;\n\tbool flag;\n\tuint64_t bytes;\n};")],
    [("logcore.h", LAST_OPTION, r"\1\tbool more;\n};")],
    [("logcore.h", r"^(\tLOGCORE_TYPE_BACKTRACE)\b", r"\1,\n\tLOGCORE_TYPE_LATER")],
    EXPORT_ANOTHER,
    [("logcore.c", r"^\tbool bound_cut;", "\tbool bound_cut, other;")],
], ids=["options at the end", "a flag at the end", "a type at the end", "a new function", "inside"])
def test_a_compatible_change_passes(tree, change):
    assert abi(tree, change) == (0, "")


@pytest.mark.parametrize("change, named", [
    ([("logcore.h", r"^\tint fd;", "\tint more;\n\tint fd;")], "logcore_options"),
    ([("logcore.h", r"^\tint level;  ", "\tlong level;  ")], "int level"),
    ([("logcore.h", r"^\tsize_t len;", "\tint more;\n\tsize_t len;")], "logcore_field"),
    ([("logcore.h", r"^\tLOGCORE_TYPE_BOOL,", "\tLOGCORE_TYPE_OTHER,\n\tLOGCORE_TYPE_BOOL,")],
     "LOGCORE_TYPE_BOOL 2"),
    ([("logcore.map", r"^\tlogcore_stats;", "")], "logcore_stats"),
    ([(f, r"logcore_set_level\(struct logcore \*log, int level\)", "logcore_set_level(struct logcore *log, "
                                                                   "long level)")
      for f in ("logcore.h", "logcore.c")], "logcore_set_level"),
], ids=["an option inserted", "an option of another type", "a field's layout", "a type's number",
        "a function gone", "an argument"])
def test_an_incompatible_change_is_named(tree, change, named):
    status, said = abi(tree, change)
    assert status == 1 and named in said and "scripts/abi renew" in said.splitlines()[-1]
