"""Cases of kind `dedup` and `script`.

dedup: notify_due() is asked. script: alerts are pushed as to Alertmanager, which keeps what it was told of an
alert: Pushed does that here. flush_groups() does the rest.
"""
import heapq
import itertools
import json

from notify_world import World, name_id, utc

TOLERANCE_S = 0.15
SILENT_S = 10                   # where no message is expected
ATTEMPT_S = 0.1                 # between two attempts at a peer that refuses


def dedup(engine, case):
    """Is a message due, and why?"""
    def ids(names):
        return [name_id(n) for n in names or []]

    last = case.get("last_sent")
    age = last and last.get("age_s")
    now = case["now"]
    got = engine.query("""SELECT notify_due(%s::uuid[], %s::uuid[], make_interval(secs => %s),
        %s::uuid[], %s::uuid[], make_interval(secs => %s), %s)""",
                       last and ids(last.get("firing")), last and ids(last.get("resolved")), age,
                       ids(now.get("firing")), ids(now.get("resolved")), case["repeat_s"],
                       case.get("send_resolved", True))[0][0] or "none"
    reason = case.get("expect_reason") or got
    if (got != "none") != case["expect_notify"] or got != reason:
        yield f"the reason is {got}, not {reason}; a message is due: {case['expect_notify']}"


def matchers(match):
    """A list of matchers; {label: value} is one of equal values."""
    equal = match.items() if isinstance(match, dict) else []
    return [{"label": k, "op": "=", "value": v} for k, v in equal] or list(match)


class Pushed:
    """An alert as pushes have made it: its times, and what was said last."""

    def __init__(self, push, timeout_s):
        now, end = push["at_s"], push.get("ends_at_s")
        self.timeout = end is None
        self.end = now + timeout_s if end is None else end
        self.start = push.get("starts_at_s")
        if self.start is None:
            self.start = now if end is None else end
        self.note = push.get("note")

    def merged(self, old, now):
        """This push after an earlier state: if their times overlap they are one alert."""
        if not old or not (old.start < self.end < old.end or old.start < self.start < old.end):
            return self
        self.start = min(self.start, old.start)
        if self.end <= now:
            if old.end <= now:
                self.end = max(self.end, old.end)
        elif old.end > self.end and not old.timeout:
            self.end = old.end
        return self


class Script:
    """The events of a case in their order; each is applied after the groups were flushed up to then."""

    def __init__(self, engine, case):
        route = case["route"]
        self.world = World(engine, group_by=route["group_by"], group_wait_s=route["group_wait_s"],
                           group_interval_s=route["group_interval_s"], repeat_s=route["repeat_interval_s"])
        self.timeout_s = route.get("resolve_timeout_s", 300)
        self.refuses_until = {r["id"]: max(r.get("fails_until_s") or 0, r.get("slow_until_s") or 0)
                              for r in case["receivers"]}
        self.alerts, self.events, self.order, self.now = {}, [], itertools.count(), 0.0
        for receiver in case["receivers"]:
            self.world.channel(receiver["id"], receiver.get("send_resolved", True))
        for rule in case.get("inhibit") or []:
            source, target = [matchers(rule.get(side) or {}) for side in ("source", "target")]
            engine.query("INSERT INTO inhibitions (source, target, equal) VALUES (%s::jsonb, %s::jsonb, %s)",
                         json.dumps(source), json.dumps(target), rule.get("equal") or [])
        self.plan(case)

    def add(self, at_s, do, *arguments):
        heapq.heappush(self.events, (at_s, next(self.order), do, arguments))

    def plan(self, case):
        for push in case.get("alerts") or []:
            self.add(push["at_s"], self.push, push)
        for n, s in enumerate(case.get("silences") or []):
            set_at_s = s.get("set_at_s") or 0
            self.add(set_at_s, self.world.silence, n, matchers(s["match"]),
                     max(s.get("starts_at_s") or 0, set_at_s), s["ends_at_s"])
            if s.get("delete_at_s") is not None:
                self.add(s["delete_at_s"], self.world.end_silence, n, s["delete_at_s"])
        for event in case.get("events") or []:
            self.add(event["at_s"], *{"reload": (self.world.change_root,),
                                      "start_delay": (self.delay, event)}[event["do"]])

    def delay(self, event):
        """Nothing is said before: the same as after an absence."""
        self.world.engine.query("UPDATE alert_clock SET away_until = %s",
                                self.world.at(event["at_s"] + event["seconds"]))

    def push(self, push):
        key = tuple(sorted(push["labels"].items()))
        a = Pushed(push, self.timeout_s).merged(self.alerts.get(key), self.now)
        self.alerts[key] = a
        if a.end > self.now:
            self.world.fire(push["labels"], self.now, a.start, a.note)
            self.add(a.end, self.run_out, push["labels"], a)
        else:
            self.world.end(push["labels"], self.now, a.end, a.note)

    def run_out(self, labels, alert):
        """The end that a push has announced, if no later push has moved it."""
        if self.alerts[tuple(sorted(labels.items()))] is alert:
            self.world.end(labels, self.now, alert.end, alert.note)

    def flush(self, until):
        """All groups that are due up to this time, and delivery."""
        while self.now < until:
            due = self.world.flush(self.now)
            self.attempt()
            step = min(t for t in (due, until, self.next_attempt()) if t is not None)
            self.now = max(step, self.now + 1e-6)
        self.now = until
        self.world.flush(until)
        self.attempt()

    def next_attempt(self):
        waiting = self.world.engine.query("SELECT 1 FROM notifications WHERE sent_at IS NULL LIMIT 1")
        return self.now + ATTEMPT_S if waiting else None

    def attempt(self):
        for name, until in self.refuses_until.items():
            self.world.attempt(name, self.now, self.now >= until)

    def run(self, until):
        while self.events and self.events[0][0] <= until:
            at, _, do, arguments = heapq.heappop(self.events)
            self.flush(at)
            do(*arguments)
        self.flush(until)
        return [(at, name, [batch_alert(self.world, a) for a in content["alerts"] + content["passed"]])
                for at, name, content in self.world.messages()]


def batch_alert(world, a):
    """As the data name it."""
    ends = a["resolved_at"] and world.seconds(utc(a["resolved_at"]))
    return {"labels": a["labels"], "starts_at_s": world.seconds(utc(a["since"])), "ends_at_s": ends,
            "note": a["problem"]}


def near(a, b, tolerance):
    return (a is None) == (b is None) and (a is None or abs(a - b) <= tolerance)


def same_batch(got, wanted, tolerance):
    """Are these the same alerts, whatever their order?"""
    def key(alert):
        return sorted(alert["labels"].items())

    return len(got) == len(wanted) and all(
        g["labels"] == w["labels"] and g["note"] == w.get("note") and all(
            near(g[t], w[t], tolerance) for t in ("starts_at_s", "ends_at_s"))
        for g, w in zip(sorted(got, key=key), sorted(wanted, key=key)))


def script(engine, case):
    """Every message that the case expects, and no other."""
    end = max((e["to_s"] for e in case["expect"]), default=SILENT_S)
    tolerance = case.get("tolerance_s", TOLERANCE_S)
    checked = tolerance if case.get("times_checked", True) else float("inf")
    messages = Script(engine, case).run(end + tolerance)
    for e in case["expect"]:
        inside = [m for m in messages if m[1] == e["receiver"]
                  and e["from_s"] - tolerance <= m[0] <= e["to_s"] + tolerance]
        found = [m for m in inside if same_batch(m[2], e["alerts"], checked)]
        if not e["alerts"] and inside:
            yield f"{e['receiver']} gets a message at {inside[0][0]} s"
        elif e["alerts"] and not found:
            yield f"{e['receiver']} does not get {e['alerts']} from {e['from_s']} to {e['to_s']} s: {inside}"
        elif found:
            messages.remove(found[0])
    for at, name, batch in messages:
        if at <= end:
            yield f"{name} gets an unexpected message at {at} s: {batch}"
