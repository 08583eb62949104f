"""Policies: which documents fail which rules, as files of rules over signals.

A rule names a signal, a comparison and a threshold: a document of which the comparison holds fails it. A value that is
not there fails no rule. A policy is a name, a version, an action and its rules; those that come with QuarryCore lie in
`policies/`, and a file of one's own works the same. Nothing in a policy is code.

Why so: "Signals apart from decisions" in docs/decisions.md.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import polars as pl
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from quarry_dagster.digests import digest
from quarry_dagster.errors import ConfigError
from quarry_dagster.page.kind import PAGE_TYPES
from quarry_dagster.settings_files import explained, read_settings

ANNOTATE, DROP = "annotate", "drop"
Action = Literal["annotate", "drop"]
"""What becomes of a document that fails: its failed rules are said in the corpus, or it is not in the corpus."""
Name = Annotated[str, Field(pattern=r"^[\w.-]{1,80}$")]
FAILURES = pl.Schema({"row": pl.UInt32, "rule": pl.String, "value": pl.Float32, "threshold": pl.Float64})
"""A row a failed rule: the number of the document's row, the rule, its signal's value and its threshold."""

_FOLDER = Path(__file__).parent / "policies"
_COMPARISONS = {
    "<": pl.Expr.lt,
    "<=": pl.Expr.le,
    ">": pl.Expr.gt,
    ">=": pl.Expr.ge,
    "==": pl.Expr.eq,
    "!=": pl.Expr.ne,
}


class _Read(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Rule(_Read):
    """One rule: a document of which `signal` `op` `threshold` holds fails it, if it is one that the rule is for."""

    name: Name
    signal: str
    op: Literal["<", "<=", ">", ">=", "==", "!="]
    threshold: Annotated[float, Field(strict=True, allow_inf_nan=False)]
    language: tuple[str, ...] = ()
    """Only documents in these languages, ISO 639-1; empty: in all, and those whose language is not known."""
    not_language: tuple[str, ...] = ()
    page_type: tuple[str, ...] = ()
    """Only pages of these types, as `page_type` of `extracted_text` has them; texts that are given have none."""
    not_page_type: tuple[str, ...] = ()
    host: tuple[str, ...] = ()
    """Only documents of these hosts and the hosts below them."""

    @field_validator("language", "not_language", "page_type", "not_page_type", "host")
    @classmethod
    def _names_some(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        if not values:
            raise ValueError("an empty list is for no document: leave the key out, and the rule is for all")
        return values

    @field_validator("language", "not_language")
    @classmethod
    def _are_languages(cls, codes: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := next((code for code in codes if not re.fullmatch("[a-z]{2}", code)), None):
            raise ValueError(f"a language is a code of ISO 639-1, such as en, and not {wrong[:40]!r}")
        return codes

    @field_validator("host")
    @classmethod
    def _are_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(_host, hosts))

    @field_validator("page_type", "not_page_type")
    @classmethod
    def _are_types(cls, types: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := next((each for each in types if each not in PAGE_TYPES), None):
            raise ValueError(_no("page type", unknown, PAGE_TYPES))
        return types

    @property
    def is_for(self) -> pl.Expr:
        """Whether a row is one that the rule looks at: columns language, page_type, host (String)."""
        found = [pl.lit(True)]
        for column in ("language", "page_type"):
            if among := getattr(self, column):
                found.append(pl.col(column).is_in(among).fill_null(False))
            if without := getattr(self, f"not_{column}"):
                found.append(~pl.col(column).is_in(without).fill_null(False))
        if self.host:
            host = pl.col("host").str.replace(r":\d+$", "")
            below = [(host == each) | host.str.ends_with(f".{each}") for each in self.host]
            found.append(pl.any_horizontal(below).fill_null(False))
        return pl.all_horizontal(found)

    @property
    def holds(self) -> pl.Expr:
        """Whether a row fails the rule: the columns of `is_for`, and the signal (Float32)."""
        return self.is_for & self.compared(self.signal)

    def compared(self, column: str) -> pl.Expr:
        """Whether a value in a column (Float32) fails the comparison."""
        # In the signal's own type: .3 as float32 is more than .3 as float64.
        return _COMPARISONS[self.op](pl.col(column), pl.lit(self.threshold, pl.Float32)).fill_null(False)


class Policy(_Read):
    """Rules under a name and a version."""

    name: Name
    version: Annotated[int, Field(gt=0)]
    description: str = ""
    source: str = ""
    """Where its rules and thresholds are from."""
    action: Action = ANNOTATE
    rules: tuple[Rule, ...]
    """In the order in which failed rules are told."""

    @field_validator("rules")
    @classmethod
    def _are_of_different_names(cls, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
        names = [rule.name for rule in rules]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"two rules are named {twice!r}: each failed rule is told by its name")
        return rules

    @property
    def title(self) -> str:
        """Its name and version, as `quarry@1`."""
        return f"{self.name}@{self.version}"

    @property
    def digest(self) -> str:
        """Twelve hex digits of the SHA-256 of its rules: with the same, the same documents fail."""
        rules = [rule.model_dump(mode="json") for rule in self.rules]
        return digest(json.dumps(rules, sort_keys=True).encode())[:12]

    @property
    def stamp(self) -> str:
        """Name, version and digest, as decisions carry them."""
        return f"{self.title} {self.digest}"

    def failures(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rules that documents fail, schema FAILURES, by row and in the order of the rules.

        Args:
            rows: a row a document: columns language, page_type, host (String) and each signal that a rule names.
        """
        masks = rows.select(rule.holds.alias(rule.name) for rule in self.rules)
        numbers = pl.Series("row", range(rows.height), dtype=pl.UInt32)
        found = [pl.DataFrame(schema={**FAILURES, "at": pl.Int32})]
        for at, rule in enumerate(self.rules):
            mask = masks[rule.name]
            if mask.any():
                values = {"row": numbers.filter(mask), "value": rows[rule.signal].filter(mask).cast(pl.Float32)}
                facts = {"rule": pl.lit(rule.name), "threshold": pl.lit(rule.threshold, pl.Float64)}
                found.append(
                    pl.DataFrame(values)
                    .select("row", "value", **facts, at=pl.lit(at, pl.Int32))
                    .select(*FAILURES, "at")
                )
        return pl.concat(found).sort("row", "at").drop("at")

    @property
    def signals(self) -> list[str]:
        """The signals that its rules name, each once."""
        return list(dict.fromkeys(rule.signal for rule in self.rules))


def shipped() -> list[str]:
    """The names of the policies that come with QuarryCore, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def read_policy(name_or_path: str, signals: Collection[str] | None) -> Policy:
    """The policy of a name that is shipped, or of a file.

    Args:
        signals: the signals that there are; None: rules may name any.

    Raises:
        ConfigError: there is none, it is not YAML, or a key, a value or a signal is wrong; the message names the file,
            the key, and the nearest valid one.
    """
    if name_or_path in shipped():
        path = _FOLDER / f"{name_or_path}.yaml"
    else:
        path = Path(name_or_path)
        if not path.is_file() and (path.suffix in (".yaml", ".yml") or path.exists()):
            raise ConfigError(f"{path}: {'is no file' if path.exists() else 'there is no such policy file'}")
        if not path.is_file():
            near = difflib.get_close_matches(name_or_path, shipped(), n=1, cutoff=0.7)
            raise ConfigError(
                f"no policy {name_or_path!r}: it is neither one of {', '.join(shipped())} nor the path of a YAML"
                + (f"; did you mean {near[0]!r}?" if near else "")
            )
    values = _values(path)
    if isinstance(of := values.get("rules"), str):
        if of not in shipped() or isinstance((rules := _values(_FOLDER / f"{of}.yaml")["rules"]), str):
            raise ConfigError(f"{path}: rules: {_no('policy with rules', of, shipped())}")
        values = values | {"rules": rules}
    try:
        policy = Policy.model_validate(values)
    except ValidationError as e:
        raise ConfigError("\n".join(f"{path}: {line}" for line in explained(e, Policy))) from e
    for i, rule in enumerate(policy.rules):
        if signals is not None and rule.signal not in signals:
            said = _no("signal", rule.signal, sorted(signals))
            scores = (
                "a score of a model is one where the profile names it in quality.classifiers, and texts are rated by it"
            )
            raise ConfigError(f"{path}: rules.{i}.signal: {said}; {scores}")
    return policy


def _values(path: Path) -> dict[str, Any]:
    """The values in a file of a policy."""
    try:
        found = read_settings(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path}: not a YAML file: {e}") from e
    except OSError as e:
        raise ConfigError(f"{path}: cannot be read: {e.strerror}") from e
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: expected a mapping of a policy's keys, got {type(found).__name__}")
    return found


def _host(name: str) -> str:
    """A host as a URL has it: in small letters, in ASCII, without a dot at its end."""
    try:
        host = name.strip().lower().removesuffix(".").encode("idna").decode()
    except UnicodeError:
        host = ""
    if not re.fullmatch(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*", host):
        raise ValueError(f"a host is a name such as example.org, with all below it, and not {name[:80]!r}")
    return host


def _no(what: str, name: str, valid: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, valid, n=1, cutoff=0.0)
    return f"no {what} {name!r}" + (f"; the nearest is {near[0]!r}" if near else "")
