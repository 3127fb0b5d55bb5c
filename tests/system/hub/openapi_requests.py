"""The operations of openapi.yaml, and for each a request that the hub carries out."""
import itertools
import json
import time
from pathlib import Path
from urllib.parse import urlencode

import yaml
from people import FORM, PASSWORD, bearer, token

FILE = Path(__file__).parents[3] / "fleet_hub/openapi.yaml"
API = yaml.safe_load(FILE.read_text())
JSON = "application/json"
NEVER = "00000000-0000-4000-8000-000000000000"
AWAY = {"X-Forwarded-For": "192.0.2.9"}
ALERT, ROOT, BUILTIN = (f"00000000-0000-4000-8000-00000000000{n}" for n in (1, 2, 3))
number = itertools.count()


def seed_alerts(database):
    """What no address makes: an alert that fires, the root of the routes, a default rule."""
    database.query("""INSERT INTO alert_rules (rule_id, name, builtin, kind, metric, warning)
        VALUES (%s, 'a default rule', 'test', 'threshold', 'cpu_percent', 80)""", BUILTIN)
    database.query("DELETE FROM alert_routes")
    database.query("INSERT INTO alert_routes (route_id) VALUES (%s)", ROOT)
    database.query("""INSERT INTO alerts (alert_id, rule_id, subject_key, subject, labels, state, severity,
            active_since, fired_at, value, threshold, evaluated_at)
        VALUES (%s, %s, md5('x')::uuid, '{"server": "fra-1"}',
            '{"server": "fra-1", "rule": "a default rule"}',
            'firing', 'warning', now() - interval '1 hour', now(), 91, 80, now())""", ALERT, BUILTIN)


class Operation:
    def __init__(self, path, method, said):
        self.path, self.method, self.said = path, method.upper(), said
        self.role, self.tag, self.limit = said["x-role"], said["tags"][0], said.get("x-limit")
        content = said.get("requestBody", {"content": {}})["content"]
        self.media = list(content) or [None]                # of its body
        self.forms = {media: form["schema"]["$ref"].split("/")[-1] for media, form in content.items()}
        self.takes = self.forms.get(JSON)
        self.statuses = {int(status): resolve(answer) for status, answer in said["responses"].items()}

    def __repr__(self):
        return f"{self.method} {self.path}"


def resolve(node):
    while "$ref" in node:
        found = API
        for part in node["$ref"][2:].split("/"):
            found = found[part]
        node = found
    return node


OPERATIONS = [Operation(path, method, said) for path, methods in API["paths"].items()
              for method, said in methods.items()]


def as_form(body):
    return urlencode({k: str(v).lower() if isinstance(v, bool) else v for k, v in body.items()})


class Requests:
    """Makes, for each operation, a request that is carried out, and others that are refused."""

    def __init__(self, hub):
        self.hub = hub
        answer = self.send("POST", "/api/v1/users", {"email": "carla@example.com", "role": "viewer"})
        self.password = answer.json["password"]

    def send(self, method, path, body=None, role="admin"):
        answer = self.hub.get(path, method, {**bearer(f"t_{role}"), "Content-Type": JSON},
                              json.dumps(body) if body is not None else None)
        assert answer.status < 300, (method, path, answer.text)
        return answer

    def server(self):
        return self.send("POST", "/api/v1/servers", {"name": f"s-{next(number)}"}).json

    def body(self, operation, media=None):
        n = next(number)
        if operation.forms.get(media) == "NewRuleForm":
            return self.whole_rule(n)
        if operation.takes == "Payload":
            return {"ts": time.time() - n / 1000, "metrics": {"cpu_percent": n % 100}}
        return {"NewServer": {"name": f"new-{n}", "environment": "test", "team": "core", "tags": "web, eu",
                              "job_name": "shop", "instance": "blue", "is_active": True},
                "ServerChange": {"team": "core"}, "Enrolment": {"hostname": f"host-{n}"},
                "NewBootstrapToken": {"uses": 2, "expires_in": 3600},
                "Login": {"username": "carla@example.com", "password": self.password},
                "NewUser": {"email": f"u{n}@example.com", "role": "viewer", "password": PASSWORD},
                "UserChange": {"role": "operator", "disabled": False, "password": PASSWORD},
                "NewToken": {"name": "x", "role": "viewer", "expires_in_days": 7},
                "NewSearch": {"name": f"n{n}", "q": "a", "shared": True, "range": "7d", "from": "now-2h",
                              "to": "now", "columns": "time,message", "wrap": "no"},
                "SearchChange": {"range": "7d"}, "NewDeploy": {"app": "shop", "release": f"r{n}"},
                None: None, **self.of_alerts(n)}[operation.takes]

    def whole_rule(self, n):
        """With each field of a form."""
        return {"name": f"r{n}", "kind": "threshold", "metric": "cpu_percent", "params": '{"agg": "max"}',
                "match": "server=fra-1", "op": ">", "warning": 80, "warning_clear": 70, "critical": 90,
                "critical_clear": 85, "for_s": 60, "keep_firing_s": 60, "no_data": "ok", "on_error": "alert",
                "interval_s": 30, "lookback_s": 600, "labels": "team=core", "summary": "CPU is busy",
                "runbook": "https://example.com/", "repeat_s": 3600, "is_active": True,
                "channel_id": self.make("channels", "NewChannel")["channel_id"]}

    @staticmethod
    def of_alerts(n):
        """The bodies of what belongs to alerts."""
        return {"Ack": {"note": "seen"},
            "RulesImport": {"yaml": f"rules:\n- name: i{n}\n  metric: cpu_percent\n"
                                                                 "  warning: 90\n"},
                "NewRule": {"name": f"r{n}", "metric_name": "cpu_percent", "threshold": 90,
                    "comparison": ">"},
                "RuleChange": {"for_s": 60, "match": "team=core"},
                "NewOverride": {"match": "server=fra-1", "changes": {"warning": 95}},
                    "OverrideChange": {"position": 2},
                "NewSilence": {"match": "server=fra-1", "for": "2h", "comment": "a test"},
                "SilenceChange": {"comment": "another"},
                "NewChannel": {"name": f"c{n}", "kind": "webhook",
                    "secrets": {"url": "https://example.com/"}},
                "ChannelChange": {"send_resolved": False}, "NewRoute": {"parent_id": ROOT,
                    "match": "team=core"},
                "RouteChange": {"position": 3}, "InhibitionChange": {"equal": ["server"]},
                "NewInhibition": {"name": f"i{n}", "source": "severity=critical",
                    "target": "severity=warning"},
                "NewWindow": {"name": f"w{n}", "time_zone": "UTC", "start": "22:00", "duration_s": 3600},
                "WindowChange": {"days": ["sat"]}, "NewHeartbeat": {"name": f"h{n}", "every_s": 3600},
                "HeartbeatChange": {"grace_s": 60}}

    def alert_id(self, operation):
        """Of something that belongs to alerts, which is made for the request."""
        kind = operation.path.split("/")[4]
        if kind == "events":
            if operation.method == "DELETE":
                self.send("POST", f"/api/v1/alerts/events/{ALERT}/ack", {})
            return ALERT
        if kind == "overrides":
            rule = self.make("rules", "NewRule")["rule_id"]
            return self.make(f"rules/{rule}/overrides", "NewOverride")["patch_id"]
        name = kind[:-1]
        return self.make(kind, f"New{name.capitalize()}")[f"{name}_id"]

    def make(self, kind, takes):
        return self.send("POST", f"/api/v1/alerts/{kind}", self.of_alerts(next(number))[takes]).json

    def id(self, operation):
        if "{id}" not in operation.path:
            return ""
        if operation.tag == "heartbeats":
            return self.make("heartbeats", "NewHeartbeat")["url"].split("/")[-1]
        if operation.tag == "alerts":
            return self.alert_id(operation)
        if operation.tag == "users":
            return self.send("POST", "/api/v1/users", {"email": f"u{next(number)}@example.com"}).json["email"]
        if operation.tag == "tokens":
            return self.send("POST", "/api/v1/tokens", {"name": "x"}).json["token_id"]
        if operation.tag == "searches":
            return self.send("POST", "/api/v1/searches", {"name": f"s{next(number)}", "shared": True},
                             operation.role).json["search_id"]
        if operation.tag == "bootstrap-tokens":
            return self.send("POST", "/api/v1/bootstrap-tokens", {}).json["id"]
        if operation.tag == "install":
            return "a_1_all.deb"
        if operation.tag == "auth":
            return self.hub.get("/api/v1/auth/me", headers=bearer(self.session())).json[
                "sessions"][0]["session_id"]
        return "fra-1" if operation.method == "GET" else self.server()["name"]

    def session(self):
        return token(self.hub, "carla@example.com", self.password)

    def token(self, operation):
        if operation.role == "server":
            return self.server()["agent_token"]
        if operation.takes == "Enrolment":
            return self.send("POST", "/api/v1/bootstrap-tokens", {}).json["token"]
        if operation.tag == "auth":
            return self.session()
        return f"t_{operation.role if operation.role != 'none' else 'viewer'}"

    def of(self, operation, media=None):
        """(method, path, headers, body); media: one of operation.media, or its first."""
        media = media or operation.media[0]
        body = self.body(operation, media)
        path = operation.path.replace("{id}", self.id(operation))
        if operation.path.endswith("/metrics/servers/{id}"):
            path += "?metric=cpu_percent"
        headers = {"Content-Type": media or JSON} if operation.method in ("POST", "PATCH") else {}
        if any(operation.said["security"]):
            headers |= bearer(self.token(operation))
        if body is not None:
            body = as_form(body) if media == FORM else json.dumps(body)
        return operation.method, path, headers, body

    def in_each_medium(self, operation):
        """A function for each pair of a medium of the body and of the answer; it gives a request."""
        wanted = [media for media in operation.statuses[min(operation.statuses)].get("content", {})
                  if media in ("application/x-ndjson", "text/csv", "application/openmetrics-text")]

        def wanting(media):
            method, path, headers, body = self.of(operation)
            if media == "application/openmetrics-text":
                return method, path, {**headers, "Accept": media}, body
            return method, f"{path}?format={'csv' if media == 'text/csv' else 'ndjson'}", headers, body
        return ([lambda media=media: self.of(operation, media) for media in operation.media]
                + [lambda media=media: wanting(media) for media in wanted])

    def without_a_token(self, operation):
        method, path, headers, body = self.of(operation)
        headers.pop("Authorization", None)
        return method, path, {**headers, **AWAY}, body

    def with_a_wrong_token(self, operation, media=None):
        method, path, headers, body = self.of(operation, media)
        return method, path, {**headers, **bearer("wrong")}, body

    def of_nothing(self, operation, media=None):
        method, path, headers, body = self.of(operation, media)
        _, question, query = path.partition("?")
        return method, operation.path.replace("{id}", NEVER) + question + query, headers, body

    def outdated(self, operation):
        method, path, headers, body = self.of(operation)
        return method, path, {**headers, "If-Match": '"0"'}, body

    def that_does_not_fit(self, operation, media=None):
        method, path, headers, _ = self.of(operation, media)
        if operation.tag == "heartbeats":
            return method, path + "/perhaps", headers, None
        if operation.method == "DELETE":
            id_ = {"/api/v1/alerts/rules/": BUILTIN, "/api/v1/alerts/routes/": ROOT}
            before = operation.path.split("{")[0]
            return method, before + id_.get(before, "admin@example.com"), headers, None
        body = {"Payload": {"metrics": 5}, "NewBootstrapToken": {"uses": 0},
                "UserChange": {"role": "king"}, "Ack": {"note": "x" * 2001},
                }.get(operation.takes, {"no such field": 1})
        return method, path, headers, as_form(body) if media == FORM else json.dumps(body)


def undescribed(schema, value, at=""):
    """The members of a JSON value that its schema does not name."""
    schema = resolve(schema)
    parts = [resolve(part) for kind in ("allOf", "anyOf", "oneOf") for part in schema.get(kind, [])]
    if isinstance(value, list):
        lists = [part["items"] for part in (schema, *parts) if "items" in part]
        return [found for items in lists for item in value for found in undescribed(items, item, at + "[]")]
    if not isinstance(value, dict):
        return []
    named = {name: form for part in (schema, *parts) for name, form in members(part).items()}
    if any("additionalProperties" in part for part in (schema, *parts)) or not named:
        return []
    return [f"{at}.{name}" for name in value if name not in named] + [
        found for name, form in named.items() if name in value
        for found in undescribed(form, value[name], f"{at}.{name}")]


def members(schema):
    schema = resolve(schema)
    parts = {name: form for part in schema.get("allOf", []) for name, form in members(part).items()}
    return {**parts, **schema.get("properties", {})}
