"""A policy is a file of rules: what fails them, and what is said of a file that is none."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from quarry_dagster.errors import ConfigError
from quarry_dagster.quality.policy import Policy, Rule, read_policy, shipped
from quarry_dagster.quality.signals import SIGNALS

NAMES = [signal.name for signal in SIGNALS]


def _policy(*rules: Mapping[str, object]) -> Policy:
    return Policy.model_validate({"name": "test", "version": 1, "rules": rules})


def _rule(name: str = "r", signal: str = "x", op: str = ">", threshold: float = 0.3, **among: Any) -> dict[str, Any]:
    return {"name": name, "signal": signal, "op": op, "threshold": threshold, **among}


def _rows(x: list[float | None], **columns: list[str | None]) -> pl.DataFrame:
    others = {name: columns.get(name, [None] * len(x)) for name in ("language", "page_type", "host")}
    return pl.DataFrame({"x": x, **others}, schema={"x": pl.Float32, **dict.fromkeys(others, pl.String)})


@pytest.mark.parametrize(
    ("op", "fails"),
    [("<", [0]), ("<=", [0, 1]), (">", [2]), (">=", [1, 2]), ("==", [1]), ("!=", [0, 2])],
)
def test_a_comparison_is_made_with_the_threshold_as_it_is_written_and_a_null_fails_none(
    op: str, fails: list[int]
) -> None:
    found = _policy(_rule(op=op)).failures(_rows([0.1, 0.3, 0.5, None]))
    assert found["row"].to_list() == fails
    assert found["threshold"].to_list() == [0.3] * len(fails)


def test_a_rule_is_for_the_languages_types_and_hosts_that_it_names() -> None:
    rows = _rows(
        [1.0] * 4,
        language=["en", "de", None, "en"],
        page_type=["article", "product", None, "forum"],
        host=["example.org", "a.example.org", "badexample.org", None],
    )
    failing = {
        name: _policy(_rule() | among).failures(rows)["row"].to_list()
        for name, among in {
            "language": {"language": ["en"]},
            "not_language": {"not_language": ["en"]},
            "page_type": {"page_type": ["article", "product"]},
            "not_page_type": {"not_page_type": ["forum"]},
            "host": {"host": ["example.org"]},
            "two": {"language": ["en"], "not_page_type": ["article"]},
        }.items()
    }
    assert failing == {
        "language": [0, 3],
        "not_language": [1, 2],
        "page_type": [0, 1],
        "not_page_type": [0, 1, 2],
        "host": [0, 1],
        "two": [3],
    }


def test_every_failed_rule_is_told_in_the_order_of_the_policy() -> None:
    found = _policy(_rule("z", threshold=0.5), _rule("a", threshold=0.1)).failures(_rows([0.2, 0.9]))
    assert found.select("row", "rule").rows() == [(0, "a"), (1, "z"), (1, "a")]


def test_the_digest_is_of_what_decides() -> None:
    one = _policy(_rule())
    assert one.model_copy(update={"description": "another"}).digest == one.digest
    assert _policy(_rule(threshold=0.31)).digest != one.digest
    assert one.stamp == f"test@1 {one.digest}"


@pytest.mark.parametrize("name", shipped())
def test_each_shipped_policy_can_be_read(name: str) -> None:
    policy = read_policy(name, NAMES)
    assert policy.rules and policy.description
    assert policy.title == name or name == "annotate"


def test_the_policy_by_default_has_the_rules_of_ours_and_drops_nothing() -> None:
    default, ours = read_policy("annotate", NAMES), read_policy("quarry@1", NAMES)
    assert (default.rules, default.action, ours.action) == (ours.rules, "annotate", "drop")


HEAD = "name: mine\nversion: 1\nrules:\n"
RULE = "  - {name: a, signal: words_v1, op: '<', threshold: 5}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected a mapping of a policy's keys, got NoneType"),
        ("- a", "got list"),
        ("name: [", "not a YAML file"),
        ("name: mine\nname: yours", "the key 'name' stands twice"),
        ("name: mine\nversion: 1", "rules: Field required"),
        (f"{HEAD}{RULE.replace('threshold', 'treshold')}", "unknown key 'rules.0.treshold'; the nearest valid key is"),
        (f"nmae: mine\n{HEAD}{RULE}", "unknown key 'nmae'; the nearest valid key is 'name'"),
        (
            f"{HEAD}{RULE.replace('words_v1', 'word_v1')}",
            "rules.0.signal: no signal 'word_v1'; the nearest is 'words_v1'",
        ),
        (f"{HEAD}{RULE.replace('5', 'five')}", "rules.0.threshold: Input should be a valid number"),
        (f"{HEAD}{RULE.replace('5', '.nan')}", "rules.0.threshold: Input should be a finite number"),
        (f"{HEAD}{RULE.replace('<', '=<')}", "rules.0.op: Input should be '<'"),
        (f"{HEAD}{RULE}{RULE}", "two rules are named 'a'"),
        (f"{HEAD}{RULE.replace('5}', '5, page_type: [artcle]}')}", "no page type 'artcle'; the nearest is 'article'"),
        (f"{HEAD}{RULE.replace('5}', '5, host: []}')}", "an empty list is for no document"),
        (f"{HEAD}{RULE.replace('5}', '5, language: []}')}", "an empty list is for no document"),
        (
            f"{HEAD}{RULE.replace('5}', '5, language: [english]}')}",
            "a code of ISO 639-1, such as en, and not 'english'",
        ),
        (f"{HEAD}{RULE.replace('5}', '5, host: [https://a.example/]}')}", "a host is a name such as example.org"),
        (
            f"{HEAD}{RULE.replace('5}', '5, host: [*.example]}')}".replace("*.example", "'*.example'"),
            "a host is a name",
        ),
        ("name: mine\nversion: 1\nrules: quary@1", "rules: no policy with rules 'quary@1'; the nearest is 'quarry@1'"),
        ("name: mine\nversion: 1\nrules: annotate", "rules: no policy with rules 'annotate'"),
    ],
)
def test_a_file_that_is_no_policy_is_named_with_the_key_and_the_nearest_valid_one(
    tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        read_policy(str(path), NAMES)
    assert str(path) in str(error.value)
    assert said in str(error.value)


def test_a_host_is_meant_however_it_is_written_and_whatever_its_port() -> None:
    hosts = ["Good.Example", "münchen.example", "dot.example."]
    rule = Rule.model_validate(_rule(host=hosts))
    assert rule.host == ("good.example", "xn--mnchen-3ya.example", "dot.example")
    rows = _rows([1.0] * 3, host=["good.example:8443", "a.dot.example", "xn--mnchen-3ya.example"])
    assert _policy(_rule(host=hosts)).failures(rows)["row"].to_list() == [0, 1, 2]


def test_what_a_few_lines_name_a_million_times_is_not_told_whole(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 7)]
    (tmp_path / "bomb.yaml").write_text("\n".join([*lines, "name: *a6", "version: 1", "rules: []"]))
    with pytest.raises(ConfigError) as error:
        read_policy(str(tmp_path / "bomb.yaml"), NAMES)
    assert len(str(error.value)) < 5_000


def test_a_file_that_is_not_there_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such policy file"):
        read_policy(str(tmp_path / "mine.yaml"), NAMES)
    with pytest.raises(ConfigError, match="is no file"):
        read_policy(str(tmp_path), NAMES)


def test_a_name_of_no_policy_is_told_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no policy 'goper@1'.*did you mean 'gopher@1'"):
        read_policy("goper@1", [*NAMES])
