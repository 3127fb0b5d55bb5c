"""Scenarios of tables (tables.py): played on the engine, and compared line by line.

Sections of the same interval are played at once, on one line of time. It may be walked in two ways, which
must give the same history: one evaluation after the other, or in bursts by two watchers in turn.
"""
import datetime
import functools
import itertools
import json
import random
import uuid

import psycopg2

from engine import DAY_S, JUST_BEFORE_S
from feeds import FEEDS, URL, Feed, Place
from tables import TableError, pairs

HISTORY = """SELECT at, rule_id, alert_id, subject_key::text, from_state, to_state, severity, value, reason
    FROM alert_changes ORDER BY id"""
LETTERS = {("pending", "warning"): "w", ("pending", "critical"): "c", ("firing", "warning"): "W",
           ("firing", "critical"): "C", ("error", "warning"): "E", ("error", "critical"): "E"}
POLICY = {"catch_up_s": 300, "settle_s": 120, "grace_s": 600, "tolerance_s": 3600}
FACTS = """vps_metrics health_checks log_entries gaps rejects metrics_1h log_patterns external_answers
    heartbeats heartbeat_pings latest_checks""".split()
BATCH = 12                      # sections that are played at once
CHANGE, FACT, RUN, END = range(4)       # in this order at one time
NAMES = uuid.UUID("7f2d4c1e-0000-4000-8000-000000000000")


class Player:
    """A line: its server, application and rule."""

    def __init__(self, play, number, line):
        self.play, self.section, self.line, self.engine = play, play.section, line, play.engine
        self.labels = dict(line.labels)
        self.server = f"{play.prefix}{number}"
        own = f"app{self.server}" if play.section.kind == "new_pattern" else "shop"
        self.app = self.labels.pop("app", own)
        self.rule_id = self.of_rule = self.heartbeat = None

    def at(self, time, sql, *arguments):
        """Run a statement at this time. An evaluation at the same time sees it."""
        seconds = (time - self.engine.at(0)).total_seconds()
        self.play.events.append((seconds, FACT, lambda: self.engine.query(sql, *arguments)))

    def insert_agent(self):
        known = {k: v for k, v in self.labels.items() if k not in SUBJECT_LABELS}
        self.engine.query("""INSERT INTO servers (vps_name, created_by, labels) VALUES (%s, '', %s)
            ON CONFLICT (vps_name) DO UPDATE SET labels = excluded.labels""", self.server, json.dumps(known))
        first_s = float(self.labels.get("since", -30 * DAY_S))
        last_s = self.section.length * self.section.every_s
        self.engine.insert("agents", vps_name=self.server, app_name=self.app, epoch=1,
                           interval_s=int(self.labels.get("interval", 60)),
                           first_seen_at=self.engine.at(first_s), last_seen_at=self.engine.at(last_s))

    def subject(self):
        section = self.section
        names = FEEDS[section.kind][1]
        if (section.metric or "").startswith("app_"):
            names = ("server", "app")
        elif (section.metric or "").startswith("mount_"):
            names = ("server", "mount")
        names = {"server": ("server",), "application": ("app",), "fleet": ()}.get(
            section.params.get("by"), names)
        known = {"server": self.server, "app": self.app, "heartbeat": self.server, "job": "maintain",
                 "check": URL} | self.labels
        known["pattern"] = known.get("pattern", "").replace("-", " ")
        return {name: known[name] for name in names}


SUBJECT_LABELS = ("check", "mount", "level", "pattern", "past", "interval", "since", "cron", "zone", "every",
                  "grace", "created", "only")


class Play:
    """A section: its rules, facts and events in the database."""

    def __init__(self, engine, section, number):
        if section.kind not in FEEDS:
            raise TableError(f"kind {section.kind!r} is not known")
        self.engine, self.section, self.prefix = engine, section, f"s{number}x"
        self.events, self.rules, self.number, self.overrides = [], [], number, 0
        self.players = [Player(self, n, line) for n, line in enumerate(section.lines)]
        write, names = FEEDS[section.kind]
        feed = Feed(engine)
        for n, player in enumerate(self.players):
            player.insert_agent()
            if n == 0 or "server" not in names:
                self.make_rule(player)
            player.rule_id = self.rules[-1]
            PREPARE.get(section.kind, lambda *_: None)(feed, player)
            for at, facts in enumerate(player.line.facts):
                for fact in facts:
                    write(feed, Place(player, at, fact), fact.value)
        feed.flush()
        for at, verb, words in section.events:
            at_s = at * section.every_s
            self.events.append((at_s, CHANGE, functools.partial(VERBS[verb], self, at_s, words)))

    def insert_rule(self, **columns):
        """A row of alert_rules with an id that is the same in each replay."""
        rule_id = str(uuid.uuid5(NAMES, f"{self.number} {len(self.rules)}"))
        self.engine.insert("alert_rules", **{"rule_id": rule_id, "name": f"rule {rule_id}",
                                             "interval_s": self.section.every_s} | columns)
        self.rules.append(rule_id)
        return rule_id

    def make_rule(self, player):
        section, params = self.section, dict(self.section.params)
        if section.kind == "count_firing":
            player.of_rule = params["of_rule"] = self.insert_rule(
                kind="promql", op=">", warning=0.5, params={"promql": "up"})
        match = [{"label": "server", "op": "=~", "value": self.prefix + "[0-9]+"}]
        if "server" not in player.subject():
            match = []
        params |= {"promql": {"promql": "up"}, "sql": {"sql": "SELECT 1"}}.get(section.kind, {})
        self.insert_rule(**{"kind": section.kind, "metric": section.metric, "params": params, "match": match}
                         | section.rule)

    def end(self):
        """Nothing of it is judged any longer."""
        query = self.engine.query
        query("DELETE FROM alert_rules WHERE rule_id = ANY (%s::uuid[])", self.rules)
        for table in "agents", "latest_checks":
            query(f"DELETE FROM {table} WHERE starts_with(vps_name, %s)", self.prefix)
        query("DELETE FROM heartbeats WHERE starts_with(name, %s)", self.prefix)


# ---- what kinds need beside their facts ----------------------------------------------------------------
def prepare_check(feed, player):
    feed.add("latest_checks", {
        "vps_name": player.server, "app_name": player.app, "url": player.subject()["check"],
        "url_key": str(uuid.uuid4()), "timestamp": player.engine.at(0), "success": True,
        "interval_s": int(player.labels.get("interval", player.section.every_s))})


def prepare_agent(feed, player):
    """Another agent is always heard: else the whole fleet would be silent."""
    engine, section = player.engine, player.section
    first_s = float(player.labels.get("since", -DAY_S))
    engine.query("UPDATE agents SET first_seen_at = %s, last_seen_at = %s WHERE vps_name = %s",
                 engine.at(first_s), engine.at(first_s), player.server)
    if player.line is not section.lines[0] or "only" in player.labels:
        return
    engine.insert("agents", vps_name=player.play.prefix + "base", app_name="other", epoch=1, interval_s=60,
                  first_seen_at=engine.at(-DAY_S), last_seen_at=engine.at(
                      -DAY_S if section.kind == "fleet_silent" else section.length * section.every_s))
    for n in range(section.length if section.kind != "fleet_silent" else 0):
        feed.add("vps_metrics", {"timestamp": engine.at(n * section.every_s),
                                 "received_at": engine.at(n * section.every_s),
                                 "vps_name": player.play.prefix + "base", "app_name": "other"})


def prepare_heartbeat(_, player):
    labels = player.labels
    player.heartbeat = str(uuid.uuid4())
    schedule = {"schedule": labels["cron"].replace("_", " ")} if "cron" in labels else {
        "every_s": int(labels["every"])}
    player.engine.insert("heartbeats", heartbeat_id=player.heartbeat, name=player.server,
                         time_zone=labels.get("zone", "UTC"), grace_s=int(labels.get("grace", 0)),
                         labels={"server": player.server}, **schedule,
                         created_at=player.engine.at(float(labels.get("created", 0))))


def prepare_past(feed, player):
    """{past=10,12}: what the metric was in the same hour, a week ago and two weeks ago; _ for nothing."""
    hour = player.engine.at(0).replace(minute=0, second=0)
    for week, value in enumerate(player.labels.get("past", "_").split(","), 1):
        for hours, v in enumerate(value.split(";"), 0):
            if v != "_":
                at = hour - datetime.timedelta(weeks=week) + datetime.timedelta(hours=hours)
                feed.add("metrics_1h", {"timestamp": at, "vps_name": player.server, "app_name": player.app,
                                        "samples": 60, player.section.metric + "_avg": float(v)})


PREPARE = {"check": prepare_check, "check_slow": prepare_check, "certificate": prepare_check,
           "agent_state": prepare_agent, "agent_silent": prepare_agent, "fleet_silent": prepare_agent,
           "heartbeat": prepare_heartbeat, "anomaly": prepare_past}


# ---- what happens ---------------------------------------------------------------------------------------
def chosen(play, words):
    """The players with these labels; no words: all."""
    wanted = {k: str(v) for k, v in pairs(words).items()}
    return [p for p in play.players if wanted.items() <= dict(p.line.labels, name=p.line.name).items()]


def do_rule(play, _, words):
    columns = pairs(words)
    names = ", ".join(f"{c} = %s" for c in columns)
    play.engine.query(f"UPDATE alert_rules SET {names} WHERE rule_id = ANY (%s::uuid[])",
                      *[json.dumps(v) if isinstance(v, (dict, list)) else v for v in columns.values()],
                      play.rules)


def do_delete(play, *_):
    play.engine.query("DELETE FROM alert_rules WHERE rule_id = ANY (%s::uuid[])", play.rules)


def do_override(play, _, words):
    """override LABEL=VALUE COLUMN=VALUE ...: the last one comes last."""
    label, value = words[0].split("=", 1)
    play.overrides += 1
    for rule_id in play.rules:
        play.engine.insert("rule_patches", rule_id=rule_id, position=play.overrides, changes=pairs(words[1:]),
                           match=[{"label": label, "op": "=", "value": value}])


def do_no_override(play, *_):
    play.engine.query("DELETE FROM rule_patches WHERE rule_id = ANY (%s::uuid[])", play.rules)


def do_retire(play, at_s, words):
    for p in chosen(play, words):
        play.engine.query("UPDATE servers SET retired_at = %s WHERE vps_name = %s", play.engine.at(at_s),
                          p.server)


def do_unretire(play, _, words):
    for p in chosen(play, words):
        play.engine.query("UPDATE servers SET retired_at = NULL WHERE vps_name = %s", p.server)


def do_remove(play, _, words):
    """The application is gone from the server."""
    for p in chosen(play, words):
        for table in "agents", "latest_checks":
            play.engine.query(f"DELETE FROM {table} WHERE (vps_name, app_name) = (%s, %s)", p.server, p.app)


def do_label(play, _, words):
    """label LABEL=VALUE [of those with LABEL=VALUE ...]: of their servers."""
    for p in chosen(play, words[1:]):
        play.engine.query("UPDATE servers SET labels = labels || %s::jsonb WHERE vps_name = %s",
                          json.dumps(pairs(words[:1])), p.server)


def do_match(play, _, words):
    """Another scope: match LABEL=VALUE, beside the section's own servers."""
    match = [{"label": "server", "op": "=~", "value": play.prefix + "[0-9]+"}]
    match += [{"label": k, "op": "=", "value": str(v)} for k, v in pairs(words).items()]
    play.engine.query("UPDATE alert_rules SET match = %s WHERE rule_id = ANY (%s::uuid[])", json.dumps(match),
                      play.rules)


def do_evaluate(play, at_s, words):
    """Another watcher, whose clock is wrong by so many seconds."""
    play.engine.query("SELECT evaluate_alerts(%s)", play.engine.at(at_s + float(words[0])))


VERBS = {"rule": do_rule, "delete": do_delete, "override": do_override, "no_override": do_no_override,
         "retire": do_retire, "unretire": do_unretire, "remove": do_remove, "label": do_label,
         "match": do_match, "evaluate": do_evaluate}


# ---- time ------------------------------------------------------------------------------------------------
def begin(engine, sections):
    first = sections[0]
    engine.begin(first.every_s)
    engine.query("; ".join(f"DELETE FROM {table}" for table in FACTS))
    if first.start:
        engine.start_s = datetime.datetime.fromisoformat(first.start).timestamp()
    if first.away or "catch_up_s" in first.policy:
        engine.policy(**POLICY)
    if first.policy:
        engine.policy(**first.policy)
    if first.kind == "job":
        engine.query("DELETE FROM job_runs")
        engine.query("UPDATE schema_version SET applied_at = %s", engine.at(-400 * DAY_S))
    engine.start_clock()


def calls(sections, plays, rng):
    """When evaluate_alerts() is called, in order: (seconds, what to do before or None)."""
    every_s, length = sections[0].every_s, max(s.length for s in sections)
    away = sections[0].away
    runs = [n for n in range(length) if not any(a < n < b for a, b in away)]
    if rng:                     # only some of them
        needed = {n for a, b in away for n in (a, b)} | {length - 1}
        runs = [n for n in runs if n in needed or rng.random() < 0.3]
    ends = [((s.length - 1) * every_s, END, p.end) for s, p in zip(sections, plays)]
    steps = [(n * every_s, RUN, None) for n in runs]
    steps += [step for p in plays for step in p.events] + ends
    return sorted(steps, key=lambda step: step[:2])


def walk(engine, sections, plays, cursors, rng=None):
    """Evaluates all of the time. Before something changes, what was due is evaluated."""
    now_s, every_s = -1, sections[0].every_s
    away = [(a * every_s, b * every_s) for a, b in sections[0].away]
    for at_s, sort, do in calls(sections, plays, rng):
        until_s = at_s - JUST_BEFORE_S if sort == CHANGE else at_s
        idle = sort == FACT or until_s // every_s == now_s // every_s or any(a < until_s < b for a, b in away)
        if not idle:
            next(cursors).execute("SELECT evaluate_alerts(%s)", [engine.at(until_s)])
            now_s = until_s
            engine.now_s = max(engine.now_s, engine.start_s + int(until_s) + 1)
        if do:
            do()


def changes_of(engine):
    """{(rule, subject key): [(seconds, letter)]}."""
    ret = {}
    for at, rule, _, key, _, state, severity, *_ in engine.query(HISTORY):
        ret.setdefault((str(rule), key), []).append(
            ((at - engine.at(0)).total_seconds(), LETTERS.get((state, severity), ".")))
    return ret


def found_states(player, changes):
    """The letters of a line, one for each evaluation."""
    key, = player.engine.query("SELECT md5(%s::jsonb::text)::uuid::text", json.dumps(player.subject()))[0]
    mine = changes.get((player.rule_id, key), [])
    return [next((letter for at_s, letter in reversed(mine) if at_s <= n * player.section.every_s), ".")
            for n in range(len(player.line.states))]


def compare(player, changes):
    """What is wrong with a line, as sentences."""
    found = found_states(player, changes)
    if found != player.line.states:
        yield f"{player.section.title}: got {' '.join(found)}"
        yield f"{' ' * len(player.section.title)}  not {' '.join(player.line.states)}"


def play_once(engine, sections, cursors, rng=None):
    begin(engine, sections)
    plays = [Play(engine, s, n) for n, s in enumerate(sections)]
    walk(engine, sections, plays, cursors, rng)
    return plays


def play(engine, sections):
    """Of each section, and of each of its lines, what is wrong, as sentences."""
    plays = play_once(engine, sections, itertools.repeat(engine.cursor))
    changes = changes_of(engine)
    return [[list(compare(player, changes)) for player in p.players] for p in plays]


def batches(sections):
    """Lists of numbers of sections that are played at once."""
    apart = [n for n, s in enumerate(sections) if s.alone]
    yield from ([n] for n in apart)

    def sort(n):
        return sections[n].every_s, sections[n].kind == "new_pattern"

    together = sorted(set(range(len(sections))) - set(apart), key=lambda n: (sort(n), sections[n].length))
    for _, group in itertools.groupby(together, key=sort):
        group = list(group)
        for first in range(0, len(group), BATCH):
            yield group[first:first + BATCH]


# ---- the same history ------------------------------------------------------------------------------------
def histories(engine, sections, seed):
    """The history, without its place in time, of each way to walk.

    There are no bursts where absences are judged, nor of what only a punctual evaluation gives.
    """
    other = psycopg2.connect(engine.db.dsn)
    other.autocommit = True
    both = itertools.cycle([engine.cursor, other.cursor()])
    bursts = not (sections[0].away or "catch_up_s" in sections[0].policy or sections[0].punctual)
    ways = ((itertools.repeat(engine.cursor), None),
            (itertools.cycle([engine.cursor, other.cursor()]), random.Random(seed) if bursts else None))
    for cursors, rng in ways:
        play_once(engine, sections, cursors, rng)
        yield [repr((at - engine.at(0), rule, *rest)) for at, rule, _, *rest in engine.query(HISTORY)]
    other.close()
