"""logcore with many processes and threads on one file that is rotated each second: each line is there once
and whole."""
import subprocess

import pytest
from harness import BUILD


@pytest.mark.soak
@pytest.mark.parametrize("mode", [0, 1, 2], ids=["direct", "buffered", "async"])
def test_ten_million_lines(tmp_path, mode):
    subprocess.run([BUILD / "soak/logcore_many", tmp_path / "app.log", "10000000", str(mode)], check=True)
