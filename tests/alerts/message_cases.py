"""Tables of messages: what happens to alerts, and each message that channels get.

    # messages
    == Alertmanager: a second alert waits for the interval
    route group_by=["rule"] group_wait_s=30
    two at once             | 0 +a; 0 +b                        | 30 c +a +b
    one that waits          | 0 +a; 31 +b; 10m -b               | 30 c +a; 330 c +a +b; 630 c +a -b

A section begins with "==", and its lines are played at once: each has its own route, channels and silences. A
line is NAME | WHAT HAPPENS | MESSAGES. Before the lines stand

    route COLUMN=VALUE ...              of alert_routes: the route of each line
    channel NAME ...                    its channels; NAME- wants no "resolved"
    child NAME MATCHER ... : COLUMN=VALUE ...   a route below it, or below another one with parent=NAME
    inhibit MATCHER ... > MATCHER ... > LABEL ...   source, target, equal
    alert NAME LABEL=VALUE ...          by default rule=r1 server=NAME
    rule NAME COLUMN=VALUE ...          of alert_rules
    window NAME COLUMN=VALUE ...        of quiet_windows
    start TIME, until SECONDS           by default 20 minutes after the last that happens or is expected

What happens is "+a", "+a!" (critical), "-a", "-a:REASON", or a word of VERBS. Messages are as in
scenario_cases.py. Times are 90, 10m, 2h or 2h10m5. Each section is played by a watcher that comes whenever a
group is due, and by one that comes only when something happens.
"""
import collections
import datetime
import json
import re

from notify_world import World, name_id, placeholder
from scenario_cases import normal
from tables import TableError, pairs

MARK = "# messages"
AFTER_S = 1200
TIME = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(\d*)")
CELLS = re.compile(r"\s+\|(?:\s+|$)")          # an expression may have "|" without spaces
MATCHER = re.compile(r"(\w+)(=~|!~|!=|=)(.*)")


def seconds(text):
    found = TIME.fullmatch(text)
    if not found or not text:
        raise TableError(f"{text!r} is no time, such as 90, 10m or 2h10m5")
    return sum(int(part or 0) * unit for part, unit in zip(found.groups(), (3600, 60, 1)))


def matchers(words):
    return [dict(zip(("label", "op", "value"), MATCHER.fullmatch(word).groups())) for word in words]


class Line:
    """A scenario."""

    def __init__(self, text, section, number):
        cells = CELLS.split(text)
        if len(cells) != 3:
            raise TableError(f"a line has three cells, NAME | WHAT HAPPENS | MESSAGES: {text!r}")
        self.section, self.name, self.number = section, cells[0], str(number)
        self.events = [(seconds(e.split()[0]), e.split()[1:]) for e in cells[1].split(";") if e.strip()]
        self.expect = [normal(" ".join([str(seconds(e.split()[0])), *e.split()[1:]]))
                       for e in cells[2].split(";") if e.strip()]
        for _, words in self.events:
            if words[0][0] not in "+-" and words[0] not in VERBS:
                raise TableError(f"{words[0]!r} is not known: {text!r}")

    def last_s(self):
        return max([at for at, _ in self.events] + [float(e.split()[0]) for e in self.expect])


class Section:
    """Scenarios of one configuration."""

    def __init__(self, title):
        self.title, self.kind, self.lines = title, "messages", []
        self.route, self.children, self.inhibits, self.start, self.until = {}, [], [], None, None
        self.channels, self.alerts, self.rules, self.windows = {"c": True}, {}, {}, {}

    def add(self, text):
        word, *words = text.split()
        if CELLS.search(text):
            self.lines.append(Line(text, self, len(self.lines)))
        elif word == "route":
            self.route = pairs(words)
        elif word == "channel":
            self.channels = {w.rstrip("-"): not w.endswith("-") for w in words}
        elif word == "child":
            place = words.index(":")
            self.children.append((words[0], matchers(words[1:place]), pairs(words[place + 1:])))
        elif word == "inhibit":
            source, target, equal = [part.split() for part in " ".join(words).split(">")]
            self.inhibits.append((matchers(source), matchers(target), equal))
        elif word in ("alert", "rule", "window"):
            getattr(self, word + "s")[words[0]] = pairs(words[1:])
        elif word == "start":
            self.start = words[0]
        elif word == "until":
            self.until = seconds(words[0])
        else:
            raise TableError(f"{word!r} is not known: {text!r}")


def read(text):
    """The lines of a file."""
    sections = []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        try:
            if line.startswith("=="):
                sections.append(Section(line.strip("= ")))
            elif line and not line.startswith("#"):
                sections[-1].add(line)
        except (TableError, ValueError, IndexError, AttributeError) as e:
            raise TableError(f"line {number}: {e}") from e
    return [line for section in sections for line in section.lines]


class Play:
    """One replay of a section."""

    def __init__(self, engine, section, late):
        self.engine, self.section, self.late = engine, section, late
        if section.start:
            engine.start_s = int(datetime.datetime.fromisoformat(section.start).timestamp())
        self.world, self.now = World(engine), 0
        self.names, self.refusing = {}, set()       # of alerts: (line, name) by labels; channels that refuse
        for name, window in section.windows.items():
            engine.insert("quiet_windows", window_id=name_id("window", name), name=name, **window)
        for name, columns in section.rules.items():
            engine.query("DELETE FROM alert_rules WHERE rule_id = %s", name_id("rule", name))
            engine.insert("alert_rules", rule_id=name_id("rule", name), name=name, kind="threshold",
                          metric="cpu_percent", warning=1, **columns)
        for source, target, equal in section.inhibits:
            engine.insert("inhibitions", source=source, target=target, name="i")
            engine.query("UPDATE inhibitions SET equal = %s", equal + ["line"])
        for line in section.lines:
            self.add_line(line)

    def add_line(self, line):
        for name, send_resolved in self.section.channels.items():
            self.world.channel(f"{line.number} {name}", send_resolved)
        route = {"channels": list(self.section.channels), "repeat_s": 14400} | self.section.route
        self.add_route(line, "", matchers([f"line={line.number}"]), route, self.world.root())
        for position, (name, match, columns) in enumerate(self.section.children):
            columns = {"position": position} | columns
            parent = name_id("route", line.number, columns.pop("parent", ""))
            self.add_route(line, name, match, columns, parent)

    def add_route(self, line, name, match, columns, parent):
        row = columns | {"route_id": name_id("route", line.number, name), "parent_id": parent,
                         "match": json.dumps(match)}
        if "channels" in row:
            row["channels"] = [name_id("channel", f"{line.number} {c}") for c in row["channels"]]
        if "windows" in row:
            row["windows"] = [name_id("window", w) for w in row["windows"]]
        self.engine.query(f"INSERT INTO alert_routes ({', '.join(row)}) VALUES "
                          f"({', '.join(map(placeholder, row))})", *row.values())

    def labels(self, line, name):
        labels = self.section.alerts.get(name, {"rule": "r1", "server": name}) | {"line": line.number}
        self.names[json.dumps(labels, sort_keys=True)] = line, name
        return labels

    def do(self, line, words):
        """What happens now."""
        sign, name = words[0][0], words[0][1:]
        if sign == "+":
            self.world.fire(self.labels(line, name.rstrip("!")), self.now,
                            severity="critical" if name.endswith("!") else "warning")
        elif sign == "-":
            name, _, reason = name.partition(":")
            self.world.end(self.labels(line, name), self.now, reason=reason or "clear")
        else:
            VERBS[words[0]](self, line, *words[1:])

    def flush(self, until):
        while True:
            due = self.world.flush(self.now)
            self.world.deliver(self.refusing)
            if self.now >= until:
                return
            self.now = until if due is None or self.late else min(until, max(due, self.now + 1e-6))

    def run(self):
        """The messages of each line."""
        lines = self.section.lines
        events = sorted(((at, n, line, words) for line in lines for n, (at, words) in enumerate(line.events)),
                        key=lambda e: (e[0], e[1]))
        for at, _, line, words in events:
            if at > self.now:
                self.flush(at)
            self.do(line, words)
        self.flush(self.section.until or max(line.last_s() for line in lines) + AFTER_S)
        found = collections.defaultdict(list)
        for at, channel, content in self.world.messages():
            number, name = channel.split()
            found[number].append(normal(f"{at:g} {name} {self.text(content)}"))
        return found

    def text(self, content):
        words = [("-" if a["status"] == "resolved" else "+") + self.name(a)
                 + ("!" if a["severity"] == "critical" and a["status"] == "firing" else "")
                 + ("*" if a["flapping"] else "") for a in content["alerts"]]
        return " ".join(words + ["~" + self.name(a) for a in content["passed"]])

    def name(self, alert):
        return self.names[json.dumps(alert["labels"], sort_keys=True)][1]


# ---- what else may happen ------------------------------------------------------------------------------
def do_ack(play, line, name):
    play.world.set_alert(play.labels(line, name), acked_at=play.world.at(play.now), acked_by="me")


def do_unack(play, line, name):
    play.world.set_alert(play.labels(line, name), acked_at=None, acked_by=None)


def do_demote(play, line, name):
    """Its rule waits longer now: it is pending again."""
    play.world.set_alert(play.labels(line, name), state="pending")


def do_silence(play, line, name, from_s, to_s, *words):
    match = matchers([f"line={line.number}", *words])
    play.world.silence(f"{line.number} {name}", match, seconds(from_s), seconds(to_s))


def do_unsilence(play, line, name):
    play.world.end_silence(f"{line.number} {name}", play.now)


def do_channel(play, line, name, *words):
    for column, value in pairs(words).items():
        play.engine.query(f"UPDATE channels SET {column} = %s WHERE name = %s", value,
                          f"{line.number} {name}")


def do_refuse(play, line, name):
    play.refusing.add(f"{line.number} {name}")


def do_accept(play, line, name):
    play.refusing.discard(f"{line.number} {name}")
    play.world.attempt(f"{line.number} {name}", play.now, True)


def do_relabel(play, line, name, *words):
    labels = play.labels(line, name)
    changed = labels | pairs(words)
    play.world.set_alert(labels, labels=json.dumps(changed))
    play.names[json.dumps(changed, sort_keys=True)] = line, name


VERBS = {"ack": do_ack, "unack": do_unack, "demote": do_demote, "silence": do_silence,
         "unsilence": do_unsilence, "channel": do_channel, "refuse": do_refuse, "accept": do_accept,
         "relabel": do_relabel}


def play(engine, section):
    """What is wrong with each line, as sentences."""
    start_s, wrong = engine.start_s, [[] for _ in section.lines]
    refuses = any(words[0] == "refuse" for line in section.lines for _, words in line.events)
    for how in ("on time",) if refuses else ("on time", "late"):    # who comes late has not tried in between
        engine.start_s = start_s
        found = Play(engine, section, how == "late").run()
        for line, sentences in zip(section.lines, wrong):
            got = found[line.number]
            sentences += [f"{how}: missing: {e}" for e in line.expect if e not in got]
            sentences += [f"{how}: not expected: {e}" for e in got if e not in line.expect]
            if not sentences and len(got) != len(line.expect):
                sentences.append(f"{how}: {len(got)} messages, not {len(line.expect)}")
    engine.start_s = start_s
    return wrong
