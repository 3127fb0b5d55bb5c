"""Messages of alerts: the batches of the real Alertmanager."""
import shutil
import subprocess
import sys

import pytest

from harness import TOP


def test_the_same_batches_as_alertmanager():
    if not shutil.which("prometheus-alertmanager"):
        pytest.skip("prometheus-alertmanager is missing")
    done = subprocess.run([sys.executable, TOP / "tests" / "alerts" / "beside_alertmanager.py"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600,
                          check=False)
    assert done.returncode == 0, done.stdout
