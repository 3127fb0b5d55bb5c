"""What docs/alerts.md says, written down a second time and as plainly as can be.

Random cases are held against this, and this against promtool: see differential.py.
"""
import math

COMPARE = {
    ">": lambda a, b: a > b, ">=": lambda a, b: a >= b, "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b, "==": lambda a, b: a == b, "!=": lambda a, b: a != b,
}
AGGREGATES = {
    "avg": lambda v: math.fsum(v) / len(v), "min": min, "max": max,
    "changes": lambda v: sum(a != b for a, b in zip(v, v[1:])),
}


def value_at(samples, at_s, agg, window_s, lookback_s):
    """samples: {second: value or None}, None says that there is no value any more."""
    if agg == "last":
        seen = [t for t in samples if at_s - lookback_s <= t <= at_s]
        return samples[max(seen)] if seen else None
    values = [samples[t] for t in sorted(samples)
              if at_s - window_s <= t <= at_s and samples[t] is not None]
    return AGGREGATES[agg](values) if values else None


class Level:
    """One level of one alert."""

    def __init__(self, op, threshold, clear, for_s, keep_firing_s):
        self.op, self.threshold, self.clear = op, threshold, threshold if clear is None else clear
        self.for_s, self.keep_firing_s = for_s, keep_firing_s
        self.state, self.since, self.clear_since = "inactive", None, None

    def step(self, value, at_s):
        limit = self.clear if self.state == "firing" else self.threshold
        if value is not None and COMPARE[self.op](value, limit):
            self.since = at_s if self.since is None else self.since
            self.clear_since = None
            self.state = "firing" if at_s - self.since >= self.for_s else "pending"
            return self.state
        if self.state == "firing":
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
