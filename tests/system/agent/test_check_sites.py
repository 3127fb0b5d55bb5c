"""Checks of sites that a real web server (nginx) serves the way sites are served: what a browser sees is up
is up."""
import gzip
import json
import socket
import subprocess

import pytest
from certificates import make_authority, make_certificate
from harness import wait_for

CONFIGURATION = """
daemon off; pid {folder}/pid; error_log {folder}/nginx.log; events {{}}
http {{
    access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    default_type text/html; root {folder}/site;
    server {{
        listen 127.0.0.1:{http};
        location /packed {{ gzip on; gzip_min_length 1; gzip_types *; }}
        location /stored {{ add_header Content-Encoding gzip always; }}
        location /latin1 {{ charset iso-8859-1; }}
        location /meta {{ }}
        location = /login {{
            if ($cookie_session != "yes") {{
                add_header Set-Cookie "session=yes; Path=/; HttpOnly"; return 302 /login;
            }}
            return 200 "Welcome\\n";
        }}
        location = /form {{
            if ($request_method = GET) {{ return 405; }}
            return 303 /done;
        }}
        location = /done {{
            if ($request_method != GET) {{ return 405; }}
            return 200 "Thank you\\n";
        }}
        location /upload {{ dav_methods PUT; }}
        location = /length {{
            if ($http_content_length = "") {{ return 411; }}
            return 200 "$request_method\\n";
        }}
        location /private {{ return 301 https://127.0.0.1:{https}$request_uri; }}
    }}
    server {{
        listen 127.0.0.1:{https} ssl;
        ssl_certificate {folder}/server.crt; ssl_certificate_key {folder}/server.key;
        location /private {{
            if ($http_authorization != "Bearer opensesame") {{ return 401; }}
            return 200 "inside\\n";
        }}
        location /away {{ return 302 http://127.0.0.1:{http}/length; }}
    }}
}}
"""
PAGE = "<p>un café, s'il vous plaît</p>\n"


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def answers(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def site(short_dir):
    """The ports of nginx: {"http": ..., "https": ...}."""
    ports = dict(zip(("http", "https"), free_ports(2)))
    folder = short_dir / "nginx"          # the server's user may pass
    pages = folder / "site"
    (pages / "upload").mkdir(parents=True)
    (pages / "packed").write_text("x" * 5000 + PAGE)
    (pages / "stored").write_bytes(gzip.compress(PAGE.encode()))
    (pages / "latin1").write_bytes(PAGE.encode("iso-8859-1"))
    (pages / "meta").write_bytes(b"<meta charset=windows-1252>" + PAGE.encode("cp1252"))
    short_dir.chmod(0o755)
    for path in (folder, pages, pages / "upload"):
        path.chmod(0o777)
    make_authority(folder)
    make_certificate(folder, "server", "127.0.0.1")
    (folder / "nginx.conf").write_text(CONFIGURATION.format(folder=folder, **ports))
    server = subprocess.Popen(["/usr/sbin/nginx", "-p", folder, "-c", folder / "nginx.conf",
                               "-e", folder / "nginx.log"])
    wait_for(lambda: answers(ports["http"]) and answers(ports["https"]), "nginx")
    yield ports
    server.terminate()
    server.wait(60)


def test_a_site_that_is_up_is_up(db, make_agent, site):
    """In the C locale, as under systemd."""
    http, https = f"http://127.0.0.1:{site['http']}", f"https://127.0.0.1:{site['https']}"
    secret = {"headers": {"Authorization": "Bearer opensesame"}, "verify_tls": False}
    checks = [
        {"url": f"{http}/packed", "expect_body": "café, s'il vous plaît"},
        {"url": f"{http}/stored", "expect_body": "café"},
        {"url": f"{http}/latin1", "expect_body": "café, s'il vous plaît"},
        {"url": f"{http}/meta", "expect_body": "plaît"},
        {"url": f"{http}/login", "expect_body": "Welcome"},
        {"url": f"{http}/form#put", "method": "PUT", "expect_body": "Thank you"},
        {"url": f"{http}/form#post", "method": "POST", "expect_body": "Thank you"},
        {"url": f"{http}/form#delete", "method": "DELETE", "expect_body": "Thank you"},
        {"url": f"{http}/upload/x", "method": "PUT", "expect_status": "201,204"},
        *({"url": f"{http}/length#{method}", "method": method, "expect_body": method}
          for method in ("POST", "PUT", "PATCH")),
        {"url": f"{http}/private", "expect_body": "inside", **secret},
        {"url": f"{https}/private#direct", "expect_body": "inside", **secret},
    ]
    checks = [{"max_redirects": 3, "retries": 0, **check} for check in checks]
    agent = make_agent(db, environment={"LC_ALL": "C"}, health_checks=checks).start()
    db.wait("SELECT count(DISTINCT url) = %s FROM health_checks", len(checks))
    bad = db.query("SELECT url, error_message FROM health_checks WHERE NOT success")
    assert bad == [], bad
    assert "opensesame" not in json.dumps(agent.status())
