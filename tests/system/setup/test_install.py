"""`make install`, the build, and scripts/deps."""
import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from harness import BUILD, TOP, run


def clean_environment(**more):
    """Without the variables of a parent make, whose flags would apply here, and not as much said (V=1)."""
    return {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "V")} | more


def make(*arguments, **options):
    """Run make with the compiler and flags of the parent, so that nothing is built twice."""
    flags = re.sub(r"\s*(-j\S*|--jobserver\S*)", "", os.environ.get("MAKEFLAGS", ""))
    return run("make", "-C", TOP, *arguments, env={**os.environ, "MAKEFLAGS": flags}, **options)


def install(destination, prefix):
    make(f"BUILD={BUILD}", f"DESTDIR={destination}", f"prefix={prefix}", "install")
    return destination


@pytest.fixture(scope="module")
def usr(tmp_path_factory):
    return install(tmp_path_factory.mktemp("usr"), "/usr")


def test_everything_is_where_debian_has_it(usr):
    files = {str(f.relative_to(usr)) for f in usr.rglob("*") if not f.is_dir()}
    expected = {"usr/bin/obs_agent", "usr/libexec/observ/fleet_hub", "etc/systemd/system/obs-agent@.service",
                "usr/lib/sysusers.d/obs-agent.conf", "usr/share/observ/schema.sql", "usr/include/logcore.h",
                "usr/include/logcore.hpp", "usr/lib/liblogcore.a", "usr/lib/liblogcore.so",
                "usr/lib/liblogcore.so.0",
                "usr/lib/pkgconfig/logcore.pc", "usr/lib/python3/dist-packages/logcore.py", "usr/bin/logcore",
                "usr/share/man/man1/logcore.1", "usr/share/man/man3/logcore.3",
                "usr/share/man/man3/logcore_info.3",
                "usr/share/doc/observ/README.md", "usr/share/observ/lighttpd-observ.conf",
                "etc/systemd/system/observ-maintain.timer", "etc/systemd/system/fleet-hub.socket",
                "etc/observ/hub.conf", "etc/observ/watch.conf", "usr/bin/fleet_watch",
                "etc/systemd/system/fleet-watch.service"}
    assert expected <= files
    assert {Path(f).parts[0] for f in files} == {"usr", "etc"}
    for name in files:
        mode = (usr / name).lstat().st_mode
        assert stat.S_ISLNK(mode) or not mode & 0o022, f"{name} is writable for others"
    assert run(usr / "usr/bin/obs_agent", "--version").startswith("obs_agent ")


def test_uninstall_removes_what_install_put_there(tmp_path):
    """But the configuration."""
    install(tmp_path, "/usr")
    (tmp_path / "usr/share/observ/mine").touch()
    make(f"BUILD={BUILD}", f"DESTDIR={tmp_path}", "prefix=/usr", "uninstall")
    assert ({str(f.relative_to(tmp_path)) for f in tmp_path.rglob("*") if not f.is_dir()}
            == {"etc/observ/hub.conf", "etc/observ/watch.conf", "usr/share/observ/mine"})


# Each is a path in which a program would be installed somewhere else than it was asked to.
@pytest.mark.parametrize("goal", ["install", "uninstall"])
@pytest.mark.parametrize("given", ["DESTDIR=relative", "DESTDIR=./here", "DESTDIR=~/tree", "prefix=usr",
                                   "bindir=bin", "sysconfdir=etc",
                                   "unitdir=systemd", "pythondir=lib/python", "datadir=../share", "hubdir=x",
                                   "includedir=i", "libdir=.",
                                   "DESTDIR=/a b", "DESTDIR=/a /b", "prefix=/it's", "prefix=/a&b",
                                   "prefix=/a,b", 'prefix=/a"b"'])
def test_a_path_that_is_not_absolute_is_refused(tmp_path, given, goal):
    """Before anything is built or installed; `make -C` would otherwise take it from the source tree."""
    tree = set(os.listdir(TOP))
    done = subprocess.run(["make", "-C", TOP, f"BUILD={tmp_path}/build", given, goal],
                          env=clean_environment(), text=True, capture_output=True, timeout=60)
    name = given.split("=", maxsplit=1)[0]
    assert done.returncode == 2
    sentence = (f"{given} is no absolute path of plain characters; write one that begins with /, without "
                "blanks")
    assert f"{sentence} and quotes, as in {name}=" in done.stderr
    assert len([line for line in done.stderr.splitlines() if "no absolute path" in line]) == 1
    assert set(os.listdir(TOP)) == tree and not (tmp_path / "build").exists()


def test_other_trees_below_build_are_no_part_of_it(tmp_path):
    """Neither those of packages that failed nor of machines; both have files and folders whose names end in
    .d."""
    (tmp_path / "deb/observ/templates/sysusers.d").mkdir(parents=True)
    (tmp_path / "newcomer/tree/sbin").mkdir(parents=True)
    (tmp_path / "newcomer/tree/sbin/invoke-rc.d").write_text("#!/bin/sh\nthis is no Makefile\n")
    assert "Targets:" in make(f"BUILD={tmp_path}", "help")


def test_paths_in_templates_follow_prefix(tmp_path):
    tree = install(tmp_path, "/usr/local")
    unit = (tree / "etc/systemd/system/obs-agent@.service").read_text()
    assert "ExecStart=/usr/local/bin/obs_agent --app %i" in unit
    for f in tree.rglob("*"):
        if f.is_file() and f.suffix in (".service", ".conf", ".timer", ".pc", ".8", ".5", ".7"):
            assert not re.search(r"/usr/(bin|share|lib|libexec)/", f.read_text()), f


def test_programs_elsewhere_may_be_run_by_their_units(tmp_path):
    tree = install(tmp_path, "/opt/observ")
    for unit in (tree / "etc/systemd/system").glob("*.service"):
        program = re.search(r"^ExecStart=(\S+)", unit.read_text(), re.M).group(1)
        assert program == "psql" or program.startswith("/opt/observ/") and (tree / program[1:]).exists()
        assert "\nExecPaths=/usr /opt/observ\n" in unit.read_text()


def test_template_and_installed_unit_are_the_same_for_packages(usr):
    """Copying templates/obs-agent.service by hand gives the same unit as the package."""
    assert (usr / "etc/systemd/system/obs-agent@.service").read_text() == (
        TOP / "templates/obs-agent.service").read_text()


@pytest.mark.parametrize("how", ["shared", "static"])
def test_program_builds_with_the_installed_logcore(usr, tmp_path, how):
    if os.environ["OBSERV_BUILD"].endswith("/san"):
        pytest.skip("a sanitized library asks for a sanitized program")
    source = tmp_path / "app.c"
    source.write_text('#include <logcore.h>\nint main(void) { return logcore_level_name(LOGCORE_INFO) == 0; '
                      '}\n')
    environment = clean_environment(PKG_CONFIG_PATH=str(usr / "usr/lib/pkgconfig"),
                                    PKG_CONFIG_SYSROOT_DIR=str(usr))
    flags = run("pkg-config", "--cflags", "--libs", "logcore", env=environment).split()
    if how == "static":
        flags = [str(usr / "usr/lib/liblogcore.a") if f == "-llogcore" else f for f in flags]
    run("cc", "-Wall", "-Werror", source, "-o", tmp_path / "app", *flags, "-pthread")
    run(tmp_path / "app", env=clean_environment(LD_LIBRARY_PATH=str(usr / "usr/lib")))


def installed(usr):
    """An environment in which pkg-config, programs and the shell find the files installed below `usr`."""
    return clean_environment(PKG_CONFIG_PATH=str(usr / "usr/lib/pkgconfig"), PKG_CONFIG_SYSROOT_DIR=str(usr),
                             LD_LIBRARY_PATH=str(usr / "usr/lib"),
                             PATH=f"{usr / 'usr/bin'}:{os.environ['PATH']}",
                             PYTHONPATH=str(usr / "usr/lib/python3/dist-packages"))


def without_time(line):
    return re.sub(r'"timestamp":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"', "", line)


def test_first_line_of_the_readme_is_three_lines_of_code_and_one_pkg_config(usr, tmp_path):
    if os.environ["OBSERV_BUILD"].endswith("/san"):
        pytest.skip("a sanitized library asks for a sanitized program")
    part = re.search(r"<!-- first line:.*?<!-- end of first line -->", (TOP / "README.md").read_text(),
                     re.S).group()
    (code, command, shown) = (re.search(rf"```{kind}\n(.*?)```", part, re.S).group(1)
                              for kind in ("c", "sh", "json"))
    assert len(re.findall(r"^\s*(?:#include|.*;)", code, re.M)) == 3
    assert command.count("pkg-config") == 1 and command.count("\n") == 1
    assert code.count("/opt/deployments/my-app/logs") == 1
    (tmp_path / "app.c").write_text(code.replace("/opt/deployments/my-app/logs", str(tmp_path)))
    done = subprocess.run(["sh", "-ec", command], cwd=tmp_path, env=installed(usr), text=True,
                          capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert without_time((tmp_path / "app.log").read_text()) == without_time(shown)


def test_manual_pages_of_functions_link_to_logcore(usr):
    for page in ("logcore.3", "logcore_info.3", "logcore_child.3"):
        assert "structured logging" in run("mandoc", "-T", "utf8", usr / "usr/share/man/man3" / page)


def test_other_languages_find_what_is_installed(usr, tmp_path):
    if os.environ["OBSERV_BUILD"].endswith("/san"):
        pytest.skip("a sanitized library asks for a sanitized program")
    for command, lines in [(f"c++ -std=c++17 {TOP}/examples/quickstart.cc $(pkg-config --cflags --libs "
                            "logcore) -o q && ./q", 2),
                           (f"/usr/bin/python3 {TOP}/examples/quickstart.py", 2),
                           (f"{TOP}/examples/quickstart.sh", 2)]:
        done = subprocess.run(["sh", "-ec", command], cwd=tmp_path, env=installed(usr), text=True,
                              capture_output=True)
        assert done.returncode == 0 and len(done.stderr.splitlines()) == lines, done.stderr
        assert '"context":{"user_id":123,"action":"login"}}' in done.stderr


def test_missing_headers_are_one_sentence(tmp_path):
    done = subprocess.run(["make", "-C", str(TOP), f"BUILD={tmp_path}/b", "CC=cc -nostdinc", "all"],
                          text=True, capture_output=True, env=clean_environment())
    assert done.returncode != 0
    said = [line for line in done.stderr.splitlines() if not line.startswith("make: ***")]
    assert len(said) == 1 and "scripts/deps build" in said[0]


def test_a_change_of_flags_and_nothing_else_rebuilds(tmp_path):
    target = f"{tmp_path}/common/err.o"

    def build(*flags):
        return run("make", "-C", TOP, f"BUILD={tmp_path}", *flags, target, env=clean_environment())

    assert "CC" in build()
    assert "CC" not in build()
    assert "CC" in build("OPT=-O0")


def test_make_links_nothing_again_where_nothing_changed():
    """A program that is linked again can't be run meanwhile: a web server that starts it answers 500."""
    programs = [BUILD / name for name in ("obs_agent/obs_agent", "fleet_hub/fleet_hub",
                                          "fleet_hub/fleet_hub_admin", "fleet_watch/fleet_watch")]
    before = [program.stat().st_mtime_ns for program in programs]
    make(f"BUILD={BUILD}", "all")
    assert [program.stat().st_mtime_ns for program in programs] == before


# ---- scripts/deps ----------------------------------------------------------------------------

def stub(folder, name, body):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


@pytest.fixture
def deps(tmp_path):
    """scripts/deps with stubs: dpkg-query reports the packages in `present`, apt-get and sudo print their
    arguments.

    It runs as an ordinary user, so that nothing real can be installed.
    """
    folder = tmp_path / "bin"
    folder.mkdir()
    shutil.copy(TOP / "scripts/deps", folder / "deps")
    called = tmp_path / "called"
    present = tmp_path / "present"
    present.write_text("")
    stub(folder, "dpkg-query", f'for p; do :; done; grep -qx "$p" {present} && echo "ii " || exit 1')
    stub(folder, "id", "echo 1000")
    for tool in ("apt-get", "sudo"):
        stub(folder, tool, f'echo {tool} "$@" >> {called}; exit 1')

    class Deps:
        def present(self, *names):
            present.write_text("".join(f"{n}\n" for n in names))

        def run(self, *arguments):
            return subprocess.run([str(folder / "deps"), *arguments], text=True, capture_output=True,
                                  env={"PATH": f"{folder}:/usr/bin:/bin"})

        def called(self):
            return called.read_text() if called.exists() else ""
    return Deps()


def test_deps_with_everything_present_does_nothing(deps):
    deps.present(*deps.run("--list", "build", "demo", "test", "lint").stdout.split())
    done = deps.run("build", "demo", "test", "lint")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert deps.called() == ""


def test_deps_names_only_what_is_missing(deps):
    everything = deps.run("--list", "demo").stdout.split()
    assert "lighttpd" in everything
    deps.present(*(set(everything) - {"lighttpd"}))
    assert deps.run("--missing", "demo").stdout.split() == ["lighttpd"]


def test_deps_without_root_names_the_command_to_run(deps):
    done = deps.run("demo")
    assert done.returncode == 1
    assert re.fullmatch(r"scripts/deps: packages are missing, .* as root, run: \S+/deps demo\n", done.stderr)
    assert "apt-get" not in deps.called()


def test_deps_of_an_unknown_group_fails(deps):
    done = deps.run("bild")
    assert done.returncode == 1 and "no group 'bild'" in done.stderr


# ---- scripts/check, which counts for `make check` ----------------------------------------------

CMOCKA = """[==========] Running 3 test(s).
[ RUN      ] one
[       OK ] one
[ RUN      ] two
[  FAILED  ] two
[==========] 3 test(s) run.
[  PASSED  ] 2 test(s).
[  FAILED  ] 1 test(s), listed below:
[  FAILED  ] two

 1 FAILED TEST(S)
"""
PROVE = """tests/sql/a.sql .. ok
# Failed test 2: "x"
tests/sql/b.sql .. Failed 2/5 subtests
Test Summary Report
Files=2, Tests=25,  1 wallclock secs ( 0.03 usr +  0.01 sys =  0.04 CPU)
Result: FAIL
"""


@pytest.mark.parametrize("output, status, counted", [
    (CMOCKA + CMOCKA, 1, "x: 4 passed, 2 failed"),
    (PROVE, 1, "x: 23 passed, 2 failed"),
    ("...\n207 passed in 273.98s (0:04:33)\n", 0, "x: 207 passed, 0 failed"),
    ("..s.\n3 passed, 1 skipped in 0.05s\n", 0, "x: 3 passed, 0 failed, 1 skipped"),
    ("F.\n1 failed, 7 passed, 2 skipped, 1 error in 62.10s (0:01:02)\n", 1,
     "x: 7 passed, 2 failed, 2 skipped"),
    ("1..3\nok - a\nnot ok - b\nok - c # SKIP no root\n", 1, "x: 1 passed, 1 failed, 1 skipped"),
    ("[  PASSED  ] 3 test(s).\nSegmentation fault\n", 139, "x: 3 passed, 1 failed"),
    ("nothing to do\n", 0, "x: 0 passed, 1 failed"),
])
def test_counts_are_those_of_the_runner(tmp_path, output, status, counted):
    done = subprocess.run([str(TOP / "scripts/check"), str(tmp_path), "x", "sh",
                           "-c", 'printf %s "$0"; exit $1',
                           output, str(status)], text=True, capture_output=True)
    assert done.stdout.splitlines()[-1] == counted
    assert (done.returncode == 0) == (", 0 failed" in counted)


@pytest.mark.parametrize("output, status, said", [
    ("\n964 deselected in 2.10s\n", 5,
     ["x: no test is selected, and 964 are not; correct PYTEST_ARGS", "x: 0 passed, 0 failed"]),
    ("ERROR: Wrong expression\n", 4,
     ["x: the runner ended with status 4; this counts as one failure", "x: 0 passed, 1 failed"]),
    ("nothing to do\n", 0,
     ["x: the runner ran no test; this counts as one failure", "x: 0 passed, 1 failed"]),
    ("s\n1 skipped, 963 deselected in 0.05s\n", 0, ["x: 0 passed, 0 failed, 1 skipped"]),
])
def test_counts_that_do_not_explain_themselves_have_a_sentence(tmp_path, output, status, said):
    done = subprocess.run([str(TOP / "scripts/check"), str(tmp_path), "x", "sh",
                           "-c", 'printf %s "$0"; exit $1', output, str(status)],
                          text=True, capture_output=True)
    assert done.returncode != 0 and [line for line in done.stdout.splitlines()
                                     if line.startswith("x: ")] == said


@pytest.mark.parametrize("counts, last, good", [
    ({"a": "5 0 0", "b": "7 0 2"}, "12 passed, 0 failed", True),
    ({"a": "5 1 0", "b": "7 0 0"}, "12 passed, 1 failed", False),
    ({"a": "5 0 0"}, "5 passed, 1 failed", False),          # b printed no count: it did not run
    ({"a": "0 0 3", "b": "0 0 1"}, "0 passed, 0 failed", False),
    ({"a": "5 0 0", "b": "0 0 0"}, "5 passed, 0 failed", False),        # no test of b was selected
])
def test_sum_of_all_runners(tmp_path, counts, last, good):
    for name, count in counts.items():
        (tmp_path / f"{name}.count").write_text(count + "\n")
    done = subprocess.run([str(TOP / "scripts/check"), str(tmp_path), "--sum", "a", "b"], text=True,
                          capture_output=True)
    assert done.stdout.splitlines()[-1] == last
    assert (done.returncode == 0) == good
