"""Fixtures for tests/system and tests/browser; the classes are in harness.py."""
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from harness import Agent, Cluster, cluster_folder, remove_left_folders  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "smoke: short enough to run again under the sanitizers")
    config.addinivalue_line("markers", "soak: takes minutes; run by `make soak` (-m soak) only")
    config.addinivalue_line("markers", "alone: measures time, so only one of its kind runs beside it")
    if not hasattr(config, "workerinput"):
        remove_left_folders()
    if not config.option.markexpr:
        config.option.markexpr = "not soak"


# The longest files, so that no worker is left with one at the end.
FIRST = ("test_readme", "test_packages", "test_newcomer", "test_hub_large", "test_hub", "test_citus",
         "test_sandbox", "test_unit", "test_demo", "test_attack_hub", "test_stolen")
# Tests that share a name on this machine.
TOGETHER = ("test_demo", "test_install", "test_examples")


def shares_a_fixture(item):
    return any(found[-1].scope == "module" for found in item._fixtureinfo.name2fixturedefs.values())


@pytest.hookimpl(tryfirst=True)         # before xdist reads the groups
def pytest_collection_modifyitems(config, items):
    if not config.pluginmanager.hasplugin("xdist"):
        return
    items.sort(key=lambda item: (*FIRST, item.path.stem).index(item.path.stem))
    for item in items:                  # one worker runs what belongs together
        name = item.path.stem
        together = name in TOGETHER or shares_a_fixture(item)
        item.add_marker(pytest.mark.xdist_group(name if together else item.nodeid))


@pytest.fixture(scope="session")
def cluster():
    """One server for the session. A test that stops it must start it again."""
    with cluster_folder() as folder:
        server = Cluster(folder)
        server.start()
        yield server
        server.stop("immediate")


@pytest.fixture
def cluster_dir():
    """A folder for clusters of one test."""
    with cluster_folder() as folder:
        yield folder


@pytest.fixture
def own_cluster(cluster_dir):
    """A server for a test that breaks it."""
    server = Cluster(cluster_dir / "own")
    server.start()
    yield server
    server.stop("immediate")


@pytest.fixture
def db(cluster):
    """A new database with the schema."""
    database = cluster.new_database()
    yield database
    database.drop()


@pytest.fixture
def short_dir():
    """A folder with a name short enough for sockets (107 bytes)."""
    folder = tempfile.mkdtemp(prefix="obs-")
    yield Path(folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def make_agent(request, tmp_path, short_dir):
    """make_agent(database, app="shop", name=..., **monitoring) -> Agent, not started. All are stopped at the
    end.

    Keys of `monitoring` override: enabled, postgres_url, vps_name "test", collection_interval 10.
    """
    agents = []

    def make(database, app="shop", name=None, environment=None, **monitoring):
        name = name or f"agent{len(agents) + 1}"
        runtime = short_dir / name
        runtime.mkdir()
        settings = {"enabled": True, "vps_name": "test", "collection_interval": 10, **monitoring}
        if database is not None:
            settings.setdefault("postgres_url", database.url())
        agents.append(Agent(tmp_path / name, runtime, app, settings, environment))
        return agents[-1]

    yield make
    for agent in agents:
        if agent.running():
            agent.kill()
    report = getattr(request.node, "report", None)
    if report is not None and report.failed:
        for agent in agents:
            print(f"--- log of {agent.folder.name}, last lines\n{agent.said()[-6000:]}")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if call.when == "call":
        item.report = outcome.get_result()
