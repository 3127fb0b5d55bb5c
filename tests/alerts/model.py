"""What docs/alerts.md says, written down a second time and as plainly as can be.

Random cases are held against this, and this against promtool: see differential.py.
"""
import math

MISSING = "missing"             # others have a value, and this subject is not among them

COMPARE = {
    ">": lambda a, b: a > b, ">=": lambda a, b: a >= b, "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b, "==": lambda a, b: a == b, "!=": lambda a, b: a != b,
}


# ---- aggregates: of the points of a window, (seconds from now, value), and of the rule ---------------------
def increase(points, rule):
    """Of a counter, stretched to the ends of the window as Prometheus 2 does it."""
    (first, low), (last, high) = points[0], points[-1]
    grown = high - low + sum(a for (_, a), (_, b) in zip(points, points[1:]) if b < a)
    span = last - first
    gap = span / (len(points) - 1)
    start, end = first + rule["window_s"], -last
    if grown > 0 and low >= 0:
        start = min(start, span * (low / grown))
    whole = span + sum(edge if edge < 1.1 * gap else gap / 2 for edge in (start, end))
    return grown * (whole / span)


def irate(points, _):
    """Of the last two points of a counter, per second."""
    (first, low), (last, high) = points[-2:]
    return (high if high < low else high - low) / (last - first)


def line(points):
    """The slope, and the value now, of the line through the points."""
    middle, mean = (math.fsum(p) / len(points) for p in zip(*points))
    slope = math.fsum((t - middle) * (v - mean) for t, v in points) / math.fsum(
        (t - middle) ** 2 for t, _ in points)
    return slope, mean - slope * middle


def predict(points, rule):
    slope, now = line(points)
    return now + slope * rule["ahead_s"]


def quantile(points, rule):
    """Between its two neighbours. Fewer results than min_results have no value."""
    if len(points) < rule["min_results"]:
        return None
    values = sorted(v for _, v in points)
    place = rule["percent"] / 100 * (len(values) - 1)
    low, high = values[math.floor(place)], values[math.ceil(place)]
    return low + (high - low) * (place - math.floor(place))


def neighbours(test):
    """How many neighbours differ so."""
    return lambda points, _: sum(test(a, b) for (_, a), (_, b) in zip(points, points[1:]))


# How many points each needs, and what it makes of them.
AGGREGATES = {
    "avg": (1, lambda points, _: math.fsum(v for _, v in points) / len(points)),
    "min": (1, lambda points, _: min(v for _, v in points)),
    "max": (1, lambda points, _: max(v for _, v in points)),
    "changes": (1, neighbours(lambda a, b: a != b)), "resets": (1, neighbours(lambda a, b: b < a)),
    "rate": (2, lambda points, rule: increase(points, rule) / rule["window_s"]), "increase": (2, increase),
    "irate": (2, irate), "deriv": (2, lambda points, _: line(points)[0]), "predict": (2, predict),
    "count": (0, lambda points, _: sum(v for _, v in points)), "quantile": (1, quantile),
}
GOES = "answer", "quantile"     # a subject without a value is gone


def value_at(samples, at_s, rule, lookback_s):
    """samples: {second: value or None}, None says that there is no value any more."""
    agg = rule["agg"]
    if agg in ("last", "answer", "absent"):
        seen = [t for t in samples if at_s - lookback_s <= t <= at_s]
        value = samples[max(seen)] if seen else None
        if agg == "absent":
            return float(value is None)
        return MISSING if value is None and agg in GOES else value
    points = [(t - at_s, samples[t]) for t in sorted(samples)
              if at_s - rule["window_s"] <= t <= at_s and samples[t] is not None]
    needed, of = AGGREGATES[agg]
    return of(points, rule) if len(points) >= needed else MISSING if agg in GOES else None


class Level:
    """One level of one alert."""

    def __init__(self, op, threshold, clear, for_s, keep_firing_s):
        self.op, self.threshold, self.clear = op, threshold, threshold if clear is None else clear
        self.for_s, self.keep_firing_s = for_s, keep_firing_s
        self.state, self.since, self.clear_since, self.missing = "inactive", None, None, 0

    def step(self, value, at_s):
        """The state at this time. MISSING changes nothing the first time, and ends the alert the second."""
        self.missing = self.missing + 1 if value == MISSING else 0
        if self.missing == 1:
            return self.state
        limit = self.clear if self.state == "firing" else self.threshold
        if value not in (None, MISSING) and COMPARE[self.op](value, limit):
            self.since = at_s if self.since is None else self.since
            self.clear_since = None
            self.state = "firing" if at_s - self.since >= self.for_s else "pending"
            return self.state
        if self.state == "firing" and not self.missing:
            self.clear_since = at_s if self.clear_since is None else self.clear_since
            if at_s - self.clear_since < self.keep_firing_s:
                return self.state
        self.state, self.since, self.clear_since = "inactive", None, None
        return self.state


def together(warning, critical):
    """The state and the severity of an alert whose levels have these states."""
    for state in "firing", "pending":
        if critical == state:
            return state, "critical"
        if warning == state:
            return state, "warning"
    return "inactive", None
