"""Cases with samples: threshold, hysteresis, rule_change, chained and restart."""
import functools
INTERVAL_S, LOOKBACK_S = 60, 300        # where a case does not say
OPS = {"=": "==", "<>": "!="}
POLICIES = {"inactive": "ok", "alert": "alert"}
COMPARE = {">": float.__gt__, ">=": float.__ge__, "<": float.__lt__, "<=": float.__le__, "==": float.__eq__,
           "!=": float.__ne__}


def rows_of(samples):
    """The samples of a subject as [(seconds, value)].

    A run is [first time, every, count, first value, step].
    """
    if isinstance(samples, dict):
        return [(t + i * every, first + i * step) for t, every, n, first, step in samples["runs"]
                for i in range(n)]
    return samples


def fields_of(rule, row):
    """The columns of alert_rules for a rule of a case, except of a chained one."""
    op = OPS.get(rule["op"], rule["op"])
    fields = {
        "op": op, "warning": rule["threshold"], "warning_clear": rule.get("clear_threshold"),
        "for_s": rule.get("for_s") or 0, "keep_firing_s": rule.get("keep_firing_s") or 0,
        "interval_s": row.get("interval_s") or INTERVAL_S, "lookback_s": row.get("lookback_s") or LOOKBACK_S,
    }
    if rule["agg"] == "absent":         # 1 or nothing: so the condition is true of 1, or never
        ever = COMPARE[op](1.0, float(rule["threshold"]))
        return fields | {"kind": "absent", "op": ">=", "warning": 1 if ever else 2, "warning_clear": None}
    params = {"agg": rule["agg"]}
    if rule.get("window_s"):
        params["window_s"] = rule["window_s"]
    if rule.get("predict_s"):
        params["ahead_s"] = rule["predict_s"]
    return fields | {"params": params, "no_data": POLICIES[rule.get("absent", "inactive")]}


def end_of(row):
    """The last time that the case tells something about."""
    points = row.get("expect") or []
    samples = [t for series in (row.get("samples") or {}).values() for t, _ in rows_of(series)]
    return max([p[name] for p in points for name in ("at_s", "fires_at_s") if p.get(name) is not None]
               + ([] if any("at_s" in p for p in points) else samples), default=0)


def set_up(case, row):
    for subject, samples in (row.get("samples") or {}).items():
        case.agent(subject)
        case.samples(subject, rows_of(samples))


def compare(case, rule_id, expect, labels=None, raised=None):
    """labels: of the subjects, beside their server. raised: {second: False} where nobody was told."""
    states = {s: case.states(rule_id, s, labels) for s in {point["subject"] for point in expect}}
    for point in expect:
        state = states[point["subject"]](point["at_s"])
        if state == "firing" and not (raised or {}).get(point["at_s"], True):
            state = "inactive"
        if state != point["state"]:
            yield f"{point['subject']} at {point['at_s']} s: {state}, expected {point['state']}"


def threshold(case, row):
    set_up(case, row)
    rule_id = case.rule(**fields_of(row["rule"], row))
    now = row["rule"]
    for change in sorted(row.get("changes") or [], key=lambda c: c["at_s"]):
        now = now | {k: v for k, v in change.items() if k != "at_s"}
        case.when(change["at_s"], functools.partial(case.change, rule_id, fields_of(now, row)))
    case.until_s = end_of(row)
    return lambda: compare(case, rule_id, row["expect"])


def chained(case, row):
    set_up(case, row)
    first = case.rule(**fields_of(row["rule"]["of_rule"], row))
    rule_id = case.rule(**fields_of(row["rule"], row) | {
        "kind": "count_firing", "metric": None, "match": [], "params": {"of_rule": first}})
    case.until_s = end_of(row)
    return lambda: compare(case, rule_id, row["expect"])


def restart(case, row):
    """The evaluator is away, and comes back at a time of its grid. The policy is for all: replayed alone."""
    set_up(case, row)
    rule_id = case.rule(**fields_of(row["rule"], row))
    away, since, interval_s = row["restart"], {}, row.get("interval_s") or INTERVAL_S
    case.engine.start_clock(min(away["evals_before_s"], default=0))

    def seconds(query):
        return {server.removeprefix(case.prefix): at_s - case.engine.start_s
                for server, at_s in case.engine.query(query)}

    def come_back():
        case.engine.policy(catch_up_s=1, grace_s=away["grace_s"], tolerance_s=away["outage_tolerance_s"])
        case.engine.run(away["first_eval_after_s"])
        since.update(seconds("""SELECT subject->>'server', extract(epoch FROM active_since)::float8
            FROM alerts WHERE state <> 'resolved'"""))
        case.engine.policy(catch_up_s=30 * 86400)

    def check():
        fired = seconds("""SELECT a.subject->>'server', min(extract(epoch FROM c.at)::float8)
            FROM alert_changes c JOIN alerts a USING (alert_id) WHERE c.to_state = 'firing' GROUP BY 1""")
        for point in row["expect"]:
            for what, found in (("active_since_s", since), ("fires_at_s", fired)):
                value = found.get(point["subject"])
                if what in point and value != point[what]:
                    yield f"{point['subject']}: {what} is {value}, expected {point[what]}"

        yield from compare(case, rule_id, [p for p in row["expect"] if "state" in p])

    case.when(max(away["evals_before_s"], default=-interval_s) + interval_s / 2, come_back)
    case.until_s = end_of(row)
    return check
