"""Cases of kind `cron` and `window`: next_cron() and in_window() are asked."""
from datetime import datetime
from zoneinfo import ZoneInfo


def instant(text, zone):
    """A time without an offset is one on the wall."""
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=ZoneInfo(zone))


def cron(engine, case):
    """The next times after `from`, each asked with the one before."""
    at = instant(case["from"], case["tz"])
    for n, expected in enumerate(case["expect"], 1):
        got = engine.query("SELECT next_cron(%s, %s, %s)", case["cron"], case["tz"], at)[0][0]
        if got != instant(expected, case["tz"]):
            yield f"time {n} is {got}, not {expected}"
            return
        at = got


def window(engine, case):
    """Is `at` inside of the window?"""
    w = case["window"]
    zone = w.get("tz") or "UTC"
    got = engine.query("SELECT in_window(ROW(gen_random_uuid(), '', %s, %s, %s, %s, %s)::quiet_windows, %s)",
                       w.get("enabled", True), zone, [d.lower()[:3] for d in w.get("days") or []], w["start"],
                       w["duration_s"], instant(case["at"], zone))[0][0]
    if got != case["expect"]:
        yield f"{case['at']} is {'inside' if got else 'outside'}"
