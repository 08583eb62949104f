"""Asset checks: each asks one question of :mod:`quarry_dagster.checks` and reports the answer to Dagster.

A question about what users rely on is an error and blocks what comes after its asset; one about what they would
want to know is a warning. The profile's section `checks` sets the bounds.

What stands failed is noted in the data root, so that it blocks whoever publishes
(:mod:`quarry_dagster.checks.standing`).

Why so: "Checks ask the stored tables, not the step that wrote them" in docs/decisions.md.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from quarry_dagster.checks import (
    Finding,
    corpus_export,
    deduped_corpus,
    embeddings,
    extracted_text,
    faiss_index,
    page_metadata,
    personal_data,
    quality_signals,
    raw_pages,
)
from quarry_dagster.checks.standing import is_accepted
from quarry_dagster.errors import IndexCorruptError, StoreError
from quarry_dagster.orchestration import assets
from quarry_dagster.orchestration.partitions import CRAWL_BATCHES
from quarry_dagster.orchestration.resources import Quarry
from quarry_dagster.orchestration.run_config import CheckConfig, accepted_here
from quarry_dagster.profiles.remembered import has_own_bounds
from quarry_dagster.profiles.settings import HardwareProfile
from quarry_dagster.store import Store
from quarry_dagster.store.failed_checks import WHOLE_TABLE, FailedChecks

_OfPartitions = Callable[[Store, HardwareProfile, Sequence[str]], Finding]
_OfTable = Callable[[Store, HardwareProfile], Finding]

_ERROR, _WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
_FAILING = "failing_partitions"


def _gate_partitions(asset: dg.AssetsDefinition, question: _OfPartitions) -> dg.AssetChecksDefinition:
    """A blocking check of a partitioned asset.

    A failure in a partition of the run is an error, unless the run accepts it. Partitions that stand failed are asked
    again; where only these fail, it is a warning. Dagster shows the last answer for all partitions, and a good answer
    for some must not hide that others are still bad.
    """
    name = f"{asset.key.to_user_string()}.{question.__name__}"

    @dg.asset_check(asset=asset, name=question.__name__, description=question.__doc__, blocking=True)
    def check(context: dg.AssetCheckExecutionContext, config: CheckConfig, quarry: Quarry) -> dg.AssetCheckResult:
        store, profile = quarry.store(), quarry.hardware_profile()
        existing, mine = store.batches.segments(), _partitions(context, store)
        before = store.failed_checks().standing.get(name, {})
        asked = list(dict.fromkeys([*mine, *(p for p in before if p in existing)]))
        finding = _answer(question, store, profile, asked)
        failing = [] if finding.passed else [p for p in asked if not _answer(question, store, profile, [p]).passed]
        _note(store, profile, name, [*asked, *before], failing)
        is_mine = not set(mine).isdisjoint(failing)
        severity = _ERROR if (is_mine or not failing) and not _is_accepted(context, config) else _WARN
        return _result(finding, severity, {_FAILING: failing} if failing else {})

    return check


def _watch_partitions(asset: dg.AssetsDefinition, question: _OfPartitions) -> dg.AssetChecksDefinition:
    """A check of a partitioned asset, asked of the run's partitions; a failure is a warning."""

    @dg.asset_check(asset=asset, name=question.__name__, description=question.__doc__)
    def check(context: dg.AssetCheckExecutionContext, quarry: Quarry) -> dg.AssetCheckResult:
        store = quarry.store()
        profile, partitions = quarry.hardware_profile(), _partitions(context, store)
        finding = _answer(question, store, profile, partitions)
        return _result(finding, _WARN)

    return check


def _ask(asset: dg.AssetsDefinition, question: _OfTable, severity: dg.AssetCheckSeverity) -> dg.AssetChecksDefinition:
    """A check of a global asset; where a failure is an error, it blocks what comes after the asset, unless accepted."""
    is_error = severity == _ERROR
    name = f"{asset.key.to_user_string()}.{question.__name__}"

    @dg.asset_check(asset=asset, name=question.__name__, description=question.__doc__, blocking=is_error)
    def check(context: dg.AssetCheckExecutionContext, config: CheckConfig, quarry: Quarry) -> dg.AssetCheckResult:
        store = quarry.store()
        profile = quarry.hardware_profile()
        finding = _answer(question, store, profile)
        if is_error:
            _note(store, profile, name, [WHOLE_TABLE], [] if finding.passed else [WHOLE_TABLE])
        return _result(finding, _WARN if _is_accepted(context, config) else severity)

    return check


def _answer(question: Callable[..., Finding], *about: Any) -> Finding:
    """The answer to a question; a table that is damaged does not hold what it should, so that it is made again."""
    try:
        return question(*about)
    except (StoreError, IndexCorruptError) as e:
        return Finding(False, str(e))


def _note(store: Store, profile: HardwareProfile, check: str, asked: Sequence[str], failing: Sequence[str]) -> None:
    """Note what stands failed; an answer under other bounds than the data root's own is no answer about it."""
    if has_own_bounds(store, profile):
        FailedChecks.note(store.files, check, asked, failing, datetime.now(UTC))


def _is_accepted(context: dg.AssetCheckExecutionContext, config: CheckConfig) -> bool:
    return bool(config.accepted and accepted_here(context, ["a failure of this check"]))


def _result(
    finding: Finding, severity: dg.AssetCheckSeverity, more: dict[str, list[str]] | None = None
) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=finding.passed,
        severity=severity,
        description=finding.summary,
        metadata=dict(finding.facts) | (more or {}),
    )


def _partitions(context: dg.AssetCheckExecutionContext, store: Store) -> Sequence[str]:
    """The partitions of the run; all that there are where the run names none, as a run of checks alone."""
    if context.has_partition_key_range:
        listed, ends = context.instance.get_dynamic_partitions(CRAWL_BATCHES), context.partition_key_range
        return listed[listed.index(ends.start) : listed.index(ends.end) + 1]
    return [context.partition_key] if context.has_partition_key else list(store.batches.segments())


ALL: Sequence[dg.AssetChecksDefinition] = [
    _gate_partitions(assets.raw_pages, raw_pages.contract),
    _watch_partitions(assets.raw_pages, raw_pages.fetch_success),
    _gate_partitions(assets.extracted_text, extracted_text.contract),
    _watch_partitions(assets.extracted_text, extracted_text.extraction_yield),
    _watch_partitions(assets.extracted_text, extracted_text.language_drift),
    _gate_partitions(assets.page_metadata, page_metadata.contract),
    _gate_partitions(assets.personal_data, personal_data.contract),
    _gate_partitions(assets.quality_signals, quality_signals.contract),
    _gate_partitions(assets.embeddings, embeddings.contract),
    _gate_partitions(assets.embeddings, embeddings.vectors),
    _ask(assets.faiss_index, faiss_index.contract, _ERROR),
    _ask(assets.faiss_index, faiss_index.recall_at_10, _ERROR),
    _ask(assets.deduped_corpus, deduped_corpus.contract, _ERROR),
    _ask(assets.deduped_corpus, deduped_corpus.conservation, _ERROR),
    _ask(assets.deduped_corpus, deduped_corpus.witnesses, _ERROR),
    _ask(assets.deduped_corpus, deduped_corpus.no_duplicates_left, _ERROR),
    _ask(assets.deduped_corpus, deduped_corpus.removal_rate, _WARN),
    _ask(assets.deduped_corpus, deduped_corpus.large_clusters, _WARN),
    _ask(assets.deduped_corpus, deduped_corpus.up_to_date, _WARN),
    _ask(assets.corpus_export, corpus_export.as_promised, _WARN),
]

BLOCKING: Sequence[str] = [
    f"{key.asset_key.to_user_string()}.{key.name}"
    for check in ALL
    for key, spec in zip(check.check_keys, check.check_specs, strict=True)
    if spec.blocking
]
"""The names ("asset.check") of the checks that block, and that a run may be told to accept."""


def run_config(
    *,
    force: bool = False,
    refetch: bool = False,
    only: str | None = None,
    accept_shrink: bool = False,
    accept_check: Sequence[str] = (),
) -> dict[str, dict[str, Any]]:
    """The configuration of assets and checks, by the name of their op, that says these words to all of a run."""
    accept = {"accept_check": list(accept_check)}
    words: dict[str, dict[str, Any]] = {name: {"force": force} for name in assets.NAMES if name != "corpus_report"}
    words["raw_pages"] |= {"refetch": refetch, "only": only}
    words["extracted_text"] |= {"only": only}
    words["faiss_index"] |= accept
    words["deduped_corpus"] |= accept | {"accept_shrink": accept_shrink}
    words |= {name.replace(".", "_"): {"accepted": is_accepted(name, accept_check)} for name in BLOCKING}
    said = {name: {word: value for word, value in each.items() if value} for name, each in words.items()}
    return {name: each for name, each in said.items() if each}
