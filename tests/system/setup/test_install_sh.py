"""What install.sh writes into a folder of others: its functions alone, by the shell that runs it."""
import os
import re
import stat
import subprocess

import pytest
from harness import TOP

SCRIPT = (TOP / "templates/install.sh").read_text()


def functions(*names):
    """Their text, as it stands in the script; on one line or on several."""
    return "\n".join(re.search(rf"^{name}\(\) (?:{{.*}}|[{{(]\n(?s:.*?)^[}})])$", SCRIPT, re.M).group(0)
                     for name in names)


@pytest.fixture
def write_config(tmp_path):
    """write_config(swap) for application shop; `swap` is what the folder's owner does after the script has
    looked."""
    def run(swap=":"):
        text = functions("say", "die", "config", "make_log_folder", "make_file", "write_config")
        set_up = f"set -euf; DEPLOYMENTS={tmp_path}; section='monitoring:'; user=root\n{text}\n"
        return subprocess.run(["sh", "-c", f"{set_up}mkdir() {{ command mkdir \"$@\"; {swap}; "
                                           f"}}\nwrite_config shop"], text=True,
                              capture_output=True, stdin=subprocess.DEVNULL, timeout=20)
    (tmp_path / "shop").mkdir()
    return run


def test_a_configuration_is_written_once(write_config, tmp_path):
    file = tmp_path / "shop/config.yml"
    done = write_config()
    assert done.returncode == 0 and f"wrote {file}" in done.stdout
    assert (file.read_text().startswith("monitoring:\n  collection_interval: 60\n")
            and stat.S_IMODE(file.stat().st_mode) == 0o644)
    file.write_text("mine\n")
    assert write_config().returncode == 0 and file.read_text() == "mine\n"
    assert not set(os.listdir(tmp_path / "shop")) - {"config.yml", "logs"}


# Each ends with something at the place of config.yml, or at the name that the script may use on the way.
SWAPS = {
    "a link to a file": "echo secret > {0}/victim; ln -s {0}/victim {1}",
    "a link to a FIFO": "mkfifo {0}/victim; ln -s {0}/victim {1}",
    "a link to nothing": "ln -s {0}/victim {1}",
    "a link to a folder": "command mkdir {0}/victim; ln -s {0}/victim {1}",
    "a FIFO": "mkfifo {1}",
    "a folder": "command mkdir {1}",
    "a file": "echo mine > {1}",
}


@pytest.mark.parametrize("swap", SWAPS.values(), ids=SWAPS.keys())
def test_nothing_is_written_through_what_the_folders_owner_puts_there(write_config, tmp_path, swap):
    done = write_config(swap.format(tmp_path, tmp_path / "shop/config.yml"))
    assert done.returncode == 1
    assert ("config.yml cannot be written; remove what is there in its place, and run this again"
            in done.stderr)
    victim = tmp_path / "victim"
    assert not victim.is_file() or victim.read_text() == "secret\n"
    assert not victim.is_dir() or not list(victim.iterdir())
    file = tmp_path / "shop/config.yml"
    assert not stat.S_ISREG(file.lstat().st_mode) or file.read_text() == "mine\n"


@pytest.mark.parametrize("swap", SWAPS.values(), ids=SWAPS.keys())
def test_nor_through_the_name_that_it_uses_on_the_way(write_config, tmp_path, swap):
    """An older leftover is replaced; a folder is not."""
    done = write_config(swap.format(tmp_path, tmp_path / "shop/config.yml.new"))
    file, victim = tmp_path / "shop/config.yml", tmp_path / "victim"
    assert done.returncode == (1 if "mkdir {1}" in swap else 0)
    assert done.returncode or (stat.S_ISREG(file.lstat().st_mode)
                               and file.read_text().startswith("monitoring:"))
    assert not victim.is_file() or victim.read_text() == "secret\n"
    assert not victim.is_dir() or not list(victim.iterdir())
