#!/usr/bin/python3
"""Random rules and samples: the engine, a plain model (model.py) and promtool must say the same.

    tests/alerts/differential.py [SEED]             "N points, M differ" last; exit status 1 if some differ
    tests/alerts/differential.py --wrong FAULT [SEED]   what it says of an engine with a fault: see FAULTS

A point is the state of one alert of one level at one time. promtool judges a rule of two levels as two rules,
and clear values by what it fired at the evaluation before. Where docs/alerts.md says that we differ from
Prometheus, the model has both: promtool is held against the one, the engine against the other. Then the
history must be the same in bursts of any length and with two watchers that take turns. At last the comparison
itself is put to the test: it must find each of FAULTS.
"""
import collections
import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import psycopg2                                 # noqa: E402
from psycopg2.extras import execute_values      # noqa: E402
from engine import METRICS, Case, Engine        # noqa: E402
from model import MISSING, Level, together, value_at        # noqa: E402

INTERVAL_S = 60
LOOKBACK_S = 300
TIMES = range(0, 25 * INTERVAL_S, INTERVAL_S)
SERVERS = [f"s{n}" for n in range(10)]
RULES, FAULTY_RULES = 9, 2     # of each source: of the comparison, and of an engine with a fault
URL = "https://shop.example.com/"
# A sum depends in its last digits on the order in which rows were read.
HISTORY = """SELECT at, rule_id, alert_id, subject_key, from_state, to_state, severity,
    to_char(value, '9.99999999EEEE'), reason FROM alert_changes ORDER BY id"""

# ---- what rules may be made of ---------------------------------------------------------------------
LEVELS = [20.25, 40, 60.75, 80]
SPEEDS = [-0.0837, 0.1037, 0.3071, 0.7013]      # no aggregate is ever exactly so: rounding decides nothing
# Of each aggregate: PromQL, levels to choose from, and how far the next level is.
AGGS = {
    "last": ("{m}", LEVELS, 1), "answer": ("{m}", LEVELS, 1),
    "avg": ("avg_over_time({m}[{w}s])", LEVELS, 1), "min": ("min_over_time({m}[{w}s])", LEVELS, 1),
    "max": ("max_over_time({m}[{w}s])", LEVELS, 1),
    "changes": ("changes({m}[{w}s])", [1.5, 2, 3.5], 1), "resets": ("resets({m}[{w}s])", [0.5, 1, 2.5], 1),
    "deriv": ("deriv({m}[{w}s])", SPEEDS, 0.0211),
    "predict": ("predict_linear({m}[{w}s], {ahead})", [-10.037, 33.013, 90.071], 1.003),
    "rate": ("rate({m}[{w}s])", SPEEDS, 0.0211), "irate": ("irate({m}[{w}s])", SPEEDS, 0.0211),
    "increase": ("increase({m}[{w}s])", [7.037, 31.013, 95.071], 1.003),
    "absent": ("(1 * (present unless on(server) {m}) or on(server) 0 * present)", [0.5, 1], 0.2),
    "count": ("(sum_over_time({m}[{w}s]) or on(server) 0 * present)", [2, 7.5, 12], 1),
    "quantile": ("(quantile_over_time({q}, {m}[{w}s]) and count_over_time({m}[{w}s]) >= {least})",
                 [20.037, 51.013, 80.071], 1.003),
}
CLEAR_EXPR = "{expr} {op} {limit} or ({expr} {op} {clear} and on(server) ALERTS{{{name}}})"


def walk(rng):
    """A gauge from 0 to 100."""
    value = rng.randint(0, 100)
    while True:
        step = rng.randint(-100, 100) if rng.random() < 0.1 else rng.randint(-15, 15)
        value = min(100, max(0, value + step))
        yield value


def counter(rng):
    """Now and then it starts anew."""
    value = rng.choice([0, 5, 1000])
    while True:
        value = rng.randint(0, 9) if rng.random() < 0.07 else value + rng.choice([0, 3, rng.randint(0, 60)])
        yield value


def few(rng):
    while True:
        yield rng.choice([0, 0, 1, 2, 5])


def odd(rng):
    """A gauge that may be no number."""
    for value in walk(rng):
        yield rng.choice([float("nan"), float("inf"), float("-inf")]) if rng.random() < 0.15 else value


# Of each source of values: what they are like, and the aggregates of its rules.
GAUGE = (walk, ["last", "last", "avg", "min", "max", "changes", "resets", "deriv", "predict", "absent"])
COUNTER = (counter, ["rate", "rate", "increase", "irate", "resets", "last"])
SOURCES = {metric: COUNTER if n % 3 == 1 else GAUGE for n, metric in enumerate(METRICS)} | {
    "slow_ms": (walk, ["quantile"]), "lines": (few, ["count"]), "answers": (odd, ["answer"])}


def random_samples(rng, values):
    """With holes and ends: {second: value or None}."""
    samples = {}
    for at_s, value in zip(TIMES, values):
        kind = rng.random()
        if kind < 0.85:
            samples[at_s] = value
        elif kind < 0.9:
            samples[at_s] = None
    if rng.random() < 0.2:              # an end, longer than any look-back
        end_s = rng.choice(TIMES)
        samples = {t: v for t, v in samples.items() if not end_s <= t < end_s + 2 * LOOKBACK_S}
    return samples


def random_rule(rng, number, source):
    op = rng.choice([">", ">", ">=", "<", "<=", "==", "!="])
    agg = rng.choice(SOURCES[source][1])
    _, levels, step = AGGS[agg]
    middle, worse = rng.choice(levels), {">": 1, "<": -1}.get(op[0], 0) * rng.choice([1, 10]) * step
    clears = worse and rng.random() < 0.6
    return {
        "number": number, "source": source, "op": op, "agg": agg, "window_s": rng.choice([60, 120, 300, 600]),
        "for_s": rng.choice([0, 30, 60, 120, 300]), "keep_firing_s": rng.choice([0, 0, 60, 90, 240]),
        "ahead_s": rng.choice([60, 600, 3600]), "percent": rng.choice([0, 50, 90, 95, 99.9, 100]),
        "min_results": rng.choice([1, 2, 5]),
        "warning": middle, "critical": middle + worse if worse else None,
        "warning_clear": middle - 2 * worse if clears else None,
        "critical_clear": middle - worse if clears else None,
    }


def scene(rng, count):
    """Series, and so many rules of each source."""
    series = {(source, server): random_samples(rng, values(rng)) for source, (values, _) in SOURCES.items()
              for server in SERVERS}
    return series, [random_rule(rng, n * count + k, source)
                    for n, source in enumerate(SOURCES) for k in range(count)]


def levels_of(rule):
    return {level: (rule[level], rule[f"{level}_clear"]) for level in ("warning", "critical")
            if rule[level] is not None}


# ---- promtool --------------------------------------------------------------------------------------
def promql_rule(rule, level):
    limit, clear = levels_of(rule)[level]
    name = f"r{rule['number']}_{level}"
    expr = AGGS[rule["agg"]][0].format(m=rule["source"], w=rule["window_s"], ahead=rule["ahead_s"],
                                       q=rule["percent"] / 100, least=rule["min_results"])
    text = f"{expr} {rule['op']} {limit}"
    if clear is not None:
        text = CLEAR_EXPR.format(expr=expr, op=rule["op"], limit=limit, clear=clear,
                                 name=f'alertname="{name}", alertstate="firing"')
    return {"alert": name, "expr": text, "for": f"{rule['for_s']}s",
            "keep_firing_for": f"{rule['keep_firing_s']}s"}


def written(samples):
    return " ".join("_" if t not in samples else "stale" if samples[t] is None else str(samples[t])
                    for t in TIMES)


def ask_promtool(folder, series, rules, states):
    """The complaints of promtool about these states, {(number, level, server): [state at each time]}."""
    (folder / "rules.json").write_text(json.dumps({"groups": [{"name": "g", "rules": [
        promql_rule(rule, level) for rule in rules for level in levels_of(rule)]}]}))
    tests = [{"expr": "ALERTS", "eval_time": f"{at_s}s", "exp_samples": [
        {"labels": f'ALERTS{{alertname="r{number}_{level}", alertstate="{found[n]}", server="{server}"}}',
         "value": 1} for (number, level, server), found in states.items() if found[n] != "inactive"]}
        for n, at_s in enumerate(TIMES)]
    there = {("present", server): dict.fromkeys(TIMES, 1) for server in SERVERS}
    (folder / "test.json").write_text(json.dumps({
        "rule_files": ["rules.json"], "evaluation_interval": f"{INTERVAL_S}s", "tests": [{
            "interval": f"{INTERVAL_S}s", "promql_expr_test": tests, "input_series": [
                {"series": f'{metric}{{server="{server}"}}', "values": written(samples)}
                for (metric, server), samples in (series | there).items()]}]}))
    done = subprocess.run(["promtool", "test", "rules", "test.json"], cwd=folder, capture_output=True,
                          text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


# ---- the model -------------------------------------------------------------------------------------
def ask_model(series, rules, as_prometheus):
    """The states, ours or those of Prometheus: where a subject that is gone is like one without a value."""
    states = {}
    for rule in rules:
        for server in SERVERS:
            values = [value_at(series[rule["source"], server], t, rule, LOOKBACK_S) for t in TIMES]
            if as_prometheus:
                values = [None if v == MISSING else v for v in values]
            for level, (limit, clear) in levels_of(rule).items():
                machine = Level(rule["op"], limit, clear, rule["for_s"], rule["keep_firing_s"])
                states[rule["number"], level, server] = [machine.step(v, t) for v, t in zip(values, TIMES)]
    return states


# ---- the engine ------------------------------------------------------------------------------------
class Loaded:
    """Series and rules in the database. fault_of: a fault of FAULTS for each source, or None."""

    def __init__(self, engine, series, rules, fault_of):
        engine.begin(INTERVAL_S)
        engine.query("DELETE FROM health_checks; DELETE FROM log_entries; DELETE FROM external_answers")
        self.engine = engine
        self.cases = {source: Case(engine, n) for n, source in enumerate(SOURCES)}
        self.series = {}
        for (source, server), samples in series.items():
            self.series[source, server] = fault_of(source).get("samples", lambda s: s)(samples)
        for source, case in self.cases.items():
            for server in SERVERS:
                case.agent(server)
                {"slow_ms": self.checks, "lines": self.lines, "answers": lambda *_: None}.get(
                    source, case.samples)(server, sorted(self.series[source, server].items()))
        self.ids = {}
        for rule in rules:
            self.ids[rule["number"]] = self.add_rule(rule | fault_of(rule["source"]).get("rule", dict)(rule))

    def rows(self, source, server, rows):
        at, name = self.engine.at, self.cases[source].server(server)
        return [(at(t), at(t), name, "shop", *more) for t, *more in rows]

    def checks(self, server, rows):
        execute_values(self.engine.cursor, """INSERT INTO health_checks ("timestamp", received_at, vps_name,
            app_name, response_time_ms, success, url) VALUES %s""",
                       self.rows("slow_ms", server, [(t, v, True, URL) for t, v in rows]))

    def lines(self, server, rows):
        lines = [(t, "ERROR", "x") for t, v in rows for _ in range(v or 0)]
        execute_values(self.engine.cursor, """INSERT INTO log_entries ("timestamp", received_at, vps_name,
            app_name, level, message) VALUES %s""", self.rows("lines", server, lines))

    def add_rule(self, rule):
        case, agg = self.cases[rule["source"]], rule["agg"]
        columns = {k: rule[k] for k in "op warning warning_clear critical critical_clear for_s "
                                       "keep_firing_s".split()}
        kind, names = {"absent": ("absent", ""), "quantile": ("check_slow", "window_s percent min_results"),
                       "count": ("log_count", "window_s"), "answer": ("promql", "promql")}.get(
            agg, ("threshold", "agg window_s ahead_s"))
        if kind not in ("absent", "threshold"):
            columns["metric"] = None
        params = {name: rule.get(name, "up") for name in names.split()}
        rule_id = case.rule(kind=kind, interval_s=INTERVAL_S, lookback_s=LOOKBACK_S, params=params, **columns)
        if kind == "promql":
            self.answers(rule, rule_id)
        return rule_id

    def answers(self, rule, rule_id):
        """Of Prometheus: the series that have a value."""
        for at_s in TIMES:
            values = {s: value_at(self.series["answers", s], at_s, rule, LOOKBACK_S) for s in SERVERS}
            self.engine.query("SELECT external_values(%s, %s, %s::jsonb)", rule_id, self.engine.at(at_s),
                              json.dumps([{"subject": {"server": self.cases["answers"].server(s)},
                                           "value": str(v)} for s, v in values.items() if v != MISSING]))

    def keys(self):
        """{subject_key: (source, server)}"""
        more = {"slow_ms": {"app": "shop", "check": URL}, "lines": {"app": "shop"}}
        subjects = {(source, server): {"server": case.server(server)} | more.get(source, {})
                    for source, case in self.cases.items() for server in SERVERS}
        keys = self.engine.query("""SELECT md5(s::jsonb::text)::uuid::text
            FROM unnest(%s) WITH ORDINALITY u(s, n) ORDER BY n""", [json.dumps(s) for s in subjects.values()])
        return {key: place for (key,), place in zip(keys, subjects)}

    def states(self, rules):
        """{(number, server): [(state, severity) at each time]} of alert_changes."""
        changes, keys = collections.defaultdict(list), self.keys()
        for rule_id, key, at_s, state, severity in self.engine.query("""SELECT rule_id::text,
                subject_key::text, extract(epoch FROM at)::float8, to_state, severity
                FROM alert_changes ORDER BY id"""):
            state = (state, severity) if state in ("pending", "firing") else ("inactive", None)
            changes[rule_id, keys[key][1]].append((at_s - self.engine.start_s, state))
        return {(rule["number"], server): filled(changes[self.ids[rule["number"]], server])
                for rule in rules for server in SERVERS}


def filled(changes):
    """The state at each time."""
    found, now, rows = [], ("inactive", None), iter(changes + [(float("inf"), None)])
    row = next(rows)
    for at_s in TIMES:
        while row[0] <= at_s:
            now, row = row[1], next(rows)
        found.append(now)
    return found


def replay_again(engine, rng):
    """The same time in bursts of random length, by two watchers in turn."""
    engine.query("DELETE FROM alerts; DELETE FROM alert_changes")
    engine.query("UPDATE alert_clock SET evaluated_until = %s", engine.at(-0.000001))
    other = psycopg2.connect(engine.db.dsn)
    other.autocommit = True
    cursors, at_s = [engine.cursor, other.cursor()], 0
    while at_s < TIMES[-1]:
        at_s = min(TIMES[-1], at_s + rng.choice([7, 60, 61, 180, 600]))
        rng.choice(cursors).execute("SELECT evaluate_alerts(%s)", [engine.at(at_s)])
    other.close()
    return engine.query(HISTORY)


def differences(engine, series, rules, model, fault_of=lambda source: {}):
    """[(rule, server, seconds, what the engine says, what the model says)]"""
    loaded = Loaded(engine, series, rules, fault_of)
    engine.run(TIMES[-1])
    nothing, wrong = ["inactive"] * len(TIMES), []
    states = loaded.states(rules)
    for rule in rules:
        for server in SERVERS:
            warning, critical = (model.get((rule["number"], level, server), nothing)
                                 for level in ("warning", "critical"))
            wrong += [(rule, server, at_s, got, want) for at_s, got, want in zip(
                TIMES, states[rule["number"], server], map(together, warning, critical)) if got != want]
    return wrong


# ---- is a fault found? -----------------------------------------------------------------------------
# What may be wrong with an engine: other columns of rules, or other samples.
FAULTS = {
    "window: its left end is open": {"rule": lambda r: {"window_s": r["window_s"] - 1}},
    "shift: a sample counts a second late": {"samples": lambda s: {t + 1: v for t, v in s.items()}},
    "for: a second too long": {"rule": lambda r: {"for_s": r["for_s"] + 1}},
    "keep: a second too long": {"rule": lambda r: {"keep_firing_s": r["keep_firing_s"] + 1}},
    "clear: it never ends": {"rule": lambda r: dict.fromkeys(
        ("warning_clear", "critical_clear"), {">": -1e6, "<": 1e6}.get(r["op"][0]))},
    "stale: the last value goes on": {"samples": lambda s: {t: v for t, v in s.items() if v is not None}},
}


def faults_missed(engine):
    """An engine with a fault for each source. Those that nobody notices, as sentences."""
    series, rules = scene(random.Random(1), FAULTY_RULES)       # always the same: chance hides no fault
    fault = {source: list(FAULTS)[n % len(FAULTS)] for n, source in enumerate(METRICS)}
    found = differences(engine, series, rules, ask_model(series, rules, False),
                        lambda source: FAULTS.get(fault.get(source), {}))
    seen = {fault.get(rule["source"]) for rule, *_ in found}
    if None in seen:
        yield "what has no fault differs when something else has one"
    for name in sorted(set(FAULTS) - seen):
        yield f"nobody notices an engine with the fault {name!r}"


def chosen(arguments):
    """(the fault of --wrong or {}, the seed)."""
    fault = {}
    if arguments[:1] == ["--wrong"]:
        fault = {name.split(":")[0]: f for name, f in FAULTS.items()}[arguments[1]]
        arguments = arguments[2:]
    return fault, int(arguments[0]) if arguments else random.randrange(1 << 32)


def main(arguments):
    fault, seed = chosen(arguments)
    print(f"seed {seed}: tests/alerts/differential.py {seed} repeats it")
    rng = random.Random(seed)
    series, rules = scene(rng, RULES)
    model, theirs = (ask_model(series, rules, as_prometheus) for as_prometheus in (False, True))
    listed = sum(a != b for place, states in model.items() for a, b in zip(states, theirs[place]))
    print(f"{listed} points are not as Prometheus has them, as docs/alerts.md says")
    with Engine() as engine:
        complaints = [f"{rule} {server} at {at_s} s: {got}, the model says {want}" for
                      rule, server, at_s, got, want in differences(engine, series, rules, model,
                                                                   lambda source: fault)]
        history = engine.query(HISTORY)
        if replay_again(engine, rng) != history:
            complaints.append("the history differs when it is made in bursts by two watchers")
        said = ask_promtool(Path(engine.folder), series, rules, theirs) if shutil.which("promtool") \
            else "promtool is missing: install the package prometheus"
        complaints += [f"promtool says: {said[:2000]}"] if said else []
        complaints += [] if fault else faults_missed(engine)
    print("".join(f"{sentence}\n" for sentence in complaints[:10]), end="")
    print(f"{len(model) * len(TIMES)} points, {len(complaints)} differ")
    return bool(complaints)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
