"""The hub under lighttpd, or behind nginx, on loopback, for the system and browser tests."""
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import quote, urlencode

from harness import BUILD, TOP, wait_for

FLEET_HUB = BUILD / "fleet_hub" / "fleet_hub"
# What the hub asks the database; fleet_hub_admin has admin/ and setup/.
HUB_QUERIES = [p for p in sorted((TOP / "fleet_hub").glob("*/*.sql"))
               if p.parent.name not in ("admin", "setup")]

ANONYMOUS = "anonymous = viewer\n"
CONFIG = """
server.modules = ("mod_alias", "mod_rewrite", "mod_setenv", "mod_cgi", "mod_fastcgi")
server.document-root = "{folder}"
server.bind = "127.0.0.1"
server.port = {port}
server.errorlog = "{folder}/lighttpd.log"
server.breakagelog = "{folder}/hub.log"
server.max-request-size = {body_kb}
server.http-parseopts = ("url-normalize-required" => "disable", "url-ctrls-reject" => "disable",
    "method-get-body" => "enable")
{how}
"""
CGI = """
url.rewrite-once = ("^(.*)$" => "/fleet_hub$1")
alias.url = ("/fleet_hub" => "{hub}")
setenv.set-environment = ({environment})
$HTTP["url"] =~ "^/fleet_hub" {{ cgi.assign = ("" => "") }}
"""
FASTCGI = """
fastcgi.server = ("/" => (("socket" => "{folder}/hub.sock", "bin-path" => "{hub}", "check-local" => "disable",
    "max-procs" => {procs}, "bin-environment" => ({environment}))))
"""
NGINX = """
{user} daemon off; pid {folder}/pid; error_log {folder}/nginx.log; events {{}}
http {{
    access_log off; {temporary}
    server {{
        listen 127.0.0.1:{port};
        client_max_body_size {body_kb}k;
        location / {{ fastcgi_pass unix:{folder}/hub.sock; {parameters} }}
    }}
}}"""


class Answer:
    def __init__(self, response):
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)


class Hub:
    def __init__(self, folder, url, mode="cgi", environment=None, program=FLEET_HUB, conf=ANONYMOUS,
                 body_kb=64, procs=1):
        """conf: the text of hub.conf; by default everybody on this machine reads, as most tests do."""
        self.folder = Path(folder)
        self.folder.mkdir(exist_ok=True)
        self.conf = self.folder / "hub.conf"
        self.conf.write_text(conf)
        self.program = program
        self.mode, self.body_kb, self.procs = mode, body_kb, procs
        self.environment = {**({"OBSERV_DATABASE_URL": url} if url is not None else {}),
                            "OBSERV_HUB_CONFIG": str(self.conf), **(environment or {})}
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.process = None

    def start(self):
        environment = ", ".join(f'"{k}" => "{v}"' for k, v in self.environment.items())
        how = CGI if self.mode == "cgi" else FASTCGI
        how = how.format(folder=self.folder, hub=self.program, environment=environment,
                         procs=self.procs)
        self.configure(CONFIG.format(folder=self.folder, port=self.port, body_kb=self.body_kb, how=how))
        return self.launch()

    def configure(self, text):
        (self.folder / "lighttpd.conf").write_text(text)

    def launch(self, command=None):
        """command: another server than lighttpd."""
        lighttpd = shutil.which("lighttpd", path="/usr/sbin:/usr/bin")
        self.process = subprocess.Popen(command or [lighttpd, "-D", "-f", self.folder / "lighttpd.conf"],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.STDOUT)
        wait_for(self.listens, f"the web server on port {self.port}")
        return self

    def listens(self):
        assert self.process.poll() is None, self.log()
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self):
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)
            self.process = None

    def log(self):
        return "".join(p.read_text(errors="replace") for p in sorted(self.folder.glob("*.log")))

    def url(self, path="/", **query):
        return f"http://127.0.0.1:{self.port}{path}" + ("?" + urlencode(query, quote_via=quote)
                                                        if query else "")

    def get(self, path="/", method="GET", headers=None, body=None, **query):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        target = path + ("?" + urlencode(query, quote_via=quote) if query else "")
        try:
            connection.request(method, target, body=body, headers=headers or {})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def timed(self, path="/", **query):
        start = time.monotonic()
        answer = self.get(path, **query)
        return answer, time.monotonic() - start


class HubBehindNginx(Hub):
    """The hub as FastCGI behind nginx, with the lines of its template. Everybody here is a proxy."""

    def __init__(self, folder, url, conf="", body_kb=1100):
        conf += "trusted_proxies = 127.0.0.1\nplain_http = allow\n"
        super().__init__(folder, url, "fastcgi", conf=conf, body_kb=body_kb)
        self.hub = None

    def start(self):
        parameters = re.findall("fastcgi_param .*;", (TOP / "templates/nginx-observ.conf").read_text())
        temporary = "".join(f"{kind}_temp_path {self.folder}/{kind};"
                            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        self.folder.chmod(0o755)
        self.configure(NGINX.format(folder=self.folder, port=self.port, temporary=temporary,
                                    body_kb=self.body_kb, parameters=" ".join(parameters),
                                    user="user root;" if os.geteuid() == 0 else ""))
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(self.folder / "hub.sock"))
            (self.folder / "hub.sock").chmod(0o666)
            listening.listen(16)
            self.hub = subprocess.Popen([self.program], stdin=listening,
                                        env={**os.environ, **self.environment})
        return self.launch(["/usr/sbin/nginx", "-p", self.folder, "-c", self.folder / "lighttpd.conf"])

    def stop(self):
        super().stop()
        if self.hub:
            self.hub.terminate()
            self.hub.wait(60)
            self.hub = None
