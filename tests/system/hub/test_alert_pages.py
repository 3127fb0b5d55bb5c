"""Alerts, rules, silences, channels and their like: by page without JavaScript, and by the API."""
import html.parser
import json
import re

import people
import pytest
import seed_fleet
import yaml
from hub_server import Hub

API = "/api/v1/alerts"


@pytest.fixture(scope="module")
def fleet(cluster):
    database = cluster.new_database()
    people.fill(database)
    seed_fleet.seed(database, lines=200)
    database.query("UPDATE limit_policy SET burst = 100000")
    yield database
    database.close()


@pytest.fixture(scope="module")
def hub(fleet, tmp_path_factory):
    server = Hub(tmp_path_factory.mktemp("hub"), fleet.url("hub"), "fastcgi", conf="").start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def tokens(hub):
    return {role: people.token(hub, f"{role}@example.com") for role in people.ROLES}


@pytest.fixture
def ask(hub, tokens):
    """ask(role, method, path, body) -> (status, JSON, headers)"""
    def go(role, method, path, body=None, **headers):
        answer = hub.get(path, method, {"Authorization": f"Bearer {tokens[role]}",
                                        "Content-Type": "application/json",
                                        **{k.replace("_", "-"): v for k, v in headers.items()}},
                         None if body is None else json.dumps(body).encode())
        return answer.status, json.loads(answer.text) if answer.text else None, answer.headers
    return go


def open_alert(fleet, rule, server, state="firing", severity="critical", ago="10 minutes", **more):
    """An alert as the engine writes it."""
    fields = {"value": 97.5, "threshold": 95, **more}
    return str(fleet.query("""
        INSERT INTO alerts (rule_id, subject_key, subject, labels, state, severity, active_since, fired_at,
            value, threshold, evaluated_at)
        SELECT rule_id, md5(s::text)::uuid, s, s || jsonb_build_object('rule', name), %s, %s,
            now() - %s::interval,
            CASE WHEN %s <> 'pending' THEN now() - %s::interval END, %s, %s, now()
        FROM alert_rules, jsonb_build_object('server', %s::text) s WHERE name = %s RETURNING alert_id""",
                           state, severity, ago, state, ago, fields["value"], fields["threshold"], server,
                           rule)[0][0])


RULE = {"name": "CPU of a test", "metric_name": "cpu_percent", "threshold": 95, "comparison": ">",
        "severity": "critical"}


def test_a_rule_has_its_whole_life_in_the_api(ask):
    status, rule, headers = ask("operator", "POST", f"{API}/rules", {**RULE, "for_s": 600})
    assert status == 201 and rule["critical"] == 95 and rule["op"] == ">" and headers["ETag"] == '"1"'
    path = f"{API}/rules/{rule['rule_id']}"
    assert ask("viewer", "GET", path)[1]["condition"] == "cpu_percent > 95 %, for 10 min"
    assert ask("viewer", "PATCH", path, {"for_s": 0})[0] == 403
    status, rule, headers = ask("operator", "PATCH", path, {"for_s": 0, "critical_clear": 85}, If_Match='"1"')
    assert status == 200 and rule["for_s"] == 0 and headers["ETag"] == '"2"'
    assert ask("operator", "PATCH", path, {"for_s": 5}, If_Match='"1"')[0] == 412
    assert ask("operator", "PATCH", path, {"for_s": None})[1]["for_s"] == 0
    assert ask("operator", "DELETE", path, If_Match='"1"')[0] == 412
    assert ask("operator", "DELETE", path)[0] == 204
    assert ask("operator", "DELETE", path)[0] == 404
    assert ask("viewer", "GET", path)[0] == 404


@pytest.mark.parametrize("body, field", [
    ({}, "name"), ({"name": ""}, "name"), ({"name": "x\ny"}, "name"), ({"name": 5}, "name"),
    ({"for_s": -1}, "for_s"), ({"for_s": 1.5}, "for_s"), ({"for_s": "ten"}, "for_s"),
    ({"threshold": "x"}, "critical"),
    ({"comparison": "~"}, "op"), ({"match": "server"}, "match"), ({"match": [{"label": "a"}]}, "match"),
    ({"match": 'a=~"("'}, "match"), ({"match": 'a=~"(x+x+)+y{1,9999}"'}, "match"),
    ({"labels": {"a b": "c"}}, "labels"), ({"labels": []}, "labels"),
    ({"channel": "nobody"}, "channel"), ({"nonsense": 1}, "nonsense"),
    ({"is_active": "perhaps"}, "is_active"),
    ({"metric_name": "no_such_metric"}, "metric"), ({"kind": "no such kind"}, "kind"),
    ({"runbook": "javascript:alert(1)"}, "runbook"), ({"runbook": "data:text/html,x"}, "runbook"),
    ({"runbook": "//evil.example"}, "runbook"), ({"runbook": "https://a b"}, "runbook"),
    ({"params": "[]"}, "params"), ({"repeat_interval_sec": 1}, "repeat_s"), ({"interval_s": 0}, "interval_s"),
])
def test_a_rule_that_does_not_fit_names_its_field(ask, body, field):
    body = {**RULE, "name": "Unfit", **body} if body else {}
    status, answer, _ = ask("operator", "POST", f"{API}/rules", body)
    assert status == 422 and field in [e["field"] for e in answer["errors"]], answer


@pytest.mark.parametrize("body, status, said", [
    (b"5", 422, "must be a JSON object"), (b"null", 422, "must be a JSON object"),
    (b"[1]", 422, "must be a JSON object"), (b'"name"', 422, "must be a JSON object"),
    (b'{"name": 5', 400, "it ends too early"), (b'{"a":' * 100, 400, "nesting too deep"),
    (b'{"name": "x"} {}', 400, "is no JSON"),
])
def test_a_body_that_is_no_object_is_told_so(hub, tokens, body, status, said):
    answer = hub.get(f"{API}/rules", "POST", {"Authorization": f"Bearer {tokens['operator']}",
                                              "Content-Type": "application/json"}, body)
    assert answer.status == status and said in answer.json["detail"], answer.text


@pytest.mark.parametrize("kind, params", [("check", {"of": 5.0, "recover": 2.0}),
                                          ("log_count", {"window_s": 600.0}), ("loss", {"window_s": 600.0})])
def test_a_whole_number_may_have_a_decimal_point(ask, fleet, kind, params):
    status, rule, _ = ask("operator", "POST", f"{API}/rules", {
        "name": f"Whole {kind}", "kind": kind, "params": params, "warning": 1, "for_s": 120.0,
        "runbook": "https://wiki.example/runbook"})
    assert status == 201 and rule["for_s"] == 120 and rule["params"] == params, rule
    assert fleet.query("SELECT count(*) FROM alert_rules r, rule_values(r, now()) WHERE rule_id = %s",
                       rule["rule_id"])[0][0] > 0


def counted(fleet, name):
    """What a rule by the name counts in all, at present."""
    return fleet.query("SELECT sum(v.value) FROM alert_rules r, rule_values(r, now()) v WHERE name = %s",
                       name)[0][0]


def test_a_log_rule_counts_the_lines_that_the_search_finds(ask, visit, fleet):
    wide = {"kind": "log_count", "warning": 1, "params": {"query": "level>=warning", "window_s": 604800}}
    all_lines = {**wide, "name": "All lines", "params": {"window_s": 604800}}
    for body in ({**wide, "name": "By API"}, all_lines):
        assert ask("operator", "POST", f"{API}/rules", body)[0] == 201
    bad = fleet.query("SELECT count(*) FROM log_entries WHERE level IN ('WARNING', 'ERROR', 'CRITICAL')"
                      )[0][0]
    assert 0 < counted(fleet, "By API") == bad < counted(fleet, "All lines")
    page = visit("operator")
    form = page.ask("/alert-rules/new?kind=log_share").text
    assert "Window, seconds" in form and "Min lines" in form
    assert 'name="params.query" type="text" value="" placeholder="" required' in form
    assert "params.tree" not in form and '<select name="params.by">' in form
    fields = {"kind": "log_count", "warning": "1", "params.window_s": "604800", "params.query": "level:error"}
    assert page.post("/alert-rules", name="Errors by form", **fields).status == 303
    errors = fleet.query("SELECT count(*) FROM log_entries WHERE level = 'ERROR'")[0][0]
    assert 0 < counted(fleet, "Errors by form") == errors < bad
    rule = fleet.query("SELECT rule_id, version FROM alert_rules WHERE name = 'Errors by form'")[0]
    changed = page.post(f"/alert-rules/{rule[0]}?version={rule[1]}", name="Errors by form",
                        **{**fields, "params.query": ""})
    assert changed.status == 303 and counted(fleet, "Errors by form") == counted(fleet, "All lines")


def test_a_log_rule_comes_back_from_its_file(ask, fleet, hub, tokens):
    wide = {"kind": "log_count", "warning": 1,
            "params": {"query": "level:error -timeout", "window_s": 604800}}
    assert ask("operator", "POST", f"{API}/rules", {**wide, "name": "Log file"})[0] == 201
    before = counted(fleet, "Log file")
    text = hub.get(f"{API}/rules.yaml", headers=people.bearer(tokens["viewer"])).text
    one = next(rule for rule in yaml.safe_load(text)["rules"] if rule["name"] == "Log file")
    assert one["params"] == wide["params"]
    one["params"]["query"] = "level:error"
    done = ask("operator", "POST", f"{API}/rules/import", {"yaml": yaml.safe_dump({"rules": [one]})})
    assert done[0] == 200 and counted(fleet, "Log file") >= before
    assert fleet.query("SELECT params->'tree' FROM alert_rules WHERE name = 'Log file'")[0][0] == {
        "levels": ["ERROR"]}
    one["params"]["query"] = "level:error ("
    status, said, _ = ask("operator", "POST", f"{API}/rules/import",
                          {"yaml": yaml.safe_dump({"rules": [one]})})
    assert status == 422 and '"Log file", whose params.query: is not understood' in str(said["errors"])


@pytest.mark.parametrize("kind, params, field", [
    ("log_count", {"query": "level>=error OR"}, "params.query"), ("log_share", {}, "params.query"),
    ("log_count", {"query": 5}, "params.query"), ("log_count", {"tree": {"levels": "ERROR"}}, "params"),
    ("log_count", {"tree": {"and": 5}}, "params"), ("log_count", {"tree": {"not": {}, "quoted": "x"}}, None),
    ("log_count", {"tree": {"text": "a", "quoted": "perhaps"}}, "params"),
    ("log_count", {"tree": {"column": "received_at", "op": "=", "value": "x"}}, "params"),
    ("log_count", {"tree": {"context": "a", "op": "; DROP TABLE alerts", "value": "x"}}, "params"),
    ("sql", {"sql": "SELEC 1"}, "params.sql"), ("sql", {"sql": "SELECT 1"}, "params.sql"),
    ("sql", {"sql": "SELECT secrets AS value FROM channels"}, "params.sql"),
    ("sql", {"sql": "SELECT 1 AS value"}, None)])
def test_a_rule_that_can_not_be_evaluated_is_refused(ask, kind, params, field):
    status, said, _ = ask("admin", "POST", f"{API}/rules", {
        "name": f"Broken {json.dumps(params)}"[:99], "kind": kind, "params": params, "warning": 1})
    assert status == (422 if field else 201), said
    if field:
        assert [e["field"] for e in said["errors"]] == [field], said
    else:
        assert ask("admin", "DELETE", f"{API}/rules/{said['rule_id']}")[0] == 204


def test_rules_are_written_by_the_form(visit, fleet):
    page = visit("operator")
    assert "New rule" in page.ask("/alert-rules").text
    page.ask("/alert-rules/new")
    fields = {"name": "By form", "kind": "threshold", "metric": "memory_percent", "op": ">", "warning": "80",
              "warning_clear": "75", "critical": "", "critical_clear": "", "for_s": "300",
              "keep_firing_s": "",
              "params.agg": "avg", "params.window_s": "600", "params.ahead_s": "", "labels": "tier=1",
              "match": 'environment=production team=~"a|b"', "summary": "", "is_active": "true"}
    done = page.post("/alert-rules", **fields)
    assert done.status == 303, done.text
    rule = fleet.query("SELECT rule_id, for_s, keep_firing_s, match, labels FROM alert_rules"
                       " WHERE name = 'By form'")[0]
    assert rule[1:3] == (300, 0) and rule[3][1] == {"label": "team", "op": "=~", "value": "a|b"}
    assert rule[4] == {"tier": "1"}
    shown = page.ask(f"/alert-rules/{rule[0]}").text
    assert "avg of memory_percent &gt; 80 % (ends at 75 %), for 5 min" in shown
    assert "environment=production" in shown
    assert page.post(f"/alert-rules/{rule[0]}?version=1", warning="85").status == 303
    assert page.post(f"/alert-rules/{rule[0]}?version=1", warning="86").status == 412
    assert page.post(f"/alert-rules/{rule[0]}/overrides", match="server=db-1",
                     changes='{"warning": 99}').status == 303
    assert "server=db-1" in page.ask(f"/alert-rules/{rule[0]}").text
    assert page.post(f"/alert-rules/{rule[0]}/delete").status == 303
    assert not fleet.query("SELECT 1 FROM rule_patches WHERE rule_id = %s", rule[0])


def test_a_viewer_gets_no_forms(visit):
    page = visit("viewer")
    for path in ("/alerts", "/alert-rules", "/silences", "/heartbeats", "/routing"):
        assert "<button type=\"submit\">Create" not in page.ask(path).text
    assert page.ask("/channels").status == 403
    assert page.ask("/alert-rules/new").status == 403


def test_open_alerts_and_history_are_listed(ask, visit, fleet):
    ask("operator", "POST", f"{API}/rules", {**RULE, "name": "Listed"})
    alert = open_alert(fleet, "Listed", "web-1")
    open_alert(fleet, "Listed", "web-2", severity="warning")
    done = open_alert(fleet, "Listed", "web-3")
    fleet.query("UPDATE alerts SET state = 'resolved', resolved_at = now(), resolve_reason = 'clear'"
                " WHERE alert_id = %s", done)
    page = visit("viewer")
    shown = page.ask("/alerts?q=listed").text
    assert shown.index("web-1") < shown.index("web-2") and "web-3" not in shown and "97.5 %" in shown
    assert "web-3" in page.ask("/alerts?state=resolved&q=listed").text
    assert "<title>(" in shown and "/icon/" in shown
    events = ask("viewer", "GET", f"{API}/events?q=listed")[1]["items"]
    assert [e["subject"]["server"] for e in events] == ["web-1", "web-2", "web-3"]
    ended = ask("viewer", "GET", "/v1/alerts?resolved=true&q=listed")[1]["items"]
    assert [e["subject"]["server"] for e in ended] == ["web-3"]
    assert [e["subject"]["server"] for e in
            ask("viewer", "GET", "/v1/alerts?server_id=web-2&resolved=false")[1]["items"]] == ["web-2"]
    one = ask("viewer", "GET", f"{API}/events/{alert}")[1]
    assert one["value"] == 97.5 and one["threshold"] == 95 and one["open"]
    assert "Listed" in page.ask(f"/alerts/{alert}").text
    pages, after = [], ""
    while after is not None:
        part = ask("viewer", "GET", f"{API}/events?q=listed&limit=1&after={after}")[1]
        pages += [e["subject"]["server"] for e in part["items"]]
        after = part["next"]
    assert pages == ["web-1", "web-2", "web-3"]


def test_what_needs_somebody_comes_first_and_history_is_by_time(ask, visit, fleet):
    ask("operator", "POST", f"{API}/rules", {
        **RULE, "name": "In order", "summary": "CPU of {{server}} is busy."})
    for server, severity, ago in (("old", "critical", "3 hours"), ("new", "warning", "1 hour")):
        fleet.query("UPDATE alerts SET state = 'resolved', resolved_at = now() - %s::interval,"
                    " resolve_reason = 'retired' WHERE alert_id = %s", ago,
                    open_alert(fleet, "In order", server, severity=severity, ago="4 hours"))
    acked = open_alert(fleet, "In order", "acked")
    fleet.query("UPDATE alerts SET acked_at = now(), acked_by = 'ann' WHERE alert_id = %s", acked)
    muted = open_alert(fleet, "In order", "muted")
    page = visit("viewer")
    number = int(re.search(r"<title>\((\d+)\)", page.ask("/alerts").text)[1])
    fleet.query("UPDATE alerts SET muted_by = 'silence: x' WHERE alert_id = %s", muted)
    assert int(re.search(r"<title>\((\d+)\)", page.ask("/alerts").text)[1]) == number - 1
    open_alert(fleet, "In order", "waits", state="pending", severity="critical")
    loud = open_alert(fleet, "In order", "loud", severity="warning")

    def servers(state):
        return [e["subject"]["server"]
                for e in ask("viewer", "GET", f"{API}/events?q=in%20order&resolved={state}")[1]["items"]]
    found = servers("all")
    assert found[0] == "loud" and set(found[1:3]) == {"acked", "muted"}
    assert found[3:] == ["waits", "new", "old"]
    assert servers("true") == ["new", "old"]
    assert "because the server was retired" in page.ask("/alerts?state=resolved&q=in%20order").text
    assert "CPU of loud is busy." in page.ask(f"/alerts/{loud}").text


def test_a_server_with_an_alert_is_degraded(ask, hub, tokens, fleet):
    def servers():
        return hub.get("/?format=json", headers=people.bearer(tokens["viewer"])).json["servers"]
    name = next(s["vps"] for s in servers() if s["state"] == "up" and s["alerts"] == 0)
    ask("operator", "POST", f"{API}/rules", {**RULE, "name": "Of a server"})
    open_alert(fleet, "Of a server", name)
    after = next(s for s in servers() if s["vps"] == name)
    assert after["state"] == "degraded" and after["alerts"] == 1
    assert "alert: Of a server" in after["why"]
    page = hub.get(f"/servers/{name}?format=json", headers=people.bearer(tokens["viewer"])).json
    assert [(a["rule"], a["word"]) for a in page["alerts"]] == [("Of a server", "critical")]
    assert page["alerts_more"] is None


def test_the_fleet_counts_as_degraded_what_it_shows_so(hub, tokens):
    def get(**query):
        return hub.get("/", headers=people.bearer(tokens["viewer"]), format="json", **query).json
    shown = get(state="degraded")["servers"]
    rows = [app for s in shown for app in s["apps"] if app["state"] == "degraded"]
    alone = [s for s in shown if s["state"] == "degraded" and not any(
        app["state"] == "degraded" for app in s["apps"])]
    assert get()["counts"]["degraded"] == len(rows) + len(alone) > 0


def test_an_alert_is_acknowledged_and_taken_back(ask, visit, fleet):
    ask("operator", "POST", f"{API}/rules", {**RULE, "name": "Acknowledged"})
    alert = open_alert(fleet, "Acknowledged", "web-1")
    before = int(ask("viewer", "GET", f"{API}/events?state=open")[0] == 200)
    assert before and ask("viewer", "POST", f"{API}/events/{alert}/ack", {})[0] == 403
    status, one, _ = ask("operator", "POST", f"{API}/events/{alert}/ack", {"note": "I look"})
    assert status == 200 and one["ack_note"] == "I look"
    assert "I look" in visit("viewer").ask(f"/alerts/{alert}").text
    assert ask("operator", "DELETE", f"{API}/events/{alert}/ack")[0] == 204
    page = visit("operator")
    page.ask(f"/alerts/{alert}")
    assert page.post(f"/alerts/{alert}/ack", note="by form").status == 303
    assert fleet.query("SELECT ack_note FROM alerts WHERE alert_id = %s", alert) == [("by form",)]
    failed = open_alert(fleet, "Acknowledged", "web-2", state="error")
    assert ask("operator", "POST", f"{API}/events/{failed}/ack", {"note": "mine"})[1]["ack_note"] == "mine"
    waits = open_alert(fleet, "Acknowledged", "db-1", state="pending")
    assert ask("operator", "POST", f"{API}/events/{waits}/ack", {})[0] == 404


def test_the_icon_has_the_number_of_alerts(hub):
    assert ">7</text>" in hub.get("/icon/7.svg").text and ">99+</text>" in hub.get("/icon/1234.svg").text
    for bad in ("0", "-1", "x", "", "1e9"):
        assert hub.get(f"/icon/{bad}.svg").status == 404


def test_silences(ask, visit):
    status, one, headers = ask("operator", "POST", f"{API}/silences",
                               {"match": "server=web-1", "for": "2h", "comment": "a test"})
    assert status == 201 and one["state"] == "active" and headers["ETag"] == '"1"'
    path = f"{API}/silences/{one['silence_id']}"
    for body, field in (({"match": ""}, "match"), ({"ends_at": "2020-01-01T00:00:00Z"}, "ends_at"),
                        ({"comment": ""}, "comment"), ({"ends_at": "tomorrow"}, "ends_at")):
        answer = ask("operator", "PATCH", path, body)
        assert answer[0] == 422 and answer[1]["errors"][0]["field"] == field, answer
    assert ask("operator", "DELETE", path)[0] == 204 and ask("operator", "DELETE", path)[0] == 404
    page = visit("operator")
    page.ask("/silences")
    assert page.post("/silences", match="rule=~\"CPU.*\"", comment="by form", starts_at="", ends_at="",
                     **{"for": "1d"}).status == 303
    assert "by form" in page.ask("/silences").text


def test_a_silence_ends_when_its_form_says(ask, visit, fleet):
    page = visit("operator")
    page.ask("/silences")
    fields = {"match": "server=form-1", "starts_at": "", "comment": "x"}
    assert page.post("/silences", **fields, ends_at="2099-01-31T12:00Z", **{"for": "2h"}).status == 303
    assert fleet.one("SELECT ends_at = '2099-01-31T12:00Z' FROM silences WHERE match->0->>'value' = 'form-1'")
    assert page.post("/silences", **{**fields, "match": "server=form-2"}, ends_at="2099-01-31T12:00Z",
                     **{"for": ""}).status == 303
    assert page.post("/silences", **{**fields, "match": "server=form-3"}, ends_at="",
                     **{"for": "2h"}).status == 303
    for given, field in (({"for": ""}, "ends_at"), ({"for": "soon"}, "for"), ({"for": "0m"}, "ends_at")):
        status, said, _ = ask("operator", "POST", f"{API}/silences",
                              {"match": "server=x", "comment": "x", **given})
        assert status == 422 and [e["field"] for e in said["errors"]] == [field], said


MAIL = {"url": "smtps://mail.example.com", "from": "observ@example.com",
        "to": "ann@example.com, bob@example.com"}


@pytest.mark.parametrize("kind, part, changes, field", [
    ("mail", "settings", {"url": "mail.example.com"}, "settings.url"),
    ("mail", "settings", {"url": "https://mail.example.com"}, "settings.url"),
    ("mail", "settings", {"from": "observ"}, "settings.from"),
    ("mail", "settings", {"to": "ann"}, "settings.to"),
    ("mail", "settings", {"tls": "yes"}, "settings.tls"),
    ("slack", "secrets", {"url": "hooks.slack.com/services/x"}, "secrets.url"),
    ("telegram", "settings", {"chat_id": "1", "api_url": "smtp://x"}, "settings.api_url"),
])
def test_a_channel_that_can_never_deliver_is_refused(ask, kind, part, changes, field):
    body = {"name": "wrong", "kind": kind, part: {**(MAIL if kind == "mail" else {}), **changes}}
    status, answer, _ = ask("admin", "POST", f"{API}/channels", body)
    assert status == 422 and field in [e["field"] for e in answer["errors"]], answer


def test_a_channel_that_fits_is_taken(ask):
    status, one, _ = ask("admin", "POST", f"{API}/channels", {"name": "fits", "kind": "mail", "settings": {
        **MAIL, "tls": "none", "url": "smtp://127.0.0.1:2525"}})
    assert status == 201 and ask("admin", "DELETE", f"{API}/channels/{one['channel_id']}")[0] == 204


def test_pages_say_which_channel_does_not_take_its_messages(visit, fleet):
    channel = fleet.one("INSERT INTO channels (name, kind) VALUES ('away', 'webhook') RETURNING channel_id")
    fleet.query("""INSERT INTO notifications (channel_id, kind, content, made_at, not_before, attempts)
        SELECT %s, 'firing', '{"alerts": []}', now() - n * interval '20 minutes', now(), 1
        FROM generate_series(1, 3) n""", channel)
    said = "Messages to the channel away wait since "
    assert said not in visit("viewer").ask("/alerts").text
    fleet.query("INSERT INTO channel_state (channel_id, failures, last_error) VALUES (%s, 9, 'no route')",
                channel)
    assert said in visit("viewer").ask("/alerts").text
    shown = visit("operator").ask("/channels").text
    assert "no route" in shown and "3 wait since " in shown
    fleet.query("UPDATE channels SET disabled_at = now() WHERE channel_id = %s", channel)
    assert said not in visit("viewer").ask("/alerts").text and "no route" not in visit("operator").ask(
        "/channels").text
    fleet.query("DELETE FROM notifications WHERE channel_id = %s", channel)
    fleet.query("DELETE FROM channels WHERE channel_id = %s", channel)


def test_pages_say_that_nobody_is_told_until_there_is_a_channel(visit, fleet):
    former = fleet.query("DELETE FROM channels RETURNING to_jsonb(channels)")
    admin, viewer = visit("admin"), visit("viewer")
    assert 'no channel is on. <a href="/channels?kind=mail">' in admin.ask("/alerts").text
    assert "An admin adds one." in viewer.ask("/alerts").text
    admin.ask("/channels?kind=mail")
    assert admin.post("/channels", name="ops", kind="mail", **{
        "settings.url": "smtps://mail.example.com", "settings.from": "observ@example.com",
        "settings.to": "ann@example.com"}).status == 303
    assert "no channel is on" not in admin.ask("/alerts").text + viewer.ask("/alerts").text
    fleet.query("DELETE FROM channels WHERE name = 'ops'")
    for (row,) in former:
        fleet.query("INSERT INTO channels SELECT * FROM jsonb_populate_record(NULL::channels, %s)",
                    json.dumps(row))


def test_the_list_of_messages_says_what_they_are_about(ask, visit, fleet):
    assert ask("admin", "POST", f"{API}/channels", {"name": "about", "kind": "webhook",
                                                    "secrets": {"url": "https://example.com/"}})[0] == 201
    alert = {"rule": "Disk full", "subject": {"server": "db-1", "mount": "/var"}}
    for content in ({"alerts": [alert]}, {"alerts": [alert, alert, alert]}, {"alerts": []},
                    {"channel": "mail", "reason": "x"}, {"by": "ann@example.com"},
                    {"alerts": [{"subject": 5, "rule": "Odd"}]}):
        fleet.query("""INSERT INTO notifications (channel_id, kind, content, made_at, not_before)
            SELECT channel_id, 'firing', %s, now(), now() FROM channels WHERE name = 'about'""",
                    json.dumps(content))
    shown = visit("operator").ask("/channels").text
    for about in ("Disk full db-1 /var <", "Disk full db-1 /var and 2 more <", "channel mail is disabled <",
                  "a test <", "Odd <"):
        assert f'<th scope="row">{about}' in shown, about
    fleet.query("DELETE FROM notifications")


def test_a_rule_whose_answer_is_an_error_says_so(ask, visit, fleet):
    rule = ask("operator", "POST", f"{API}/rules", {"name": "Asks", "promql": "up", "threshold": 1})[1]
    viewer = visit("viewer")
    assert "be evaluated:" not in viewer.ask(f"/alert-rules/{rule['rule_id']}").text
    for at, problem in (("1 minute", "no Prometheus is configured"), ("0", "status 503")):
        fleet.query("INSERT INTO external_answers VALUES (%s, now() - %s::interval, '[]', %s)",
                    rule["rule_id"], at, problem)
    assert "It can't be evaluated: status 503" in viewer.ask(f"/alert-rules/{rule['rule_id']}").text
    assert '<span class="why">status 503</span>' in viewer.ask("/alert-rules").text
    fleet.query("INSERT INTO external_answers VALUES (%s, now() + interval '1 s', '[]', NULL)",
                rule["rule_id"])
    assert "status 503" not in viewer.ask("/alert-rules").text


def test_a_rule_that_fails_says_so(ask, visit, fleet):
    """Whatever its kind, and whatever becomes of its alerts."""
    new = {"name": "Fails", "kind": "threshold", "metric": "cpu_percent", "warning": 1, "on_error": "keep"}
    status, rule, _ = ask("operator", "POST", f"{API}/rules", new)
    assert status == 201, rule
    fleet.query("INSERT INTO rule_problems VALUES (%s, 'it took longer than 10 s', now())", rule["rule_id"])
    assert ask("viewer", "GET", f"{API}/rules/{rule['rule_id']}")[1]["problem"] == "it took longer than 10 s"
    (listed,) = [r for r in ask("viewer", "GET", f"{API}/rules?q=Fails")[1]["items"] if r["name"] == "Fails"]
    assert listed["problem"] == "it took longer than 10 s"
    viewer = visit("viewer")
    page = viewer.ask(f"/alert-rules/{rule['rule_id']}").text
    assert "It can't be evaluated: it took longer than 10 s" in page
    assert '<span class="why">it took longer than 10 s</span>' in viewer.ask("/alert-rules").text


def test_channels(ask, visit, fleet):
    page = visit("admin")
    shown = page.ask("/channels?kind=webhook").text
    assert 'name="secrets.url"' in shown and 'name="secrets.secret"' in shown
    assert page.post("/channels", name="hook", kind="webhook", **{"secrets.url": "https://example.com/hook",
                                                                  "secrets.secret": "whsec_abc",
                                                                  "secrets.authorization": ""}).status == 303
    status, listed, _ = ask("operator", "GET", f"{API}/channels")
    hook = next(c for c in listed["items"] if c["name"] == "hook")
    assert hook["settings_text"] == "secret=*** url=https://example.com/***"
    assert hook["settings"] == {} and hook["secrets_set"] == ["secret", "url"]
    assert hook["secrets_shown"] == {"secret": "***", "url": "https://example.com/***"}
    assert "whsec_abc" not in page.ask("/channels").text + json.dumps(listed)
    path = f"{API}/channels/{hook['channel_id']}"
    assert ask("operator", "PATCH", path, {"name": "x"})[0] == 403
    assert ask("viewer", "GET", f"{API}/channels")[0] == 403
    assert ask("admin", "PATCH", path, {"secrets": {"authorization": "Bearer x"}})[1]["secrets_set"] == [
        "authorization", "secret", "url"]
    assert ask("admin", "PATCH", path, {"secrets": {"secret": None}})[1]["secrets_set"] == [
        "authorization", "url"]
    for body, field in (({"kind": "pigeon"}, "kind"), ({"settings": {"url": ""}}, "secrets.url"),
                        ({"secrets": {"url": None}}, "secrets.url"),
                        ({"settings": {"url": "x", "y": "z"}}, "settings.y"),
                        ({"fallback_id": hook["channel_id"]}, "fallback_id"),
                        ({"settings": {"url": 5}}, "secrets.url"),
                        ({"secrets": {"url": "example.com/hook"}}, "secrets.url"),
                        ({"secrets": {"url": "ftp://example.com/"}}, "secrets.url"),
                        ({"secrets": {"url": "a\r\nb"}}, "secrets.url")):
        answer = ask("admin", "PATCH", path, body)
        assert answer[0] == 422 and field in [e["field"] for e in answer[1]["errors"]], answer
    assert ask("operator", "POST", f"{path}/test")[0] == 201
    messages = "SELECT kind, last_error FROM notifications WHERE channel_id = %s"
    assert fleet.query(messages, hook["channel_id"]) == [("test", None)]
    page.ask("/channels")
    assert page.post(f"/channels/{hook['channel_id']}", is_active="false").status == 303
    assert "switched off by admin@example.com" in page.ask("/channels").text
    logged = json.dumps(fleet.query("SELECT detail FROM audit_log WHERE object = 'hook'"))
    assert "whsec_abc" not in logged and "Bearer x" not in logged
    assert ask("admin", "DELETE", path)[0] == 204
    assert fleet.query(messages, hook["channel_id"]) == [("test", "its channel was deleted")]


def test_routing(ask, visit):
    root = next(r for r in ask("viewer", "GET", f"{API}/routing")[1]["routes"] if r["root"])
    status, window, _ = ask("admin", "POST", f"{API}/windows", {
        "name": "nights", "start": "22:00", "duration_s": 28800, "time_zone": "Europe/Berlin",
        "days": ["sat"]})
    assert status == 201
    status, route, _ = ask("admin", "POST", f"{API}/routes", {
        "parent_id": root["route_id"], "match": "team=shop", "group_by": ["server"],
        "windows": [window["window_id"]]})
    assert status == 201
    assert ask("operator", "POST", f"{API}/routes", {"match": ""})[0] == 403
    assert ask("admin", "POST", f"{API}/routes", {"match": "a=b"})[1]["errors"][0]["field"] == "parent_id"
    circle = {"parent_id": route["route_id"]}
    assert ask("admin", "PATCH", f"{API}/routes/{route['route_id']}", circle)[0] == 422
    assert ask("admin", "DELETE", f"{API}/routes/{root['route_id']}")[0] == 422
    assert ask("admin", "POST", f"{API}/inhibitions", {
        "name": "worse", "source": "severity=critical", "target": "severity=warning",
        "equal": ["server"]})[0] == 201
    shown = visit("admin").ask("/routing").text
    assert "team=shop" in shown and "nights" in shown and "worse" in shown
    assert ask("admin", "DELETE", f"{API}/windows/{window['window_id']}")[0] == 204
    assert ask("admin", "DELETE", f"{API}/routes/{route['route_id']}")[0] == 204


class Form(html.parser.HTMLParser):
    """The last form of a page that changes what is at that path: what a browser would send of it."""

    def __init__(self, page, path):
        super().__init__()
        self.wanted, self.action, self.inside, self.select, self.fields = path, None, False, None, {}
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        a = dict(attributes)
        if tag == "form":
            self.inside = a["action"].startswith(self.wanted + "?version=")
            if self.inside:
                self.action, self.fields = a["action"], {}
        elif self.inside and tag == "input" and (a["type"] != "checkbox" or "checked" in a):
            self.fields[a["name"]] = a.get("value") or ""
        elif self.inside and tag == "select":
            self.select = a["name"]
        elif self.inside and tag == "option" and (self.select not in self.fields or "selected" in a):
            self.fields[self.select] = a["value"]


def test_a_channel_is_changed_on_its_page_and_keeps_its_secrets(ask, visit, fleet):
    secrets = {"url": "https://me:hush@example.com/hush", "secret": "whsec_hush", "authorization": "a hush"}
    one = ask("admin", "POST", f"{API}/channels", {"name": "changes", "kind": "webhook",
                                                   "secrets": secrets})[1]
    admin, at = visit("admin"), f"/channels/{one['channel_id']}"
    assert f'/channels?edit={one["channel_id"]}' in admin.ask("/channels").text
    page = admin.ask(f"/channels?edit={one['channel_id']}").text
    form = Form(page, at)
    assert "hush" not in page and 'placeholder="https://example.com/***"' in page
    assert form.fields["secrets.url"] == "" and form.fields["name"] == "changes"
    stored = "SELECT secrets FROM channels WHERE name LIKE 'changes%%'"
    changed = {**form.fields, "name": "changes now", "send_resolved": "false"}
    assert admin.post(form.action, **changed).status == 303
    assert fleet.query(stored) == [(secrets,)]
    assert admin.post(form.action, **changed).status == 412         # somebody else has changed it since
    form = Form(admin.ask(f"/channels?edit={one['channel_id']}").text, at)
    assert form.fields["name"] == "changes now" and form.fields["send_resolved"] == "false"
    assert admin.post(form.action, **{**form.fields, "secrets.secret": "whsec_other",
                                      "remove.authorization": "on"}).status == 303
    assert fleet.query(stored) == [({"url": secrets["url"], "secret": "whsec_other"},)]
    operator = visit("operator")
    assert "Change" not in operator.ask("/channels").text.split("<tbody>")[1]
    assert Form(operator.ask(f"/channels?edit={one['channel_id']}").text, at).action is None
    assert operator.post(form.action, **form.fields).status == 403
    logged = json.dumps(fleet.query("SELECT detail FROM audit_log"))
    assert "hush" not in logged and "whsec_other" not in logged and "https://example.com/***" in logged


EDITS = {
    # kind: who, the page, the new row, where the form is sent, a field, its new value, the column
    "silence": ("operator", "/silences", {"match": "server=a", "comment": "x",
                                          "ends_at": "2099-01-01T00:00:00Z"}, "/silences", "ends_at",
                "2099-06-01T00:00:00Z", "ends_at"),
    "route": ("admin", "/routing", {"match": "server=a", "group_by": ["server"], "repeat_s": 600,
                                    "go_on": True}, "/routing/routes", "repeat_s", "1200", "repeat_s"),
    "inhibition": ("admin", "/routing", {"name": "i", "source": "a=b", "target": "c=d", "equal": ["server"]},
                   "/routing/inhibitions", "target", "c=e", "target"),
    "window": ("admin", "/routing", {"name": "w", "start": "22:30", "duration_s": 3600,
                                     "time_zone": "Asia/Tokyo", "days": ["sat", "sun"]}, "/routing/windows",
               "duration_s", "60",
               "duration_s"),
    "heartbeat": ("operator", "/heartbeats", {"name": "h", "schedule": "1 2 * * *", "labels": {"a": "b"},
                                              "time_zone": "Asia/Tokyo"}, "/heartbeats", "grace_s", "7",
                  "grace_s"),
}


@pytest.mark.parametrize("kind", EDITS)
def test_what_belongs_to_alerts_is_changed_on_its_page(ask, visit, fleet, kind):
    """Its form has all that it is, changes what was changed and nothing else, and no newer state."""
    who, page, new, action, field, value, column = EDITS[kind]
    channels = [ask("admin", "POST", f"{API}/channels", {"name": f"{kind} {n}", "kind": "webhook",
                                                         "secrets": {"url": "https://example.com/"}})[1]
                for n in range(2)]
    if kind == "route":
        root = next(r for r in ask("viewer", "GET", f"{API}/routing")[1]["routes"] if r["root"])
        new = {**new, "parent_id": root["route_id"], "channels": [c["channel_id"] for c in channels]}
    status, one, _ = ask(who, "POST", f"{API}/{kind}s", new)
    assert status == 201, one
    table, key = {"route": "alert_routes", "window": "quiet_windows"}.get(kind, f"{kind}s"), f"{kind}_id"

    def row():
        return fleet.query(f"SELECT to_jsonb(r) - 'version' FROM {table} r WHERE {key} = %s", one[key])[0][0]

    user, before = visit(who), row()
    assert f"{page}?edit={one[key]}" in user.ask(page).text
    form = Form(user.ask(f"{page}?edit={one[key]}").text, f"{action}/{one[key]}")
    assert user.post(form.action, **form.fields).status == 303
    after = row()
    assert {k: v for k, v in after.items() if k != "starts_at"} == {
        k: sorted(v) if k == "channels" else v for k, v in before.items() if k != "starts_at"}
    form = Form(user.ask(f"{page}?edit={one[key]}").text, f"{action}/{one[key]}")
    assert user.post(form.action, **{**form.fields, field: value}).status == 303
    assert [k for k, v in row().items() if v != after[k] and k != "starts_at"] == [column]
    assert user.post(form.action, **form.fields).status == 412
    if kind == "route":
        form = Form(user.ask(f"{page}?edit={one[key]}").text, f"{action}/{one[key]}")
        unticked = {k: v for k, v in form.fields.items() if not k.startswith("channels.")}
        assert user.post(form.action, **unticked).status == 303 and row()["channels"] is None
    if kind == "silence":       # one that has ended stays as it is
        fleet.query("UPDATE silences SET starts_at = '2000-01-01', ends_at = '2000-01-02'")
        assert f"{page}?edit=" not in user.ask(page).text
    viewer = visit("viewer")
    assert f"{page}?edit=" not in viewer.ask(page).text
    assert viewer.post(form.action, **form.fields).status == 403


def test_a_heartbeat_tells_its_address_once_and_takes_calls(ask, visit, hub, fleet):
    job = {"name": "backup", "schedule": "30 2 * * *"}
    status, one, _ = ask("operator", "POST", f"{API}/heartbeats", job)
    assert status == 201 and "/api/v1/heartbeats/obs_beat_" in one["url"]
    assert "obs_beat_" not in json.dumps(ask("viewer", "GET", f"{API}/heartbeats")[1])
    path = "/" + one["url"].split("/", 3)[3]
    for end, method in (("/start", "GET"), ("", "HEAD"), ("/failed?note=disk%20full", "GET")):
        assert hub.get(path + end, method).status == 200
    assert fleet.query("SELECT kind, note FROM heartbeat_pings ORDER BY id DESC LIMIT 3") == [
        ("failed", "disk full"), ("done", None), ("start", None)]
    assert hub.get(path + "x").status == 404 and hub.get(path + "/perhaps").status == 422
    page = visit("operator")
    page.ask("/heartbeats")
    made = page.post("/heartbeats", name="by form", schedule="", every_s="3600", time_zone="UTC", grace_s="")
    assert made.status == 201 and "obs_beat_" in made.text
    for body, field in (({"schedule": "99 * * * *"}, "schedule"), ({"every_s": 60}, "schedule"),
                        ({"time_zone": "Mars"}, "time_zone"), ({"name": "by form"}, "name")):
        answer = ask("operator", "PATCH", f"{API}/heartbeats/{one['heartbeat_id']}", body)
        assert answer[0] == 422 and answer[1]["errors"][0]["field"] == field, answer


PROMETHEUS = """
groups:
- name: hosts
  rules:
  - record: job:up
    expr: sum(up) by (job)
  - alert: HighMemory
    expr: avg_over_time(memory_percent{server="web-1"}[10m]) > 90
    for: 5m
    labels: {severity: critical, team: shop}
    annotations:
      summary: "memory {{ $value }} on {{ $labels.server }}"
      runbook_url: https://example.com/memory
  - alert: TargetDown
    expr: |
      up{job="node"} == 0
    for: 1h30m
"""


def test_rule_files_go_in_and_out(ask, visit, hub, fleet, tokens):
    status, told, _ = ask("operator", "POST", f"{API}/rules/import", {"yaml": PROMETHEUS})
    assert status == 200 and told == {"created": 2, "changed": 0, "left_out": 1}
    by_name = {r["name"]: r for r in ask("viewer", "GET", f"{API}/rules?limit=1000")[1]["items"]}
    memory = by_name["HighMemory"]
    assert (memory["kind"], memory["metric"], memory["critical"], memory["for_s"], memory["match_text"]) == (
        "threshold", "memory_percent", 90, 300, "server=web-1")
    assert memory["params"] == {"agg": "avg", "window_s": 600} and memory["labels"] == {"team": "shop"}
    assert memory["summary"] == "memory {{value}} on {{labels.server}}"
    down = by_name["TargetDown"]
    assert (down["kind"], down["params"]["promql"].strip(), down["op"], down["warning"], down["for_s"]) == (
        "promql", 'up{job="node"}', "==", 0, 5400)
    ask("operator", "POST", f"{API}/rules/{memory['rule_id']}/overrides",
        {"match": "server=db-1", "changes": {"critical": 99}})
    out = hub.get(f"{API}/rules.yaml", headers=people.bearer(tokens["viewer"])).text
    exported = {r["name"]: r for r in yaml.safe_load(out)["rules"]}
    assert exported["HighMemory"]["overrides"][0]["changes"] == {"critical": 99}
    rules = "SELECT to_jsonb(r) - '{version,updated_at}'::text[] FROM alert_rules r ORDER BY name"
    before = fleet.query(rules)
    status, told, _ = ask("operator", "POST", f"{API}/rules/import", {"yaml": out})
    assert status == 200 and told["created"] == 0 and told["changed"] == len(exported)
    assert fleet.query(rules) == before
    page = visit("operator")
    page.ask("/alert-rules")
    assert page.post("/alert-rules/import", yaml=PROMETHEUS).status == 303


WITH_OVERRIDES = "rules:\n- name: z\n  kind: threshold\n  metric: cpu_percent\n  warning: 1\n  overrides:\n"


@pytest.mark.parametrize("text, words", [
    ("", "neither"), ("a: 1", "neither"), ("rules: [", "yaml:2:1:"), ("rules: []", "no alert rule"),
    ("rules:\n- name: x\n  for_s: ten\n", 'Rule "x"'),
    ("groups:\n- rules:\n  - {alert: y, expr: 'cpu_percent > 1', for: z}", 'Rule "y"'),
    ("rules: &a [*a]", "yaml:1:8: anchors (&name) are not supported in section rules"),
    ("a: 1\ngroups:\n- *a\n", "yaml:3:3: aliases (*name) are not supported in section groups"),
    ("rules: []\ngroups: []\nrules: []", "yaml:3:1: rules: stands in the file twice"),
    ("rules:\n- 5\n", "must have keys"),
    (WITH_OVERRIDES + "  - {match: app=x, changes: {for_s: 2}}\n  - {match: app=y, changes: {for_s: x}}",
     'Override 2 of rule "z" of the file: '),
    (WITH_OVERRIDES + "  - 5", 'Override 1 of rule "z" of the file: It must have keys'),
    (WITH_OVERRIDES.rstrip() + " {match: server=db-1}", 'Rule "z" of the file: overrides must be a list'),
])
def test_a_bad_file_changes_nothing(ask, fleet, text, words):
    before = fleet.query("SELECT count(*) FROM alert_rules")
    status, answer, _ = ask("operator", "POST", f"{API}/rules/import", {"yaml": text})
    assert status == 422 and words in json.dumps(answer, ensure_ascii=False).replace('\\"', '"'), answer
    assert fleet.query("SELECT count(*) FROM alert_rules") == before
