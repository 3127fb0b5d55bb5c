#!/usr/bin/env python3
"""Random scripts of alerts, played by Debian's Alertmanager and by flush_until(): the same batches?

    tests/alerts/beside_alertmanager.py [SEED]      "passed N of M" last, of M groups

Alertmanager runs in real time, for 25 s. All worlds are played at once; a label `world` keeps them apart, and
each has its own tree of routes. What happens in a world lies at even seconds of its clock, and all flushes
at odd ones, so that a slow machine changes nothing; so does the end of its script, after which neither side's
messages count. There are several sorts of worlds (SORTS): what docs/alerts.md lists as different can't happen
in them, or is worked out here (without_untold(), alertmanager_route()).
"""
import collections
import datetime
import http.server
import json
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from engine import Engine                   # noqa: E402
from notify_world import World, name_id     # noqa: E402

PROGRAM = "prometheus-alertmanager"
WORLDS, STEPS, STEP_S = 120, 9, 2
FIRST_S, END_S, SPAN_S = 2, 22, 25      # of a world's clock: when it begins, its end; and of all worlds
PHASES = 8                              # by how much the clocks of worlds differ, in parts of a step
TOLD_STEPS = 2                          # after so many each group was flushed
WAITS, INTERVALS, REPEATS = [1, 3], [2, 4], [3, 7, 3600]
GROUP_BY = [["rule"], ["server"], ["rule", "server"], ["team", "world"], [], ["..."]]
VALUES = {"rule": ["a", "b", "cpu1", "cpu2"], "server": ["s1", "s2"], "team": ["x", "y", ""]}
MUTING = ["off", "down", "core1", "core2", "a", "b"]    # values of `rule` that INHIBIT knows
# Source, target, equal.
INHIBIT = [
    ([["rule", "=", "off"]], [["rule", "=", "down"]], ["world"]),
    ([["rule", "=", "off"], ["team", "!=", ""]], [["rule", "=~", "a|b"]], ["world", "server"]),
    ([["rule", "=~", "core.*"]], [["rule", "!~", "core.*|off|b"]], ["world", "server", "team"]),
    ([["rule", "=", "core1"]], [["rule", "=~", "core."]], ["world", "team"]),
]
# ends: alerts end at any time ("any"), when each channel was told of them ("told"), or never.
# again: an alert may come back. plain: no reminders.
SORTS = {
    "flapping": {"ends": "any", "again": True, "plain": True},
    "muted": {"ends": "told", "again": True, "mutes": True},
    "repeated": {"ends": "told", "again": True},
    "firing only": {"ends": "any", "again": False, "send_resolved": False},
    "windows": {"ends": "never", "again": True, "windows": True},
}


# ---- scripts -----------------------------------------------------------------------------------------
def matches(matchers, labels):
    return all(((re.fullmatch(value, labels.get(label, "")) is not None) if "~" in op else
                labels.get(label, "") == value) != (op[0] == "!") for label, op, value in matchers)


def random_matcher(rng, values):
    label = rng.choice(list(VALUES))
    value = rng.choice(values if label == "rule" else VALUES[label])
    op = rng.choice(["=", "=", "!=", "=~", "!~"])
    if "~" in op:
        value = rng.choice([value, value + ".*", f"{value}|{rng.choice(VALUES['server'])}", "."])
    return [label, op, value]


class WorldScript:
    """Routes and events of a world. Events are (seconds, what, ...)."""

    def __init__(self, rng, number):
        self.rng, self.name = rng, f"w{number}"
        self.sort = list(SORTS)[number % len(SORTS)]
        self.rules = SORTS[self.sort]
        self.phase_s = 0 if "windows" in self.rules else rng.randrange(PHASES) * STEP_S / PHASES
        self.values = MUTING if "mutes" in self.rules else VALUES["rule"]
        self.receivers = []
        self.route = self.random_route(0, [["world", "=", self.name]])
        self.alerts = self.random_alerts()
        self.firing, self.seen = set(), set()   # alerts, by number: now, and ever
        self.ended = {}                         # the step of their last end
        self.shown = {}                         # for how many steps they have been firing, and not quiet
        self.events, self.silences = [], []
        for self.step in range(STEPS):
            self.at_s = self.phase_s + FIRST_S + STEP_S * self.step
            self.do_step()

    def random_route(self, depth, match):
        rng = self.rng
        route = {"match": match, "go_on": depth > 0 and rng.random() < 0.4}
        if depth == 0 or rng.random() < 0.6:
            route["receiver"] = f"{self.name}r{len(self.receivers)}"
            self.receivers.append(route["receiver"])
        repeats = REPEATS[-1:] if self.rules.get("plain") else REPEATS
        for key, values in (("group_by", GROUP_BY), ("group_wait_s", WAITS), ("group_interval_s", INTERVALS),
                            ("repeat_s", repeats)):
            if depth == 0 or rng.random() < 0.4:
                route[key] = rng.choice(values)
        if "windows" in self.rules and (depth == 0 or rng.random() < 0.3):
            route["windows"] = [rng.choice(["this", "next", "never"])]
        route["routes"] = [self.random_route(depth + 1, [random_matcher(rng, self.values) for _ in range(
            rng.randint(1, 2))]) for _ in range(rng.randint(0, 3 if depth == 0 else 1) if depth < 3 else 0)]
        return route

    def random_alerts(self):
        sets = set()
        while len(sets) < 6:
            sets.add(tuple((label, self.rng.choice(self.values if label == "rule" else values))
                           for label, values in VALUES.items()))
        return [{"world": self.name} | {k: v for k, v in labels if v} for labels in sorted(sets)]

    def quiet(self, number, sources=None, silences=None):
        """Whether an alert is kept quiet now by these that fire and by these silences."""
        labels = self.alerts[number]
        sources = self.firing if sources is None else sources
        silences = self.silences if silences is None else silences
        return any(s["from"] <= self.step < s["to"] and matches(s["match"], labels) for s in silences) or any(
            matches(target, labels) and matches(source, other)
            and not (matches(source, labels) and matches(target, other))
            and all(labels.get(e) == other.get(e) for e in equal)
            for other in map(self.alerts.__getitem__, sources) for source, target, equal in INHIBIT)

    def just_ended(self):
        return [n for n, step in self.ended.items() if self.step - step < TOLD_STEPS and n not in self.firing]

    def do_step(self):
        rng = self.rng
        for n in sorted(self.firing):
            self.shown[n] = 0 if self.quiet(n) else self.shown[n] + 1
        for n in rng.sample(range(len(self.alerts)), rng.randint(1, 2) if self.step else 3):
            (self.end if n in self.firing else self.fire)(n)
        if "mutes" in self.rules and rng.random() < 0.3:
            self.silence()
        for s in self.silences:
            if s["from"] < self.step < s["to"] - 1 and rng.random() < 0.2:
                s["to"] = self.step
                self.events.append((self.at_s, "unsilence", s["id"]))

    def fire(self, n):
        late = "mutes" in self.rules and any(self.quiet(e, sources=[n]) for e in self.just_ended())
        if not late and (self.rules["again"] or n not in self.seen):
            self.shown[n] = 0
            self.firing.add(n)
            self.seen.add(n)
            self.events.append((self.at_s, "fire", self.alerts[n]))

    def end(self, n):
        soon = [s | {"from": 0} for s in self.silences]
        if self.rules["ends"] == "any" or self.rules["ends"] == "told" and (
                self.shown[n] >= TOLD_STEPS and not self.quiet(n, silences=soon)):
            self.firing.remove(n)
            self.ended[n] = self.step
            self.events.append((self.at_s, "end", self.alerts[n]))

    def silence(self):
        first = self.step + self.rng.choice([0, 0, 1])
        s = {"id": f"{self.name} {len(self.silences)}", "from": first, "to": first + self.rng.randint(1, 5),
             "match": [["world", "=", self.name], random_matcher(self.rng, self.values)]}
        if any(matches(s["match"], self.alerts[n]) for n in self.just_ended()):
            return
        self.silences.append(s)
        self.events.append((self.at_s, "silence", s["id"], s["match"], *(
            self.phase_s + FIRST_S + STEP_S * step for step in (s["from"], s["to"]))))


# ---- the real one ------------------------------------------------------------------------------------
class Webhook(http.server.ThreadingHTTPServer):
    """Keeps what Alertmanager sends."""
    request_queue_size = 128

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.got = []


class Handler(http.server.BaseHTTPRequestHandler):
    """One message."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.got.append((time.time(), body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        """Says nothing."""


def matcher_texts(match):
    return [f"{label}{op}{json.dumps(value)}" for label, op, value in match]


def alertmanager_route(route, windows=()):
    """A route in Alertmanager's words. There routes do not inherit windows, and "all in one group" can't be
    said of a route below another."""
    names = {"group_wait_s": "group_wait", "group_interval_s": "group_interval",
             "repeat_s": "repeat_interval"}
    windows = route.get("windows", windows)
    own = {k: route[k] for k in ("receiver", "group_by") if k in route}
    if own.get("group_by") == []:
        own["group_by"] = ["no_alert_has_this"]
    return {"matchers": matcher_texts(route["match"]), "continue": route["go_on"],
            "mute_time_intervals": list(windows),
            "routes": [alertmanager_route(r, windows) for r in route["routes"]]} | own | {
                name: f"{route[k]}s" for k, name in names.items() if k in route}


def windows_at(zero):
    """{name: (start, end) as minutes of a day}: the minute in which all begins, the next, and another."""
    minute = int(zero // 60) % 1440
    return {name: ((minute + n) % 1440, (minute + n) % 1440 + 1)
            for name, n in (("this", 0), ("next", 1), ("never", 720))}


def config(worlds, port, zero):
    """As JSON, which is YAML."""
    return json.dumps({
        "route": {"receiver": "none", "routes": [alertmanager_route(w.route) for w in worlds]},
        "receivers": [{"name": "none"}] + [{"name": name, "webhook_configs": [
            {"url": f"http://127.0.0.1:{port}/", "send_resolved": w.rules.get("send_resolved", True)}]}
            for w in worlds for name in w.receivers],
        "time_intervals": [{"name": name, "time_intervals": [{"times": [
            {"start_time": f"{a // 60:02}:{a % 60:02}", "end_time": f"{b // 60:02}:{b % 60:02}"}]}]}
            for name, (a, b) in windows_at(zero).items()],
        "inhibit_rules": [{"source_matchers": matcher_texts(source), "target_matchers": matcher_texts(target),
                           "equal": equal} for source, target, equal in INHIBIT]})


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def rfc(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).isoformat()


class Alertmanager:
    """The process, and what it is told."""

    def __init__(self, folder, worlds, hook, zero):
        self.port, self.zero, self.silences = free_port(), zero, {}
        file = Path(folder) / "config.yml"
        file.write_text(config(worlds, hook.server_port, zero), encoding="utf-8")
        self.process = subprocess.Popen(
            [PROGRAM, f"--config.file={file}", f"--storage.path={folder}/data", "--cluster.listen-address=",
             f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=error"])

    def ask(self, path, body=None, method="POST"):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", body and json.dumps(body).encode(),
            {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=10) as reply:
            return reply.read()

    def wait_ready(self):
        while time.time() < self.zero and self.process.poll() is None:
            try:
                return self.ask("/-/ready", method="GET")
            except OSError:
                time.sleep(0.1)
        raise SystemExit(f"{PROGRAM} does not start, or not in time")

    def silence(self, match, start, end):
        """Returns its id."""
        said = self.ask("/api/v2/silences", {
            "matchers": [{"name": label, "value": value, "isRegex": "~" in op, "isEqual": op[0] == "="}
                         for label, op, value in match],
            "startsAt": rfc(start), "endsAt": rfc(end), "createdBy": "test", "comment": "test"})
        return json.loads(said)["silenceID"]

    def tell(self, events):
        """What happens at one time."""
        now = rfc(time.time())
        alerts = [{"labels": labels} | ({"endsAt": now} if what == "end" else {})
                  for _, what, labels, *_ in events if what in ("fire", "end")]
        for _, what, name, *more in events:
            if what == "silence":
                match, start_s, end_s = more
                self.silences[name] = self.silence(match, self.zero + start_s, self.zero + end_s)
            elif what == "unsilence":
                self.ask(f"/api/v2/silence/{self.silences[name]}", method="DELETE")
        if alerts:
            self.ask("/api/v2/alerts", alerts)


def by_time(worlds):
    """[(seconds, events)]"""
    times = collections.defaultdict(list)
    for w in worlds:
        for event in w.events:
            times[event[0]].append(event)
    return sorted(times.items())


def theirs(worlds, zero):
    """The messages of the real one: {(receiver, labels of the group): [(firing, resolved), ...]}."""
    hook, late_s = Webhook(), 0
    threading.Thread(target=hook.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        real = Alertmanager(folder, worlds, hook, zero)
        try:
            real.wait_ready()
            for at_s, events in by_time(worlds):
                time.sleep(max(0, zero + at_s - time.time()))
                real.tell(events)
                late_s = max(late_s, time.time() - zero - at_s)
            time.sleep(max(0, zero + SPAN_S - time.time()))
        finally:
            real.process.terminate()
            real.process.wait()
            hook.shutdown()
    print(f"Alertmanager heard of things {late_s:.2f} s late at most; a second changes what it sends")
    ends = {name: zero + w.phase_s + END_S for w in worlds for name in w.receivers}
    return grouped((body["receiver"], body["groupLabels"], body["groupKey"], [
        (a["labels"], a["status"]) for a in body["alerts"]])
        for at, body in sorted(hook.got, key=lambda g: g[0]) if at <= ends[body["receiver"]])


def grouped(messages):
    """{(receiver, labels of the group): {group: [(firing, resolved), ...]}}, of (receiver, labels, group, [
    (labels, status)]). Two routes to one receiver may have groups with the same labels."""
    ret = collections.defaultdict(lambda: collections.defaultdict(list))
    for receiver, labels, group, alerts in messages:
        sides = [frozenset(json.dumps(a, sort_keys=True) for a, status in alerts if status == s)
                 for s in ("firing", "resolved")]
        ret[receiver, json.dumps(labels, sort_keys=True)][group].append(tuple(sides))
    return ret


def without_untold(messages):
    """Without those whose only news is the end of alerts that nobody was told of."""
    ret, told, last = [], frozenset(), frozenset()
    for firing, resolved in messages:
        if firing - last or resolved & told:
            ret.append((firing, resolved))
        told, last = (told | firing) - resolved, firing
    return ret


# ---- ours ------------------------------------------------------------------------------------------------
def as_json(match):
    return json.dumps([{"label": label, "op": op, "value": value} for label, op, value in match])


def add_routes(world, routes, parent, name=""):
    """Below a route."""
    for n, route in enumerate(routes):
        route_id = name_id("route", f"{name}/{n}")
        row = {k: route[k] for k in ("group_by", "group_wait_s", "group_interval_s", "repeat_s", "go_on")
               if k in route}
        row |= {"route_id": route_id, "parent_id": parent, "position": n, "match": as_json(route["match"])}
        for column, ids in (("channels", [name_id("channel", route.get("receiver"))]),
                            ("windows", [name_id("window", w) for w in route.get("windows", [])])):
            if {"channels": "receiver"}.get(column, column) in route:
                row[column] = ids
        places = ", ".join("%s::uuid[]" if k in ("channels", "windows") else "%s" for k in row)
        world.engine.query(f"INSERT INTO alert_routes ({', '.join(row)}) VALUES ({places})", *row.values())
        add_routes(world, route["routes"], route_id, f"{name}/{n}")


def set_up(engine, worlds, zero):
    """Everything that does not happen, but is there."""
    engine.start_s = zero
    engine.policy(flap_count=100)       # Alertmanager knows no flapping
    world = World(engine)
    for name, (start, end) in windows_at(zero).items():
        engine.insert("quiet_windows", window_id=name_id("window", name), name=name, time_zone="UTC",
                      start=f"{start // 60:02}:{start % 60:02}", duration_s=(end - start) * 60)
    for w in worlds:
        for name in w.receivers:
            world.channel(name, w.rules.get("send_resolved", True))
    for source, target, equal in INHIBIT:
        engine.query("INSERT INTO inhibitions (source, target, equal) VALUES (%s, %s, %s)", as_json(source),
                     as_json(target), equal)
    add_routes(world, [w.route for w in worlds], world.root())
    return world


def ours(engine, worlds, zero):
    """The messages of flush_until(), as theirs()."""
    world = set_up(engine, worlds, zero)
    do = {"fire": world.fire, "end": world.end}
    for at_s, events in by_time(worlds):
        engine.query("SELECT flush_until(%s)", world.at(at_s))
        for _, what, name, *more in events:
            if what == "silence":
                match, start_s, end_s = more
                world.silence(name, json.loads(as_json(match)), start_s, end_s)
            elif what == "unsilence":
                world.end_silence(name, at_s)
            else:
                do[what](name, at_s)
    engine.query("SELECT flush_until(%s)", world.at(SPAN_S))
    ends = {name: w.phase_s + END_S for w in worlds for name in w.receivers}
    rows = engine.query("""SELECT made_at, channel_id::text, group_id::text, content FROM notifications
        ORDER BY made_at""")
    return grouped((world.names[channel], content["group"], group, [
        (a["labels"], a["status"]) for a in content["alerts"] + content["passed"]])
        for at, channel, group, content in rows if world.seconds(at) <= ends[world.names[channel]])


def ordered(messages):
    """To sort groups by."""
    return [[sorted(side) for side in message] for message in messages]


def difference(world, key, got, wanted):
    """As lines."""
    def text(messages):
        return [" ".join(sorted(sign + ",".join(v for k, v in sorted(json.loads(a).items()) if k != "world")
                                for sign, side in zip("+-", m) for a in side)) or "nothing" for m in messages]

    yield f"{world.name} ({world.sort}) {key}:"
    yield f"    we send {text(got)}"
    yield f"    Alertmanager sends {text(wanted)}"
    yield f"    {json.dumps(world.route)}"
    yield from (f"    {event}" for event in world.events)


def main(arguments):
    if not shutil.which(PROGRAM):
        raise SystemExit(f"{PROGRAM} is missing; install the package {PROGRAM}")
    seed = int(arguments[0]) if arguments else random.randrange(10 ** 6)
    print(f"seed {seed}: tests/alerts/beside_alertmanager.py {seed} repeats it")
    rng = random.Random(seed)
    worlds = [WorldScript(rng, n) for n in range(WORLDS)]
    with Engine() as engine:
        # Windows begin with a minute: halfway between flushes, too. Alertmanager has a few seconds to start.
        zero = (int(time.time()) // STEP_S + 5) * STEP_S
        wanted, got = theirs(worlds, zero), ours(engine, worlds, zero)
    names = {name: w for w in worlds for name in w.receivers}
    passed, keys = 0, sorted(set(wanted) | set(got))
    for key in keys:
        w = names[key[0]]
        filtered = without_untold if w.rules.get("plain") else list
        sides = [sorted(filter(None, map(f, side.get(key, {}).values())), key=ordered)
                 for f, side in ((list, got), (filtered, wanted))]
        passed += sides[0] == sides[1]
        if sides[0] != sides[1]:
            print(*difference(w, key, *(sum(side, []) for side in sides)), sep="\n")
    print(f"passed {passed} of {len(keys)}")
    return passed != len(keys)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
