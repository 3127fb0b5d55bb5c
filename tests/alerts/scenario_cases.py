"""Cases of kind `notify`: what people and rules do, and each message that channels get.

    {"id", "kind": "notify", "root": {column: value}, "channels": {name: send_resolved},
     "routes": {name: {...}}, "alerts": {name: labels}, "rules": {rule: {column: value}},
     "do": [[s, what, ...], ...], "until": s, "expect": ["s channel alerts", ...]}

An alert without labels has {"rule": "r1", "server": NAME}. In a message "+a" fires, "+a!" is critical, "+a*"
flaps, "-a" is resolved and "~a" passed before it was told. Times are whole seconds; "start" is when the case
begins, for cases about clocks. Each case is replayed by a watcher that comes whenever a group is due, by one
that comes each minute, and by one that comes only when something is done: all must send the same.
"""
import datetime
import json

from notify_world import World, name_id, placeholder


class Play:
    """One replay of a case. late: flush_groups() is only called when something is done."""

    def __init__(self, engine, case, late=False, step_s=None):
        self.case, self.late, self.step_s = case, late, step_s
        if "start" in case:
            engine.start_s = int(datetime.datetime.fromisoformat(case["start"]).timestamp())
        self.world = World(engine, **self.columns(case.get("root", {})))
        self.now, self.refusing = 0, set()
        self.names = {}                 # of alerts, by labels
        for name, send_resolved in case.get("channels", {"c": True}).items():
            self.world.channel(name, send_resolved)
        for name, window in case.get("windows", {}).items():
            engine.insert("quiet_windows", window_id=name_id("window", name), name=name, **window)
        for name, rule in case.get("rules", {}).items():
            self.do_rule(name, rule)
        for rule in case.get("inhibit", []):
            source, target = [json.dumps(matchers(m)) for m in rule[:2]]
            engine.query("INSERT INTO inhibitions (name, source, target, equal) VALUES ('i', %s, %s, %s)",
                         source, target, rule[2])
        for name, route in case.get("routes", {}).items():
            self.do_route(name, route)

    def labels(self, name):
        labels = self.case.get("alerts", {}).get(name, {"rule": "r1", "server": name})
        self.names[json.dumps(labels, sort_keys=True)] = name
        return labels

    # ---- what can be done ------------------------------------------------------------------------
    def do_fire(self, name, severity="warning"):
        self.world.fire(self.labels(name), self.now, severity=severity)

    def do_end(self, name, reason="clear"):
        self.world.end(self.labels(name), self.now, reason=reason)

    def do_demote(self, name):
        """Its rule waits longer now: it is pending again."""
        self.world.set_alert(self.labels(name), state="pending")

    def do_ack(self, name, note="mine"):
        self.world.set_alert(self.labels(name), acked_at=self.world.at(self.now), acked_by="me",
                             ack_note=note)

    def do_relabel(self, name, labels):
        """The labels of its server or its rule's name have changed, but not its subject."""
        self.world.set_alert(self.labels(name), labels=json.dumps(labels))
        self.names[json.dumps(labels, sort_keys=True)] = name

    def do_silence(self, name, match, from_s, to_s):
        self.world.silence(name, matchers(match), from_s, to_s)

    def do_unsilence(self, name):
        self.world.end_silence(name, self.now)

    def do_root(self, columns):
        self.world.change_root(**self.columns(columns))

    @staticmethod
    def columns(columns):
        """Names of channels and windows become ids."""
        ids = {"channels": "channel", "windows": "window"}
        return {k: [name_id(ids[k], n) for n in v] if k in ids and v is not None else v
                for k, v in columns.items()}

    def do_route(self, name, route):
        row = self.columns(route) | {"route_id": name_id("route", name)}
        row["match"] = json.dumps(matchers(row.get("match", [])))
        row["parent_id"] = name_id("route", row["parent"]) if "parent" in row else self.world.root()
        row.pop("parent", None)
        self.world.engine.query("DELETE FROM alert_routes WHERE route_id = %s", row["route_id"])
        names = ", ".join(row)
        values = ", ".join(map(placeholder, row))
        self.world.engine.query(f"INSERT INTO alert_routes ({names}) VALUES ({values})", *row.values())

    def do_unroute(self, name):
        self.world.engine.query("DELETE FROM alert_routes WHERE route_id = %s", name_id("route", name))

    def do_rule(self, name, columns):
        row = dict(columns)
        if row.get("channel"):
            row["channel_id"] = name_id("channel", row["channel"])
        elif "channel" in row:
            row["channel_id"] = None
        row.pop("channel", None)
        rule_id = name_id("rule", name)
        self.world.engine.query("DELETE FROM alert_rules WHERE rule_id = %s", rule_id)
        self.world.engine.insert("alert_rules", rule_id=rule_id, name=name, kind="threshold",
                                 metric="cpu_percent", warning=1,
                                 **row)

    def do_channel(self, name, columns):
        for column, value in columns.items():
            self.world.engine.query(f"UPDATE channels SET {column} = %s WHERE name = %s", value, name)

    def do_refuse(self, name):
        self.refusing.add(name)

    def do_accept(self, name):
        self.refusing.discard(name)
        self.world.attempt(name, self.now, True)

    def do_away(self, seconds):
        """The watcher was away until now, and lets the rules settle for some seconds."""
        self.world.engine.query("UPDATE alert_clock SET away_until = %s", self.world.at(self.now + seconds))

    # ---- time --------------------------------------------------------------------------------------
    def flush(self, until):
        """To this time: at each time when a group is due, every step_s, or at its end only."""
        while True:
            due = self.world.flush(self.now)
            self.world.deliver(self.refusing)
            if self.now >= until:
                return
            if self.late:
                due = until
            elif self.step_s:
                due = self.now - self.now % self.step_s + self.step_s
            self.now = until if due is None else min(until, max(due, self.now + 1e-6))

    def run(self):
        for at, what, *arguments in self.case["do"]:
            self.flush(at)
            getattr(self, "do_" + what)(*arguments)
        self.flush(self.case["until"])
        return sorted(f"{at:g} {channel} {self.text(content)}"
                      for at, channel, content in self.world.messages())

    def text(self, content):
        words = [("-" if a["status"] == "resolved" else "+") + self.name(a)
                 + ("!" if a["severity"] == "critical" and a["status"] == "firing" else "")
                 + ("*" if a["flapping"] else "") for a in content["alerts"]]
        return " ".join(sorted(words) + sorted("~" + self.name(a) for a in content["passed"]))

    def name(self, alert):
        return self.names[json.dumps(alert["labels"], sort_keys=True)]


def matchers(texts):
    """[["server", "=", "a"], ...]"""
    return [{"label": label, "op": op, "value": value} for label, op, value in texts]


def notify(engine, case):
    """The messages, by each sort of watcher."""
    start_s = engine.start_s
    expected = sorted(normal(e) for e in case["expect"])
    ways = {"on time": {}, "late": {"late": True}, "each minute": {"step_s": 60}}
    if any(what == "refuse" for _, what, *_ in case["do"]):
        del ways["late"]                # who comes late has not tried in between
    for how, options in ways.items():
        engine.start_s = start_s
        got = Play(engine, case, **options).run()
        for line in sorted(set(expected) - set(got)):
            yield f"{how}: missing: {line}"
        for line in sorted(set(got) - set(expected)):
            yield f"{how}: not expected: {line}"
        if len(got) != len(expected):
            yield f"{how}: {len(got)} messages, not {len(expected)}"
    engine.start_s = start_s


def normal(line):
    at, channel, *words = line.split()
    told = sorted(w for w in words if w[0] != "~")
    return " ".join([f"{float(at):g}", channel] + told + sorted(w for w in words if w[0] == "~"))
