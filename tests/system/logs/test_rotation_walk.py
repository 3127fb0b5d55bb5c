"""Random walks of rotations (rotation_walk.py): nothing is lost without a gap, and nothing is there twice."""
import concurrent.futures
import os

import pytest
from fault_proxy import Proxy
from oracle import record
from rotation_walk import Walk

AT_ONCE = 10                    # a walk mostly waits
FIRST_CHECKED = int(os.environ.get("WALK_CHECKED", 1))
SEEDS = int(os.environ.get("WALK_SEEDS", 200))          # in `make soak`
FIRST = int(os.environ.get("WALK_FIRST", 1000))


def walk_one(seed, db, make_agent, folder):
    part = dict(word.split("=", 1) for word in db.cluster.url().split())
    with Proxy(f"{part['host']}/.s.PGSQL.{part['port']}") as proxy:
        return Walk(seed, db, proxy, make_agent, folder).run()


def walk(seeds, db, make_agent, folder):
    """All walks, several at once; reports each that fails."""
    failed, done = [], []
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        for future in [pool.submit(walk_one, seed, db, make_agent, folder) for seed in seeds]:
            try:
                done.append(future.result())
            except BaseException as error:      # pytest.fail() is no Exception
                failed.append(str(error))
    record(row="rotation walk", seed=seeds[0], written=sum(d["written"] for d in done),
           delivered=sum(d["written"] - d["missing"] for d in done),
           duplicates=None, in_gaps=sum(d["missing"] for d in done), lost=None, good=not failed,
           note=f"{len(seeds)} walks, {len(failed)} failed, {sum(d['gaps'] for d in done)} gaps")
    assert not failed, f"{len(failed)} of {len(seeds)} walks:\n\n" + "\n\n".join(failed)


def test_rotation_walks(db, make_agent, tmp_path):
    walk(range(FIRST_CHECKED, FIRST_CHECKED + 10), db, make_agent, tmp_path)


@pytest.mark.soak
def test_rotation_walks_at_length(db, make_agent, tmp_path):
    walk(range(FIRST, FIRST + SEEDS), db, make_agent, tmp_path)
