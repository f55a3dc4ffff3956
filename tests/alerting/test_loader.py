"""Rule files: what is good is loaded, what is bad is said with its place, and nothing brings the reader down."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest

from atalaia.alerting.writing.loader import Loaded, load_files, load_texts

GOOD = "{name: Good, metric: cpu_usage, condition: '> 90'}"


def load(text: str) -> Loaded:
    """One text called x.yaml."""
    return load_texts([("x.yaml", text)])


def said(text: str) -> list[str]:
    """Its problems as lines."""
    return [str(problem) for problem in load(text).problems]


@pytest.mark.parametrize(
    "text",
    [
        f"rules: [{GOOD}]",
        f"rules:\n  - {GOOD}\n",
        f"- {GOOD}",
        GOOD,
        f"{GOOD}\n---\n{{name: Other, metric: x, condition: '< 1'}}",
        json.dumps({"name": "Good", "metric": "cpu_usage", "condition": "> 90"}, indent="\t"),
        json.dumps({"rules": [{"name": "Good", "metric": "cpu_usage", "condition": ">", "threshold": 90}]}),
        "name: Good\nmetric: cpu_usage\ncondition: > 90\n",
        "name: Good\nmetric: cpu_usage\ncondition: >  # above\nthreshold: 9e1\n",
        "\ufeffname: Good\nmetric: cpu_usage\ncondition: '> 90'",
    ],
)
def test_the_shapes_of_a_file(text: str) -> None:
    """A list under rules, a bare list, one rule, several documents, JSON; operators need no quotes."""
    loaded = load(text)
    assert loaded.problems == ()
    assert (loaded.rules[0].name, loaded.rules[0].threshold) == ("Good", 90.0)


@pytest.mark.parametrize("operator", [">", "<", ">=", "<=", "==", "!="])
@pytest.mark.parametrize("quote", ["", "'", '"'])
def test_operators_are_read_as_they_are_meant(operator: str, quote: str) -> None:
    """YAML takes a bare > for folded text and != for a tag; whoever writes a condition means neither."""
    for condition, more in ((f"{operator} 5", ""), (operator, "threshold: 5")):
        loaded = load(f"name: Good\nmetric: cpu_usage\ncondition: {quote}{condition}{quote}\n{more}")
        assert loaded.problems == ()
        assert (loaded.rules[0].comparison, loaded.rules[0].threshold) == (operator, 5.0)


def test_emoji_escaped_as_json_escapes_them() -> None:
    """Programs that write JSON escape characters in pairs of surrogates."""
    (rule,) = load(json.dumps({"name": '🔥 "hot"\n', "metric": "x", "condition": "> 1", "where": {"😀": "a\\b"}})).rules
    assert (rule.name, rule.matchers) == ('🔥 "hot"\n', (("😀", "a\\b"),))


def test_a_bad_rule_blocks_no_other() -> None:
    """Every rule that can be judged is loaded, and every problem has file, line and column."""
    loaded = load(
        "rules:\n"
        "  - name: A\n"
        "    metric: conversion_rate\n"
        "    aggregate: sum\n"
        "    window: 1h\n"
        "    condition: '> 5'\n"
        "  - name: B\n"
        "    metrc: cpu\n"
        "    condition: '> 5'\n"
        "    channels:\n"
        "      - slack\n"
        "      - fax\n"
        f"  - {GOOD}\n"
        "  - 5\n"
        "  -\n"
        "extra: 1\n"
    )
    assert [rule.name for rule in loaded.rules] == ["Good"]
    found = [str(problem).split("; ")[0].split(", ")[0] for problem in loaded.problems]
    assert found == [
        "x.yaml:4:5: aggregate is sum",
        "x.yaml:7:5: metric is missing",
        "x.yaml:8:5: metrc is not a field of a rule",
        "x.yaml:12:9: channels.1 is 'fax'",
        "x.yaml:14:5: is not a rule",
        "x.yaml:16:1: extra is not understood beside rules",
    ]


def test_ids_differ_over_all_files(tmp_path: Path) -> None:
    """Of two rules with one id the first stands, and the second is told where the first is."""
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text(GOOD, "utf-8")
    two.write_text(f"# a comment\n{GOOD.replace('Good', 'GOOD!')}", "utf-8")
    loaded = load_files([one, two])
    assert [rule.name for rule in loaded.rules] == ["Good"]
    assert [str(problem) for problem in loaded.problems] == [
        f"{two}:2:1: rule 'good' is already at {one}:1; give it another id"
    ]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing file, a folder, bytes that are no text: each is one problem, and the other files are loaded."""
    good, binary = tmp_path / "good.yaml", tmp_path / "binary.yaml"
    good.write_text(GOOD, "utf-8")
    binary.write_bytes(b"name: \xff")
    loaded = load_files([tmp_path / "missing.yaml", tmp_path, binary, good])
    assert len(loaded.rules) == 1
    assert sorted(problem.message for problem in loaded.problems) == [
        "cannot be read: Is a directory",
        "cannot be read: No such file or directory",
        "cannot be read: byte 6 is not UTF-8",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("rules: [", "x.yaml:2:1: is not YAML"),
        ("name: a\nname: b", "x.yaml:2:1: 'name' is here twice, first in line 1"),
        ("name: &x [*x]", "x.yaml:1:11: *x contains itself"),
        ("name: *x", "x.yaml:1:7: *x is not defined"),
        ("!!python/object:os.system x", "x.yaml:1:1: has a tag"),
        ("name: !!str 5", "x.yaml:1:7: has a tag"),
        ("<<: {a: 1}", "x.yaml:1:1: merges mappings with <<"),
        ("? [a]\n: b", "x.yaml:1:3: has a mapping or list as a key"),
        ("name: \x00", "x.yaml:1:7: is not YAML: a control character"),
        ("[" * 100_000, "x.yaml:1:21: is nested deeper than 20 levels"),
        ("- " * 100_000, "x.yaml:1:41: is nested deeper than 20 levels"),
        ("name: a\n\tmetric: b", "x.yaml:2:1: is not YAML"),
        ("just words", "x.yaml:1:1: is not a rule"),
        ("groups: 5", "x.yaml:1:1: groups is not a list of groups"),
        ("groups: [5]", "x.yaml:1:10: is not a group"),
        ("groups: [{name: x}]", "x.yaml:1:10: has no rules"),
        ("groups: [{name: x, rules: [5]}]", "x.yaml:1:28: is not a rule; write alert and expr"),
        ("groups: [{limit: 5, rules: []}]", "x.yaml:1:11: limit of a group is not understood"),
        ("groups: []\nrules: []", "x.yaml:1:1: groups is not understood beside rules"),
        ("groups: []\nmore: []", "x.yaml:2:1: more is not understood beside groups"),
        ("name: \ud800", "x.yaml:1:1: contains half of a surrogate pair"),
    ],
)
def test_what_is_not_a_rule_file(text: str, problem: str) -> None:
    """Damaged or hostile text is one problem, with its place."""
    assert said(text)[0].startswith(problem)


def test_aliases_may_be_used_but_not_to_multiply() -> None:
    """A value may be written once and used twice; a billion laughs are refused before they are told."""
    shared = load("rules:\n  - &r {name: a, metric: m, condition: '> 1', actions: &a [x, y]}\n"
                  "  - {name: b, metric: m, condition: '> 1', actions: *a}")  # fmt: skip
    assert [rule.actions for rule in shared.rules] == [("x", "y")] * 2
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
    )
    assert "expands to more than 2,000,000 values" in said(bomb)[0]


def test_numbers_that_no_double_holds() -> None:
    """A number of a million digits is refused like any other that is too large."""
    assert said("{name: a, metric: m, condition: '>', threshold: " + "9" * 1_000_000 + "}") == [
        "x.yaml:1:38: threshold is not finite or too large; it must be a number that a double can hold"
    ]


def test_too_large_a_file_is_not_read(tmp_path: Path) -> None:
    """A file over the limit is refused by its size alone."""
    file = tmp_path / "large.yaml"
    with file.open("wb") as opened:
        opened.truncate(16 * 1024 * 1024 + 1)
    assert load_files([file]).problems[0].message == "cannot be read: it has over 16 MiB; split it"


def test_ten_thousand_rules_with_a_few_bad_ones() -> None:
    """A large file is loaded whole, but for the rules with problems."""

    def severity(n: int) -> str:
        return "hgih" if n % 100 == 7 else "high"

    text = "rules:\n" + "".join(
        f"  - {{name: Rule {n}, metric: cpu_usage, condition: '> {n}', severity: {severity(n)}}}\n"
        for n in range(10_000)
    )
    loaded = load(text)
    assert (len(loaded.rules), len(loaded.problems)) == (9_900, 100)
    assert loaded.problems[0].line == 9


def test_random_text_is_never_more_than_a_problem() -> None:
    """Whatever is in a file, the reader lives."""
    random = Random(7)
    alphabet = "{}[]:,-&*!|>'\"%@#? \n\tabc019.\\u\ud800é\x07"
    for _ in range(2_000):
        load("".join(random.choices(alphabet, k=random.randint(0, 60))))
