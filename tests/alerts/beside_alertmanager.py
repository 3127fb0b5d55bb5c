#!/usr/bin/env python3
"""Random scripts of alerts, played by Debian's Alertmanager and by flush_groups(): the same batches?

    tests/alerts/beside_alertmanager.py [SEED]      "passed N of M" last, of M groups

Alertmanager runs in real time, for 24 s. All groups are played at once; a label `world` keeps them apart.
What happens lies halfway between two flushes of its group, so that a slow machine changes nothing; so does
the end of its script, after which neither side's messages count. One kind of difference is left out:
Alertmanager also sends a message of which the only news is the end of an alert that nobody was told of.
Nothing ends while it is quiet: there we send "resolved", and Alertmanager does not.
"""
import collections
import datetime
import http.server
import json
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from engine import Engine                   # noqa: E402
from notify_cases import Script             # noqa: E402

PROGRAM = "prometheus-alertmanager"
WORLDS, SPAN_S, INTERVAL_S = 60, 24, 2
FLUSHES = 10        # of a group: the script ends between the last of these and the next
ROUTE = {"group_by": ["world"], "group_wait_s": 1, "group_interval_s": INTERVAL_S, "repeat_interval_s": 3600,
         "resolve_timeout_s": 300}
INHIBIT = [{"source": {"rule": "off"}, "target": {"rule": "down"}, "equal": ["world"]}]
CONFIG = """
route: {{receiver: r, group_by: [world], group_wait: 1s, group_interval: 2s, repeat_interval: 1h}}
receivers: [{{name: r, webhook_configs: [{{url: "http://127.0.0.1:{port}/", send_resolved: true}}]}}]
inhibit_rules: [{{source_matchers: [rule="off"], target_matchers: [rule="down"], equal: [world]}}]
"""


def one_world(rng, world):
    """Pushes and silences of a group: (seconds, what, labels). Alerts named `down` and `quiet` do not end."""
    start = 1 + rng.random() * 2
    firing, pushes, silences = set(), [], []
    names = ["a", "b", "e", "off", "down", "quiet"]
    for step in range(1 + rng.randint(3, 9)):
        at = start + (INTERVAL_S * step + rng.uniform(-0.3, 0.3) if step else 0)
        for name in rng.sample(names, rng.randint(1, 2)):
            labels = {"world": world, "rule": name}
            if name not in firing:
                firing.add(name)
                pushes.append({"at_s": at, "labels": labels, "starts_at_s": None, "ends_at_s": None})
            elif name not in ("down", "quiet"):
                firing.discard(name)
                pushes.append({"at_s": at, "labels": labels, "starts_at_s": None, "ends_at_s": at})
        if rng.random() < 0.15:
            silences.append({"set_at_s": at, "starts_at_s": at,
                             "ends_at_s": at + INTERVAL_S * rng.randint(1, 3),
                             "match": [{"label": "world", "op": "=", "value": world},
                                       {"label": "rule", "op": "=~", "value": "qui.*"}]})
    return pushes, silences


class Webhook(http.server.ThreadingHTTPServer):
    """Keeps what Alertmanager sends."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.got = []


class Handler(http.server.BaseHTTPRequestHandler):
    """One message."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.got.append((time.time(), body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        """Says nothing."""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def post(port, path, body):
    request = urllib.request.Request(f"http://127.0.0.1:{port}/api/v2/{path}", json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    return urllib.request.urlopen(request, timeout=10).read()


def rfc(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).isoformat()


def wait_ready(port, process):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=5).read()
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"{PROGRAM} does not start")


def send(port, zero, event):
    """A push or a silence, at its time."""
    at, what = event
    time.sleep(max(0, zero + at - time.time()))
    if "match" in what:
        matchers = [{"name": m["label"], "value": m["value"], "isRegex": m["op"] == "=~", "isEqual": True}
                    for m in what["match"]]
        post(port, "silences", {"matchers": matchers, "startsAt": rfc(zero + at), "createdBy": "test",
                                "endsAt": rfc(zero + what["ends_at_s"]), "comment": "test"})
    else:
        alert = {"labels": what["labels"]}
        if what["ends_at_s"]:
            alert["endsAt"] = rfc(time.time())
        post(port, "alerts", [alert])


def end_of(pushes):
    """When the script of a group ends, in seconds: a flush is due 1 s earlier, and 1 s later."""
    return pushes[0]["at_s"] + INTERVAL_S * FLUSHES


def alertmanager(events, ends):
    """The messages of the real one until the ends of the scripts: {world: [(firing, resolved), ...]}."""
    hook, port = Webhook(), free_port()
    threading.Thread(target=hook.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.yml"
        config.write_text(CONFIG.format(port=hook.server_port), encoding="utf-8")
        process = subprocess.Popen(
            [PROGRAM, f"--config.file={config}", f"--storage.path={folder}/data", "--cluster.listen-address=",
             f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"])
        try:
            wait_ready(port, process)
            zero = time.time()
            for event in sorted(events, key=lambda e: e[0]):
                send(port, zero, event)
            time.sleep(max(0, zero + SPAN_S - time.time()))
        finally:
            process.terminate()
            process.wait()
            hook.shutdown()
    messages = collections.defaultdict(list)
    for at, body in hook.got:
        world = body["groupLabels"]["world"]
        if at - zero > ends[world]:
            continue
        sides = [frozenset(a["labels"]["rule"] for a in body["alerts"] if a["status"] == s)
                 for s in ("firing", "resolved")]
        messages[world].append(tuple(sides))
    return {world: without_untold(list_) for world, list_ in messages.items()}


def without_untold(messages):
    """Without those whose only news is the end of alerts that nobody was told of."""
    ret, told, last = [], frozenset(), frozenset()
    for firing, resolved in messages:
        if firing - last or resolved & told:
            ret.append((firing, resolved))
        told, last = (told | firing) - resolved, firing
    return ret


def ours(engine, pushes, silences):
    """The messages of flush_groups()."""
    case = {"route": ROUTE, "receivers": [{"id": "c", "send_resolved": True}], "inhibit": INHIBIT,
            "events": [], "alerts": pushes, "silences": silences}
    return [tuple(frozenset(a["labels"]["rule"] for a in batch if (a["ends_at_s"] is None) == fires)
                  for fires in (True, False)) for _, _, batch in Script(engine, case).run(end_of(pushes))]


def main(arguments):
    if not shutil.which(PROGRAM):
        raise SystemExit(f"{PROGRAM} is missing; install the package {PROGRAM}")
    seed = int(arguments[0]) if arguments else random.randrange(10 ** 6)
    rng = random.Random(seed)
    worlds = {f"w{n}": one_world(rng, f"w{n}") for n in range(WORLDS)}
    events = [(p["at_s"], p) for pushes, _ in worlds.values() for p in pushes]
    events += [(s["set_at_s"], s) for _, silences in worlds.values() for s in silences]
    theirs = alertmanager(events, {world: end_of(pushes) for world, (pushes, _) in worlds.items()})
    passed = 0
    with Engine() as engine:
        for world, (pushes, silences) in worlds.items():
            got = ours(engine, pushes, silences)
            wanted = theirs.get(world, [])
            passed += got == wanted
            if got != wanted:
                print(f"seed {seed}, {world}: we send {got}\n    Alertmanager sends {wanted}")
                print("   ", [(round(p["at_s"], 2), p["labels"]["rule"], p["ends_at_s"] and "end")
                              for p in pushes],
                      [(round(s["starts_at_s"], 2), round(s["ends_at_s"], 2)) for s in silences])
    print(f"passed {passed} of {len(worlds)}")
    return passed != len(worlds)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
