"""Tables of scenarios: the text, and what it says.

A line is a scenario: its name, what comes in at each evaluation, and the state after each.

    == Prometheus: "for" counts from the first evaluation that is beyond
    kind promql
    rule > 80/90 for 2m keep 1m clear 70/85
    at 5 rule for_s=0
    it waits two minutes        | 70 90 90 90 70    | . w w W .
    one healthy value ends it   | 90 90 70 90       | w w . w

A section begins with "==" and a title that says why, and its lines are one rule's. Before them stand:

    kind NAME               of alert_kinds; `metric NAME` if it has one
    rule OP W/C ...         the levels ("-": none), then `clear W/C`, `for 2m`, `keep 1m`, and column=value
    params NAME=VALUE ...   of the kind
    every SECONDS           between two evaluations (60)
    start TIME              of evaluation 0, for scenarios about clocks
    policy NAME=VALUE ...   of alert_policy
    away A-B                the evaluator does not run after evaluation A and before B
    at N WHAT ...           happens just before evaluation N: table_cases.VERBS
    punctual                only a punctual evaluation gives this: docs/alerts.md says why

Words may be repeated: "F*3". What comes in is a list of facts ("F,F"), or "_" for nothing. A fact is
VALUE[@S][+S][!]: measured so many seconds after the evaluation (@), arrived so many after it (+), or
backfilled (!). A state is "." none, "w" or "c" pending as warning or critical, "W" or "C" firing, "E" error.
A name may end with labels: "as web {app=web env=prod}".
"""
import copy
import json
import re

SINGLE = "fleet_silent", "job"          # kinds with one subject for everything there is
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
FACT = re.compile(r"(?P<value>.*?)(?:@(?P<shift>-?\d+))?(?:\+(?P<late>-?\d+))?(?P<backfill>!)?")
NAME = re.compile(r"(?P<name>.*?)\s*(?:\{(?P<labels>[^}]*)\})?")


class TableError(Exception):
    """A table that can't be read."""


def seconds(text):
    """90, 90s, 5m, 2h or 1d."""
    found = re.fullmatch(r"(\d+)([smhd]?)", text)
    if not found:
        raise TableError(f"{text!r} is no duration, such as 90s or 5m")
    return int(found[1]) * UNITS[found[2] or "s"]


def value_of(text):
    """A number, true, false, null, a list or an object as in JSON; else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def pairs(words):
    """name=value ..."""
    return {name: value_of(value) for name, value in (w.split("=", 1) for w in words)}


def level(text):
    return None if text == "-" else float(text)


def levels(text):
    """W/C, W or -/C."""
    warning, _, critical = text.partition("/")
    return level(warning), level(critical or "-")


def rule_columns(words):
    """Of `rule`: columns of alert_rules."""
    columns, words = {"op": words[0]}, list(words[1:])
    columns["warning"], columns["critical"] = levels(words.pop(0))
    while words:
        word = words.pop(0)
        if word == "clear":
            columns["warning_clear"], columns["critical_clear"] = levels(words.pop(0))
        elif word in ("for", "keep"):
            columns["for_s" if word == "for" else "keep_firing_s"] = seconds(words.pop(0))
        else:
            columns |= pairs([word])
    return columns


def repeated(text):
    """The words, with WORD*N written out."""
    words = []
    for word in text.split():
        found = re.fullmatch(r"(.+)\*(\d+)", word)
        words += [found[1]] * int(found[2]) if found else [word]
    return words


class Fact:
    """One thing that comes in. Times are seconds after the evaluation."""

    def __init__(self, text):
        found = FACT.fullmatch(text)
        self.value = found["value"]
        self.shift_s, self.late_s = int(found["shift"] or 0), int(found["late"] or 0)
        self.backfill = found["backfill"] is not None


class Line:
    """A scenario."""

    def __init__(self, text, section):
        cells = [cell.strip() for cell in text.split("|")]
        if len(cells) != 3:
            raise TableError(f"a line has three cells, NAME | FACTS | STATES: {text!r}")
        name = NAME.fullmatch(cells[0])
        self.section, self.name = section, name["name"]
        self.labels = {k: str(v) for k, v in pairs((name["labels"] or "").split()).items()}
        self.facts = [[Fact(f) for f in word.split(",") if f != "_"] for word in repeated(cells[1])]
        self.states = repeated(cells[2])
        if len(self.states) != len(self.facts):
            raise TableError(f"{len(self.facts)} evaluations and {len(self.states)} states: {text!r}")
        if set("".join(self.states)) - set(".wcWCE"):
            raise TableError(f"states are . w c W C E: {cells[2]!r}")


class Section:
    """Scenarios of one rule."""

    def __init__(self, title):
        self.title, self.kind, self.metric = title, "threshold", None
        self.rule, self.params, self.policy = {}, {}, {}
        self.every_s, self.start, self.away, self.punctual = 60, None, [], False
        self.events, self.lines = [], []

    def add(self, text):
        word, *words = text.split()
        if "|" in text:
            self.lines.append(Line(text, self))
        elif word in ("kind", "metric", "start"):
            setattr(self, word, words[0])
        elif word in ("params", "policy"):
            getattr(self, word).update(pairs(words))
        elif word == "rule":
            self.rule = rule_columns(words)
        elif word == "punctual":
            self.punctual = True
        elif word == "every":
            self.every_s = seconds(words[0])
        elif word == "away":
            self.away.append(tuple(map(int, words[0].split("-"))))
        elif word == "at":
            self.events.append((int(words[0]), words[1], words[2:]))
        else:
            raise TableError(f"{word!r} is not known: {text!r}")

    def parts(self):
        """The sections to play: a line that is about everything there is stands alone."""
        if self.kind not in SINGLE and self.params.get("by") != "fleet":
            return [self]
        parts = [copy.copy(self) for _ in self.lines]
        for part, line in zip(parts, self.lines):
            part.lines, line.section = [line], part
        return parts

    @property
    def length(self):
        """Evaluations until the last state."""
        return max(len(line.states) for line in self.lines)

    @property
    def alone(self):
        """Whether it changes what other sections see."""
        return bool(self.start or self.policy or self.punctual or self.away or self.kind in SINGLE
                    or self.params.get("by") == "fleet" or "evaluate" in [verb for _, verb, _ in self.events])


def read_tables(text):
    """The sections of a file."""
    sections = []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        try:
            if line.startswith("=="):
                sections.append(Section(line.strip("= ")))
            elif not sections:
                raise TableError("a table begins with a section: == TITLE")
            else:
                sections[-1].add(line)
        except (TableError, ValueError, IndexError) as e:
            raise TableError(f"line {number}: {e}") from e
    return [part for section in sections for part in section.parts()]
