"""People who use the hub: users of a database, and their sessions, for the tests of sign-in."""
import re
import subprocess
from urllib.parse import urlencode

from harness import BUILD

ADMIN = BUILD / "fleet_hub/fleet_hub_admin"
FORM = "application/x-www-form-urlencoded"
PASSWORD = "correct horse battery"
ROLES = ("viewer", "operator", "admin")


def hub_role(database):
    database.query("""DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'hub') THEN
        CREATE ROLE hub LOGIN IN ROLE observ_hub; END IF; END $$""")


def fill(database):
    """The hub's login, and a user of each role: ROLE@example.com, with PASSWORD."""
    hub_role(database)
    for role in ROLES:
        admin(database, "create-user", f"{role}@example.com", role)


def fill_with_tokens(database):
    """The same without passwords, unless fill() gave them: each user has an API token, t_ROLE, for ever."""
    hub_role(database)
    for role in ROLES:
        database.query("""WITH u AS (INSERT INTO users (email, role, created_by) VALUES (%s, %s, 'test')
            ON CONFLICT (email) DO UPDATE SET role = excluded.role RETURNING user_id)
            INSERT INTO api_tokens (token_hash, user_id, name, role, expires_at)
            SELECT sha256(sha256(convert_to(%s, 'UTF8'))), user_id, 'test', %s, 'infinity' FROM u""",
                       f"{role}@example.com", role, f"t_{role}", role)


def admin(database, *arguments, password=PASSWORD):
    """fleet_hub_admin, as the database's owner."""
    options = ["--password-file", "-"] if password and arguments[0] in ("create-user", "reset-user") else []
    done = subprocess.run([ADMIN, "--url", database.url("observ_admin"), *arguments, *options],
                          input=(password or "") + "\n", capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def token(hub, email, password=PASSWORD):
    """A session's token."""
    answer = login(hub, email, password)
    assert answer.status == 200, answer.text
    return answer.json["access_token"]


def login(hub, email, password=PASSWORD, **headers):
    return hub.get("/api/v1/auth/login", "POST", {"Content-Type": FORM, **headers},
                   urlencode({"username": email, "password": password}))


def bearer(text):
    return {"Authorization": f"Bearer {text}"}


class Visitor:
    """A browser that keeps its cookie; post(path, **fields) sends the CSRF token of the last page."""

    def __init__(self, hub, **headers):
        self.hub, self.headers, self.cookie, self.csrf = hub, headers, "", ""

    def ask(self, path, method="GET", body=None, **headers):
        sent = {"Accept": "text/html", **self.headers, **headers}
        if self.cookie:
            sent["Cookie"] = self.cookie
        answer = self.hub.get(path, method, sent, body)
        cookie = answer.headers["Set-Cookie"]
        if cookie and ("observ_session" in cookie or "__Host-observ" in cookie):
            self.cookie = "" if "Max-Age=0" in cookie else cookie.split(";")[0]
        found = re.search(r'name="csrf" value="([^"]+)"', answer.body.decode(errors="replace"))
        self.csrf = found[1] if found else self.csrf
        return answer

    def get(self, path, **headers):
        return self.ask(path, **headers)

    def post(self, path, headers=None, **fields):
        return self.ask(path, "POST", urlencode({"csrf": self.csrf, **fields}),
                        **{"Content-Type": FORM, **(headers or {})})

    def sign_in(self, email, password=PASSWORD, **fields):
        return self.post("/sign-in", username=email, password=password, **fields)
