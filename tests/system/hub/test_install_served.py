"""A new server asks the hub: install.sh as the hub serves it, its packages, and enrolment by it."""
import hashlib
import os
import re
import subprocess

import people
import pytest
from harness import TOP
from hub_server import Hub


@pytest.fixture(scope="module")
def fleet(cluster):
    database = cluster.new_database()
    people.hub_role(database)
    yield database
    database.drop()


@pytest.fixture(scope="module")
def offered(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packages")
    (folder / "obs-agent_0.1.0_amd64.deb").write_bytes(os.urandom(200_000))
    (folder / "liblogcore0_0.1.0_amd64.deb").write_bytes(b"library")
    (folder / "secret.txt").write_text("no package")
    (folder / ".hidden.deb").write_text("no")
    (folder / "it's.deb").write_text("no")
    (folder / "link.deb").symlink_to("/etc/passwd")
    (folder / "folder.deb").mkdir()
    return folder


@pytest.fixture(scope="module", params=["cgi", "fastcgi"])
def hub(request, fleet, offered, tmp_path_factory):
    server = Hub(tmp_path_factory.mktemp("hub"), fleet.url("hub"), request.param,
                 conf=f"packages = {offered}\nagents_database = /{fleet.name}?host=/run/x\n").start()
    yield server
    server.stop()


def test_the_script_names_the_packages_with_their_checksums(hub, offered):
    answer = hub.get("/install.sh")
    assert answer.status == 200 and answer.headers["Content-Type"].startswith("text/x-shellscript")
    names = ["liblogcore0_0.1.0_amd64.deb", "obs-agent_0.1.0_amd64.deb"]
    sums = "\n".join(f"{hashlib.sha256((offered / n).read_bytes()).hexdigest()}  {n}" for n in names)
    assert f"\nOFFERED='{sums}'\n" in answer.text
    assert subprocess.run(["sh", "-n"], input=answer.body).returncode == 0


def test_known_sums_are_not_made_again_and_old_ones_not_believed(hub, offered):
    """SHA256SUMS counts for what was not touched since it was written."""
    name = "obs-agent_0.1.0_amd64.deb"
    right = hashlib.sha256((offered / name).read_bytes()).hexdigest()
    told = "ab" * 32
    file = offered / "SHA256SUMS"

    def listed():
        packages = hub.get("/install.sh").text.split("OFFERED='")[1].split("'")[0]
        return re.search(rf"([0-9a-f]+)  {name}$", packages, re.M)[1]
    for text, found in ((f"{told}  {name}\n", told), (f"x{told}  {name}\n", right),
                        (f"{told[1:]}  {name}\n", right), (f"{told}  x{name}\n", right),
                        (f"{'zz' * 32}  {name}\n", right),
                        (f"{'cd' * 32}  a\n{told}  {name}\n", told), (f"{told}  {name}", right), ("", right)):
        file.write_text(text)
        later = (offered / name).stat().st_ctime + 2
        os.utime(file, (later, later))
        assert listed() == found, text
    file.write_text(f"{told}  {name}\n")
    earlier = (offered / name).stat().st_ctime - 1
    os.utime(file, (earlier, earlier))
    assert listed() == right, "the package is newer"
    file.unlink()
    assert hub.get("/install/SHA256SUMS").status == 404


def test_a_hub_without_packages_offers_none(fleet, tmp_path):
    hub = Hub(tmp_path / "hub", fleet.url("hub"), conf="").start()
    try:
        assert "\nOFFERED=''\n" in hub.get("/install.sh").text
        assert hub.get("/install/obs-agent_0.1.0_amd64.deb").status == 404
    finally:
        hub.stop()


def test_only_packages_leave_the_folder(hub, offered):
    whole = hub.get("/install/obs-agent_0.1.0_amd64.deb")
    assert whole.body == (offered / "obs-agent_0.1.0_amd64.deb").read_bytes()
    for name in ("secret.txt", ".hidden.deb", "link.deb", "folder.deb", "no.deb", "../hub/hub.conf",
        "%2e%2e/x.deb",
                 "..%2f..%2fetc%2fpasswd", "a/../obs-agent_0.1.0_amd64.deb", "it's.deb"):
        assert hub.get(f"/install/{name}").status == 404, name


def run(hub, text, work, packages="", **more):
    """Run functions of the script that the hub serves, with their setting."""
    script = hub.get("/install.sh").text
    head = script[:script.index("server='' url=''")]
    names = ("fetch_offered", "answered", "enroll_over_http", "name_server", "check_name")
    functions = "\n".join(re.search(rf"^{n}\(\) {{\n(?s:.*?)^}}$", script, re.M)[0] for n in names)
    setting = "; ".join(f"{k}='{v}'" for k, v in {"hub": hub.url("")[:-1] if hub.url("").endswith("/") else
                                                  hub.url(""), "work": work, "packages": packages,
                                                      **more}.items())
    return subprocess.run(["sh"], input=f"{head}\nCREDENTIALS={work}\nHUB_ACCESS={work}/access\n"
                          f"config() {{ echo {work}/$1.yml; }}\n{functions}\n{setting}\n{text}", text=True,
                          capture_output=True, timeout=60)


def test_packages_are_verified(hub, offered, tmp_path):
    done = run(hub, 'fetch_offered; printf %s "$packages"', tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [f"{tmp_path}/packages/{n}" for n in ("liblogcore0_0.1.0_amd64.deb",
                                                                        "obs-agent_0.1.0_amd64.deb")]
    (tmp_path / "again").mkdir()
    bad = run(hub, 'OFFERED=$(printf %s "$OFFERED" | sed "s/^..../0000/"); fetch_offered', tmp_path / "again")
    assert bad.returncode == 1 and "is not what the hub promised: its checksum differs" in bad.stderr


def test_the_script_enrolls_with_a_servers_token(hub, fleet, tmp_path):
    name = f'it"s {tmp_path.name}'
    fleet.query("INSERT INTO servers (vps_name, created_by) VALUES (%s, 'test')", name)
    token = fleet.one("SELECT new_server_token(%s, 'test', '0')", name)
    done = run(hub, 'apps=""; name_server other; enroll_over_http; printf "%s\\n%s" "$server" "$full_url"',
        tmp_path,
               token_value=token)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2] == name
    assert re.fullmatch(rf"postgresql://\w+:\w+@/{fleet.name}\?host=/run/x", done.stdout.splitlines()[-1])
    address, kept = (tmp_path / "access").read_text().split()
    assert address == hub.url("").rstrip("/") and kept.startswith("obs_server_")
    assert (tmp_path / "access").stat().st_mode & 0o777 == 0o600
    assert fleet.count("server_tokens", "token_hash = sha256(sha256(convert_to(%s, 'UTF8')))", kept) == 1


def test_the_script_tells_why_the_hub_refuses(hub, tmp_path):
    done = run(hub, 'apps=""; name_server other; enroll_over_http', tmp_path, token_value="wrong")
    assert done.returncode == 1 and "the hub refuses: This is no token that enrolls a server" in done.stderr


@pytest.mark.parametrize("url, taken", [
    ("http://hub.example.com", False), ("http://127.0.0.1.example.com", False),
    ("http://127.example.com", False),
    ("http://localhost:80@example.com", False), ("http://127.0.0.1@example.com/", False),
    ("http://[::1]@example.com", False), ("http://localhost.example.com", False),
    ("https://hub.example.com", True), ("http://localhost", True), ("http://localhost:8080/", True),
    ("http://127.0.0.1:8080", True), ("http://[::1]:8080/hub", True)])
def test_the_token_goes_over_tls_or_to_this_machine(url, taken):
    done = subprocess.run(["sh", TOP / "templates/install.sh", "--token", "obs_server_x", "--url", url,
                           "--user", "no-such-user"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert ("there is no user" if taken else "has no TLS") in done.stderr, done.stderr
