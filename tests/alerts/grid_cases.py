"""Cases with samples: threshold, hysteresis, rule_change, chained and restart."""
from engine import METRIC


def rows_of(samples):
    """The samples of a subject as [(seconds, value)].

    A run is [first time, every, count, first value, step].
    """
    if isinstance(samples, dict):
        return [(t + i * every, first + i * step) for t, every, n, first, step in samples["runs"]
                for i in range(n)]
    return samples


def fields_of(rule, interval_s, lookback_s):
    """The columns of alert_rules for a rule of a case, except of a chained one."""
    fields = {
        "op": rule["op"], "warning": rule["threshold"], "warning_clear": rule.get("clear_threshold"),
        "for_s": rule["for_s"], "keep_firing_s": rule["keep_firing_s"],
        "interval_s": interval_s, "lookback_s": lookback_s,
    }
    if rule["agg"] == "absent":
        return fields | {"kind": "absent"}
    params = {"agg": rule["agg"]}
    if rule["window_s"]:
        params["window_s"] = rule["window_s"]
    if "predict_s" in rule:
        params["ahead_s"] = rule["predict_s"]
    return fields | {"params": params}


def set_up(engine, case):
    engine.forget(case["interval_s"])
    for subject, samples in case["samples"].items():
        engine.agent(subject)
        engine.samples(subject, rows_of(samples))


def compare(engine, case, rule_id):
    states = {}
    for point in case["expect"]:
        subject = point["subject"]
        if subject not in states:
            states[subject] = engine.states(rule_id, subject or None)
        state = states[subject](point["at_s"])
        if state != point["state"]:
            yield f"{subject or 'the rule'} at {point['at_s']} s: {state}, expected {point['state']}"


def threshold(engine, case):
    set_up(engine, case)
    rule_id = engine.rule(**fields_of(case["rule"], case["interval_s"], case["lookback_s"]))
    for change in case.get("changes", []):
        engine.run(change["at_s"] - 0.000001)
        engine.query("UPDATE alert_rules SET for_s = %s WHERE rule_id = %s", change["for_s"], rule_id)
    engine.run(max(p["at_s"] for p in case["expect"]))
    yield from compare(engine, case, rule_id)


def chained(engine, case):
    set_up(engine, case)
    rule = case["rule"]
    first = engine.rule(**fields_of(rule["of_rule"], case["interval_s"], case["lookback_s"]))
    rule_id = engine.rule(**fields_of(rule, case["interval_s"], case["lookback_s"])
                          | {"kind": "count_firing", "metric": None, "params": {"of_rule": first}})
    engine.run(max(p["at_s"] for p in case["expect"]))
    yield from compare(engine, case, rule_id)


def restart(engine, case):
    """The evaluator is away, and comes back at a time of its grid."""
    set_up(engine, case)
    rule, away = case["rule"], case["restart"]
    rule_id = engine.rule(**fields_of(rule, case["interval_s"], case["lookback_s"]))
    for at_s in away["evals_before_s"]:
        engine.run(at_s)
    engine.policy(catch_up_s=1, grace_s=away["grace_s"], tolerance_s=away["outage_tolerance_s"])
    engine.run(away["first_eval_after_s"])
    since = {subject["server"]: at_s - engine.start_s for subject, at_s in engine.query(
        "SELECT subject, extract(epoch FROM active_since)::float8 FROM alerts WHERE state <> 'resolved'")}
    engine.policy(catch_up_s=30 * 86400)
    last_s = max(t for samples in case["samples"].values() for t, _ in rows_of(samples))
    engine.run(last_s)
    fired = dict(engine.query("""SELECT a.subject->>'server', min(extract(epoch FROM c.at)::float8) - %s
        FROM alert_changes c JOIN alerts a USING (alert_id) WHERE c.to_state = 'firing' GROUP BY 1""",
                              engine.start_s))
    for point in case["expect"]:
        for what, found in (("active_since_s", since), ("fires_at_s", fired)):
            value = found.get(point["subject"])
            if value != point[what]:
                yield f"{point['subject']}: {what} is {value}, expected {point[what]}"
