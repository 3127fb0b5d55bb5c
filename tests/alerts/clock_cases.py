"""Cases of kind `cron` and `window`: next_cron() and in_window() are asked."""
from datetime import datetime


def cron(engine, case):
    """The next times after `from`, each asked with the one before."""
    at = case["from"]
    for n, expected in enumerate(case["expect"], 1):
        got = engine.query("SELECT next_cron(%s, %s, %s)", case["cron"], case["tz"], at)[0][0]
        if got != datetime.fromisoformat(expected):
            yield f"time {n} is {got}, not {expected}"
            return
        at = got


def window(engine, case):
    """Is `at` inside of the window?"""
    w = case["window"]
    got = engine.query("SELECT in_window(ROW(gen_random_uuid(), '', %s, %s, %s, %s, %s)::quiet_windows, %s)",
                       w["enabled"], w["tz"], [d.lower()[:3] for d in w["days"]], w["start"], w["duration_s"],
                       case["at"])[0][0]
    if got != case["expect"]:
        yield f"{case['at']} is {'inside' if got else 'outside'}"
