#!/usr/bin/python3
"""Random rules and samples: the engine, a plain model (model.py) and promtool must say the same.

    tests/alerts/differential.py [SEED]      "N points, M differ" last; the exit status is 1 if some differ

A point is the state of one alert of one level at one time. promtool judges a rule of two levels as two rules,
and clear values by what it fired at the evaluation before. Then the history must be the same in bursts of any
length and with two watchers that take turns.
"""
import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import psycopg2                                 # noqa: E402
from engine import METRICS, Case, Engine        # noqa: E402
from model import Level, together, value_at     # noqa: E402

INTERVAL_S = 60
LOOKBACK_S = 300
TIMES = range(0, 25 * INTERVAL_S, INTERVAL_S)
SERVERS = [f"s{n}" for n in range(10)]
RULES = 10                      # of each metric
CLEAR_EXPR = "{expr} {op} {limit} or ({expr} {op} {clear} and on(server) ALERTS{{{name}}})"
HISTORY = """SELECT at, rule_id, alert_id, subject_key, from_state, to_state, severity, value, reason
    FROM alert_changes ORDER BY id"""


def random_samples(rng):
    """A walk with holes, ends and jumps: {second: value or None}."""
    value, samples = rng.randint(0, 100), {}
    for at_s in TIMES:
        step = rng.randint(-100, 100) if rng.random() < 0.1 else rng.randint(-15, 15)
        value = min(100, max(0, value + step))
        kind = rng.random()
        if kind < 0.85:
            samples[at_s] = value
        elif kind < 0.88:
            samples[at_s] = None
    return samples


def random_rule(rng, number):
    op = rng.choice([">", ">", ">=", "<", "<=", "==", "!="])
    agg = rng.choice(["last", "last", "avg", "min", "max", "changes"])
    middle = rng.choice([1.5, 2, 3.5] if agg == "changes" else [20.25, 40, 60.75, 80])
    worse = {">": 1, "<": -1}.get(op[0], 0) * rng.choice([1, 10])
    rule = {
        "number": number, "op": op, "agg": agg, "window_s": rng.choice([60, 120, 300, 600]),
        "for_s": rng.choice([0, 30, 60, 120, 300]), "keep_firing_s": rng.choice([0, 0, 60, 90, 240]),
        "warning": middle, "critical": middle + worse if worse else None,
        "warning_clear": None, "critical_clear": None,
    }
    if worse and rng.random() < 0.6:
        rule["warning_clear"], rule["critical_clear"] = middle - 2 * worse, middle - worse
    return rule


def levels_of(rule):
    return {level: (rule[level], rule[f"{level}_clear"]) for level in ("warning", "critical")
            if rule[level] is not None}


# ---- promtool --------------------------------------------------------------------------------------
def promql_rule(rule, level, metric):
    limit, clear = levels_of(rule)[level]
    name = f"r{rule['number']}_{level}"
    expr = metric if rule["agg"] == "last" else f"{rule['agg']}_over_time({metric}[{rule['window_s']}s])"
    if rule["agg"] == "changes":
        expr = f"changes({metric}[{rule['window_s']}s])"
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
        promql_rule(rule, level, metric) for metric, rule in rules for level in levels_of(rule)]}]}))
    tests = [{"expr": "ALERTS", "eval_time": f"{at_s}s", "exp_samples": [
        {"labels": f'ALERTS{{alertname="r{number}_{level}", alertstate="{found[n]}", server="{server}"}}',
         "value": 1} for (number, level, server), found in states.items() if found[n] != "inactive"]}
        for n, at_s in enumerate(TIMES)]
    (folder / "test.json").write_text(json.dumps({
        "rule_files": ["rules.json"], "evaluation_interval": f"{INTERVAL_S}s", "tests": [{
            "interval": f"{INTERVAL_S}s", "promql_expr_test": tests, "input_series": [
                {"series": f'{metric}{{server="{server}"}}', "values": written(samples)}
                for (metric, server), samples in series.items()]}]}))
    done = subprocess.run(["promtool", "test", "rules", "test.json"], cwd=folder, capture_output=True,
                          text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


# ---- the model and the engine ------------------------------------------------------------------------
def ask_model(series, rules):
    states = {}
    for metric, rule in rules:
        for server in SERVERS:
            values = [value_at(series[metric, server], t, rule["agg"], rule["window_s"], LOOKBACK_S)
                      for t in TIMES]
            for level, (limit, clear) in levels_of(rule).items():
                machine = Level(rule["op"], limit, clear, rule["for_s"], rule["keep_firing_s"])
                states[rule["number"], level, server] = [
                    machine.step(v, t) for v, t in zip(values, TIMES)]
    return states


def load(engine, series, rules):
    """The same in the database; returns the ids of the rules."""
    engine.begin(INTERVAL_S)
    cases = {}
    for number, metric in enumerate(METRICS):
        case = cases[metric] = Case(engine, number)
        for server in SERVERS:
            case.agent(server)
            case.samples(server, sorted(series[metric, server].items()))
    keys = "op warning warning_clear critical critical_clear for_s keep_firing_s".split()
    return {rule["number"]: (cases[metric], cases[metric].rule(
        interval_s=INTERVAL_S, lookback_s=LOOKBACK_S,
        params={"agg": rule["agg"]} | ({} if rule["agg"] == "last" else {"window_s": rule["window_s"]}),
        **{k: rule[k] for k in keys})) for metric, rule in rules}


def engine_states(engine, loaded):
    """{(number, server): [(state, severity) at each time]} of alert_changes."""
    changes = {}
    for rule_id, server, at_s, state, severity in engine.query("""SELECT c.rule_id::text, s.server,
            extract(epoch FROM c.at)::float8, c.to_state, c.severity FROM alert_changes c
            JOIN (SELECT DISTINCT vps_name AS server FROM agents) s
                ON c.subject_key = md5(jsonb_build_object('server', s.server)::text)::uuid ORDER BY c.id"""):
        changes.setdefault((rule_id, server), []).append((at_s - engine.start_s, state, severity))
    states = {}
    for number, (case, rule_id) in loaded.items():
        for server in SERVERS:
            found, now = [], ("inactive", None)
            rows = iter(changes.get((rule_id, case.server(server)), []) + [(float("inf"), None, None)])
            row = next(rows)
            for at_s in TIMES:
                while row[0] <= at_s:
                    now = row[1:] if row[1] in ("pending", "firing") else ("inactive", None)
                    row = next(rows)
                found.append(now)
            states[number, server] = found
    return states


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


def main(arguments):
    seed = int(arguments[0]) if arguments else random.randrange(1 << 32)
    print(f"seed {seed}: tests/alerts/differential.py {seed} repeats it")
    rng = random.Random(seed)
    series = {(metric, server): random_samples(rng) for metric in METRICS for server in SERVERS}
    rules = [(metric, random_rule(rng, n * RULES + k))
             for n, metric in enumerate(METRICS) for k in range(RULES)]
    model = ask_model(series, rules)
    wrong = 0
    with Engine() as engine:
        loaded = load(engine, series, rules)
        engine.run(TIMES[-1])
        for (number, server), found in engine_states(engine, loaded).items():
            nothing = ["inactive"] * len(TIMES)
            expected = list(map(together, model[number, "warning", server],
                                model.get((number, "critical", server), nothing)))
            for at_s, got, want in zip(TIMES, found, expected):
                wrong += got != want
                if got != want and wrong < 10:
                    print(f"{rules[number][1]} {server} at {at_s} s: {got}, the model says {want}")
        history = engine.query(HISTORY)
        if replay_again(engine, rng) != history:
            print("the history differs when it is made in bursts by two watchers")
            wrong += 1
        complaints = ask_promtool(Path(engine.folder), series, rules, model) if shutil.which("promtool") \
            else "promtool is missing: install the package prometheus"
    if complaints:
        print(f"promtool says: {complaints[:2000]}")
        wrong += 1
    print(f"{len(model) * len(TIMES)} points, {wrong} differ")
    return wrong > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
