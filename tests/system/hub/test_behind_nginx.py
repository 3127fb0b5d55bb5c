"""`anonymous = viewer` behind a web server on the same machine: what it hands on is not of this machine."""
import http.client
import shutil
import socket

import pytest
from hub_server import Answer, Hub
from people import hub_role

ADDED = {
    "plain": "",
    "with the name that was asked for": "proxy_http_version 1.1; proxy_set_header Host $host;",
    "with the name and its port": "proxy_http_version 1.1; proxy_set_header Host $http_host;",
    "with the client's address": "proxy_http_version 1.1; proxy_set_header X-Forwarded-For $remote_addr;",
    "with X-Real-IP": "proxy_http_version 1.1; proxy_set_header X-Real-IP $remote_addr;",
    "with Forwarded": "proxy_http_version 1.1; proxy_set_header Forwarded for=$remote_addr;",
    "with a scheme": "proxy_http_version 1.1; proxy_set_header X-Forwarded-Proto $scheme;",
}


@pytest.fixture(scope="module")
def hub(cluster, tmp_path_factory):
    database = cluster.new_database()
    hub_role(database)
    server = Hub(tmp_path_factory.mktemp("hub"), database.url("hub")).start()
    yield server
    server.stop()
    database.drop()


@pytest.fixture(scope="module")
def front(hub, tmp_path_factory):
    """front(how): the port of an nginx that hands all on to the hub."""
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    if not nginx:
        pytest.skip("nginx is not installed")
    folder = tmp_path_factory.mktemp("nginx")
    folder.chmod(0o755)
    ports = dict(zip(ADDED, free_ports(len(ADDED))))
    servers = "".join(f"server {{ listen 127.0.0.1:{ports[how]}; location / {{ {added} "
                      f"proxy_pass http://127.0.0.1:{hub.port}; }} }}\n" for how, added in ADDED.items())
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};\n"
                        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    server = Hub(folder, None)
    server.port = ports["plain"]
    server.configure(f"daemon off; pid {folder}/pid; error_log {folder}/nginx.log; events {{}}\n"
                     f"http {{ access_log off; {temporary} {servers} }}\n")
    server.launch([nginx, "-p", folder, "-c", folder / "lighttpd.conf"])
    yield ports.get
    server.stop()


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def ask(port, path, host):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path, headers={"Host": host, "Accept": "application/json"})
        return Answer(connection.getresponse())
    finally:
        connection.close()


def test_without_a_server_in_front_this_machine_reads(hub):
    for path in ("/", "/metrics"):
        assert ask(hub.port, path, f"127.0.0.1:{hub.port}").status == 200


@pytest.mark.parametrize("how", ADDED)
def test_what_nginx_hands_on_is_not_of_this_machine(front, how):
    assert ask(front(how), "/", "hub.example").status == 403
    assert ask(front(how), "/metrics", "hub.example").status == 401
