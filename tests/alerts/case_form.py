"""What a case must have to be replayed, by kind: so that none passes because it checks nothing."""
STATES = "inactive", "pending", "firing"
GRID = {"rule": dict, "samples": dict, "expect": list}
INPUTS = {"inputs": list, "expect": list}
# Of each kind its members, and their types.
MEMBERS = {
    "threshold": GRID, "hysteresis": GRID, "chained": GRID,
    "rule_change": GRID | {"changes": list},
    "restart": GRID | {"restart": dict},
    "count": INPUTS | {"rule": dict}, "nodata": INPUTS, "missing": INPUTS,
    "dedup": {"now": dict, "repeat_s": (int, float), "expect_notify": bool},
    "script": {"route": dict, "receivers": list, "expect": list},
    "notify": {"do": list, "until": (int, float), "expect": list},
    "cron": {"cron": str, "tz": str, "from": str, "expect": list},
    "window": {"window": dict, "at": str, "expect": bool},
}
SILENT = "script", "notify"             # kinds in which it may be expected that nothing comes
RULE = """agg op threshold clear_threshold window_s predict_s for_s keep_firing_s absent of_rule fail_n
    recover_m""".split()
# Members of members: others are a slip of the pen, which would make the case another one.
KNOWN = {
    "rule": RULE, "of_rule": RULE, "changes": ["at_s", *RULE],
    "restart": ["evals_before_s", "first_eval_after_s", "grace_s", "outage_tolerance_s"],
    "initial": ["state", "fails", "oks"], "now": ["firing", "resolved"],
    "last_sent": ["firing", "resolved", "age_s"],
    "window": ["enabled", "tz", "days", "start", "duration_s"],
    "route": ["group_by", "group_wait_s", "group_interval_s", "repeat_interval_s", "resolve_timeout_s"],
    "silences": ["set_at_s", "starts_at_s", "ends_at_s", "delete_at_s", "match"],
}
TELLS = "state", "active_since_s", "fires_at_s"         # what a point may expect


def name_of(types):
    return {dict: "an object", list: "a list", str: "a text", bool: "true or false"}.get(types, "a number")


def points(case):
    """Of kinds with samples: each point says when, of whom and what."""
    for n, point in enumerate(case["expect"]):
        if not isinstance(point, dict) or not isinstance(point.get("subject"), str):
            yield f"expect[{n}] is no point with a subject"
        elif not any(name in point for name in TELLS):
            yield f"expect[{n}] expects nothing: it has no {', '.join(TELLS)}"
        elif "state" in point and point["state"] not in STATES:
            yield f"expect[{n}] has the state {point['state']!r}; there are {', '.join(STATES)}"
        elif "state" in point and not isinstance(point.get("at_s"), (int, float)):
            yield f"expect[{n}] has a state and no at_s"


def rows(case):
    """Of kinds with inputs: a state after each of them."""
    given, states = case["inputs"], case["expect"]
    if len(given) != len(states):
        yield f"inputs has {len(given)} elements and expect has {len(states)}; it has a state after each"
    if len(case.get("send_ok") or given) != len(given):
        yield "send_ok is not as long as inputs"
    for state in states:
        if state not in (*STATES, "error"):
            yield f"expect has the state {state!r}; there are {', '.join(STATES)} and error"


def unknown(members):
    for name, value in members.items():
        for item in value if isinstance(value, list) else [value]:
            if name in KNOWN and isinstance(item, dict):
                yield from (f"{name}.{key} is not known; known are {', '.join(KNOWN[name])}"
                            for key in item if key not in KNOWN[name])
                yield from unknown(item)


def problems(case):
    """Why a case can't be replayed, as sentences."""
    wanted = MEMBERS[case["kind"]]
    wrong = [f"{name} is missing" if name not in case else f"{name} must be {name_of(types)}"
             for name, types in wanted.items() if not isinstance(case.get(name), types)]
    if wrong:
        return wrong
    if case["expect" if "expect" in wanted else "expect_notify"] == [] and case["kind"] not in SILENT:
        return ["expect is empty: the case checks nothing"]
    found = list(unknown(case))
    if "samples" in wanted:
        found += points(case)
    elif "inputs" in wanted:
        found += rows(case)
    return found
