#!/usr/bin/python3
"""How exposed each service is: `systemd-analyze security` of this project's units and of peers' from Debian.

Installs and starts nothing: it only downloads and unpacks the peers' packages. `make bench` runs this.
"""
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
PEERS = ("netdata-core", "prometheus-node-exporter", "collectd-core", "rsyslog", "fluent-bit", "telegraf",
         "promtail")


def exposure(unit):
    said = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)],
                          text=True, capture_output=True)
    found = re.search(r"Overall exposure level for .*?: ([\d.]+) (\w+)", said.stdout)
    return (float(found.group(1)), found.group(2)) if found else (None, said.stderr.strip().splitlines()[-1])


def privileges(unit):
    """The user in the unit."""
    user = re.findall(r"^(?:User=(\S+)|(DynamicUser=yes))", unit.read_text(), re.M)
    return (user[-1][0] or "a dynamic user") if user else "root"


def ours(folder):
    for unit in sorted((TOP / "templates").glob("*.service")):
        placed = folder / unit.name.replace("obs-agent.", "obs-agent@.")
        shutil.copy(unit, placed)
        yield "observ", placed


def peers(folder):
    """The units of a package; none if this Debian does not have the package."""
    for package in PEERS:
        place = folder / package
        place.mkdir()
        if subprocess.run(["apt-get", "-q", "download", package], cwd=place, capture_output=True).returncode:
            continue
        deb = next(place.glob("*.deb"))
        subprocess.run(["dpkg-deb", "-x", deb, place], check=True)
        for unit in sorted(place.glob("*lib/systemd/system/*.service")) + sorted(
            place.glob("usr/lib/systemd/system/*.service")):
            if not unit.is_symlink():
                yield f"{package} {deb.name.split('_')[1]}", unit


def main():
    with tempfile.TemporaryDirectory(prefix="obs-") as name:
        folder = Path(name)
        folder.chmod(0o755)                     # the user _apt writes there
        print("exposure by systemd-analyze security: 0 reaches nothing, 10 everything")
        rows = []
        for package, unit in [*ours(folder), *peers(folder)]:
            score, word = exposure(unit)
            rows.append((99 if score is None else score, word, unit.name, privileges(unit), package))
        for score, word, unit, user, package in sorted(rows):
            print(f"  {'-' if score == 99 else score:>4}  {word:8}  {unit:36}  {user:16}  {package}")
        best = min((r[0] for r in rows if r[4] != "observ"), default=None)
        if best is not None:
            worst = max(r[0] for r in rows if r[4] == "observ")
            print(f"  our worst {worst}, the best of the others {best}: {best / worst:.1f} times")
        return 0 if rows else 1


if __name__ == "__main__":
    sys.exit(main())
