"""Cases of what one evaluation after the other gave: count, nodata and missing."""
import uuid

from grid_cases import INTERVAL_S, compare
from notify_world import World

URL = "http://127.0.0.1/"
VALUES = {"normal": 0, "alerting": 1}
INPUTS = [*VALUES, "nodata", "error", "missing"]
PROBLEMS = {"nodata": "no data", "error": "the other side refused"}


def expected(row):
    return [{"subject": "", "at_s": n * INTERVAL_S, "state": state} for n, state in enumerate(row["expect"])]


def count(case, row):
    """Results of a check, each at the time of an evaluation. What was before is results, too."""
    rule, initial = row["rule"], {"state": "inactive", "fails": 0, "oks": 0} | (row.get("initial") or {})
    firing = initial["state"] == "firing"
    before = ["fail"] * (rule["fail_n"] if firing else initial["fails"]) + ["ok"] * (initial["oks"] * firing)
    raised = {}
    if row.get("send_ok"):
        accepts = [accepted is not False for accepted in row["send_ok"]]
        raised = deliveries(case, [True] * len(before) + accepts)
    case.agent("h1")
    case.engine.insert("latest_checks", vps_name=case.server("h1"), app_name="shop", url=URL,
                       url_key=str(uuid.uuid4()), timestamp=case.engine.at(0), success=True,
                       interval_s=INTERVAL_S)
    for n, result in enumerate(before + row["inputs"]):
        if result not in ("ok", "fail"):
            raise ValueError(f"{result!r} is no result of a check: ok or fail")
        at = case.engine.at(n * INTERVAL_S)
        case.engine.insert("health_checks", timestamp=at, received_at=at, vps_name=case.server("h1"),
                           app_name="shop", url=URL, success=result == "ok", interval_s=INTERVAL_S)
    rule_id = case.rule(kind="check", metric=None, op=">=", warning=rule["fail_n"], warning_clear=0,
                        params={"of": rule["fail_n"], "recover": rule["recover_m"]})
    case.until_s = (len(before) + len(row["inputs"]) - 1) * INTERVAL_S + 2
    points = [{"subject": "h1", "at_s": (len(before) + n) * INTERVAL_S, "state": state}
              for n, state in enumerate(row["expect"])]
    return lambda: compare(case, rule_id, points, {"app": "shop", "check": URL}, raised)


def deliveries(case, accepts):
    """A channel that accepts what is sent after an evaluation, or not.

    Returns {second: raised?}: an alert is raised for who has been told of it.
    """
    world, raised = World(case.engine, group_wait_s=0, group_interval_s=INTERVAL_S / 2), {}
    world.channel("c1")
    case.engine.start_clock()

    def deliver(at_s, accepted):
        world.flush(at_s + 1)
        if accepted:
            world.attempt("c1", at_s + 1, True)
        raised[at_s] = case.engine.query("""SELECT EXISTS (SELECT FROM alerts a, notifications n
            WHERE a.state = 'firing' AND n.kind = 'firing' AND n.sent_at >= a.fired_at)""")[0][0]

    for n, accepted in enumerate(accepts):
        case.when(n * INTERVAL_S + 1, lambda n=n, accepted=accepted: deliver(n * INTERVAL_S, accepted))
    return raised


def inputs(case, row):
    """A rule whose answers come from outside, so that each of them can be anything."""
    fields = {"kind": "promql", "metric": None, "match": [], "params": {"promql": "up == 0"}, "op": ">",
              "warning": 0.5, "for_s": row.get("for_evals", 0) * INTERVAL_S}
    policies = {"no_data": row.get("policy"), "on_error": row.get("error_policy")}
    rule_id = case.rule(**fields | {k: v for k, v in policies.items() if v not in (None, "any")})
    for n, given in enumerate(row["inputs"]):
        if given not in INPUTS:
            raise ValueError(f"{given!r} is no input: {', '.join(INPUTS)}")
        answer = [{"subject": {}, "value": VALUES[given]}] if given in VALUES else []
        if given == "missing":
            answer = [{"subject": {"other": "subject"}, "value": 0}]
        case.engine.insert("external_answers", rule_id=rule_id, at=case.engine.at(n * INTERVAL_S),
                           rows=answer, problem=PROBLEMS.get(given))
    case.until_s = (len(row["inputs"]) - 1) * INTERVAL_S

    def check():
        yield from compare(case, rule_id, expected(row))
        if row.get("resolve_reason"):
            reasons = [reason for reason, in case.engine.query("""SELECT reason FROM alert_changes
                WHERE rule_id = %s AND to_state IN ('resolved', 'inactive')""", rule_id)]
            ends = row["expect"].count("inactive") and row["expect"][0] != "inactive"
            if ends and row["resolve_reason"] not in reasons:
                yield f"the alert ended for {reasons}, expected {row['resolve_reason']}"
    return check
