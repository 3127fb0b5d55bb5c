"""A bare Debian 12 with git, make and ca-certificates: what somebody sees who clones this tree and has
nothing else.

The demo, without a boot, by scripts/newcomer, and what scripts/deps says when packages can't be installed.
The first run ever needs a network, for the machine and for its packages; both stay in build/nspawn.
"""
import subprocess

import pytest
from harness import TOP
from machine import nspawn

NEWCOMER = TOP / "scripts/newcomer"
STEP_S = 1000


def newcomer(*arguments):
    done = subprocess.run([NEWCOMER, *arguments], text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=STEP_S)
    if done.returncode == 75:
        pytest.skip(done.stdout.strip().splitlines()[-1])
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    tree = tmp_path_factory.mktemp("newcomer") / "tree"
    newcomer("prepare", tree)
    yield tree
    nspawn("remove", tree)


def test_demo_as_root_on_a_machine_with_nothing(machine):
    said = newcomer("root", machine)
    assert "three pages seen" in said and "scripts/deps: installing " in said


def test_demo_again_without_a_network(machine):
    """Nor does it write outside the project."""
    assert "three pages seen" in newcomer("again", machine)


def test_demo_as_a_user_without_a_network(machine):
    assert "three pages seen" in newcomer("user", machine)


def test_demo_leaves_postgresql_as_debian_has_it_but_not_started(machine):
    """Who installs the package postgresql later finds its cluster; nothing starts at the next boot."""
    assert (machine / "etc/postgresql/15/main/start.conf").read_text().splitlines()[-1] == "auto"
    assert not list((machine / "etc/postgresql-common/createcluster.d").glob("observ*"))
    enabled = {p.name for p in (machine / "etc/systemd/system").glob("*.wants/*")}
    assert not enabled & {"postgresql.service", "lighttpd.service"}
    assert not (machine / "usr/sbin/policy-rc.d").exists()


# ---- when packages can't be installed ------------------------------------------------------------------

@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    tree = tmp_path_factory.mktemp("bare") / "tree"
    newcomer("prepare", tree)
    yield tree
    nspawn("remove", tree)


def deps(tree, *options):
    done = subprocess.run([TOP / "scripts/nspawn", "once", tree, *options, "--", "/root/observ/scripts/deps",
                           "build"], text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=STEP_S)
    assert done.returncode == 1, done
    return done.stderr


def test_deps_without_a_network_says_so(bare):
    for file in (bare / "var/lib/apt/lists").glob("*_*"):
        file.unlink()
    patient = bare / "etc/apt/apt.conf.d/99newcomer"
    retries = patient.read_text()
    patient.unlink()
    said = deps(bare, "--private-network", "--resolv-conf=off")
    patient.write_text(retries)
    assert "Temporary failure resolving" in said and "trying with the old ones" in said


def test_deps_shows_what_the_package_manager_said_first_and_last(bare):
    said = deps(bare, "--resolv-conf=copy-host", "--tmpfs=/usr/include:size=64k")
    assert "No space left on device" in said
    assert "what it said is above" in said and len(said.splitlines()) < 25
