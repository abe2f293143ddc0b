"""Tables of conformance: a row a fact, a column a version. A cell holds only because its check ran in
this run and passed; one that doesn't apply says why. A row names the chapter of the facts that it is from:
those gathered of Mastodon's delivery, of Sidekiq's protocol, and of HTTP signatures."""

import functools
import os
import re
import subprocess

from machine import BINARY

BUILT = os.path.dirname(os.path.abspath(BINARY))


class NotHere(str):
    """What is expected where a fact doesn't apply: why, in words."""


class Differs:
    """What is expected where fedpush does something else on purpose: what, in words."""

    def __init__(self, words, value=None):
        self.words, self.value = words, value


class Row:
    def __init__(self, chapter, text, check, expected, jobs):
        self.chapter, self.text, self.check, self.expected, self.jobs = chapter, text, check, expected, jobs
        self.verdicts = {}  # column -> words

    def judge(self, column, subjects):
        """Runs the check of this cell; it raises when the fact doesn't hold."""
        expected = self.expected and self.expected[column]
        if isinstance(expected, NotHere):
            self.verdicts[column] = str(expected)
            return
        differs = isinstance(expected, Differs)
        value = expected.value if differs else expected
        self.verdicts[column] = "**FAILS**"
        assert subjects, f"nothing is here to check {column} on"
        for subject in subjects:
            self.check(subject, value) if self.expected else self.check(subject)
        self.verdicts[column] = f"differs: {expected.words}" if differs else "holds"


class Table:
    def __init__(self, title, columns):
        self.title, self.columns, self.rows = title, columns, []

    def row(self, chapter, text, expected=None, jobs=()):
        """Decorates a check: check(subject), or check(subject, expected) when `expected` says what is
        expected in each column. `jobs` are what is pushed for it."""

        def add(check):
            self.rows.append(Row(chapter, text, check, expected, jobs))
            return check

        return add

    def cells(self):
        return [(row, column) for row in self.rows for column in self.columns]

    def undecided(self):
        return [f"{row.text}: {column}" for row, column in self.cells()
                if row.verdicts.get(column, "**FAILS**") == "**FAILS**"]

    def __str__(self):
        lines = [f"## {self.title}", "", f"| facts | what must hold | {' | '.join(self.columns)} |",
                 "|" + "---|" * (2 + len(self.columns))]
        for row in self.rows:
            cells = [row.verdicts.get(column, "**no verdict**") for column in self.columns]
            lines.append(f"| {row.chapter} | {row.text} | {' | '.join(cells)} |")
        return "\n".join(lines) + "\n"


def since(columns, *steps):
    """{column: value}: each value from its first column on, until the next one's."""
    found, values = {}, dict(steps)
    assert set(values) <= set(columns) and columns[0] in values
    for column in columns:
        value = values.get(column, value if found else None)
        found[column] = value
    return found


@functools.cache
def _unit_results(program):
    done = subprocess.run([os.path.join(BUILT, program)], env={**os.environ, "CMOCKA_MESSAGE_OUTPUT": "TAP"},
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    return dict(reversed(line) for line in re.findall(r"^(ok|not ok) \d+ - (\w+)", done.stdout, re.MULTILINE))


def unit(program, *tests):
    """A check: these tests of a unit test program pass. It runs once."""

    def check(subject, expected=None):
        results = _unit_results(program)
        assert {name: results.get(name) for name in tests} == dict.fromkeys(tests, "ok")

    return check
