"""Cases with samples: threshold, hysteresis, rule_change, chained and restart."""


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
    fields = {
        "op": rule["op"], "warning": rule["threshold"], "warning_clear": rule.get("clear_threshold"),
        "for_s": rule["for_s"], "keep_firing_s": rule["keep_firing_s"],
        "interval_s": row["interval_s"], "lookback_s": row["lookback_s"],
    }
    if rule["agg"] == "absent":
        return fields | {"kind": "absent"}
    params = {"agg": rule["agg"]}
    if rule["window_s"]:
        params["window_s"] = rule["window_s"]
    if "predict_s" in rule:
        params["ahead_s"] = rule["predict_s"]
    return fields | {"params": params}


def set_up(case, row):
    for subject, samples in row["samples"].items():
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
    for change in row.get("changes", []):
        case.when(change["at_s"], lambda change=change: case.engine.query(
            "UPDATE alert_rules SET for_s = %s WHERE rule_id = %s", change["for_s"], rule_id))
    case.until_s = max(p["at_s"] for p in row["expect"])
    return lambda: compare(case, rule_id, row["expect"])


def chained(case, row):
    set_up(case, row)
    first = case.rule(**fields_of(row["rule"]["of_rule"], row))
    rule_id = case.rule(**fields_of(row["rule"], row) | {
        "kind": "count_firing", "metric": None, "match": [], "params": {"of_rule": first}})
    case.until_s = max(p["at_s"] for p in row["expect"])
    return lambda: compare(case, rule_id, row["expect"])


def restart(case, row):
    """The evaluator is away, and comes back at a time of its grid. The policy is for all: replayed alone."""
    set_up(case, row)
    case.rule(**fields_of(row["rule"], row))
    away, since = row["restart"], {}

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
                if value != point[what]:
                    yield f"{point['subject']}: {what} is {value}, expected {point[what]}"

    case.when(away["evals_before_s"][-1] + row["interval_s"] / 2, come_back)
    case.until_s = max(t for samples in row["samples"].values() for t, _ in rows_of(samples))
    return check
