"""Asset checks: each asks one question of :mod:`quarry_dagster.checks` and reports the answer to Dagster.

A question about what users rely on is an error and blocks what comes after its asset; one about what they would
want to know is a warning. The profile's section `checks` sets the bounds.

Why so: "Checks ask the stored tables, not the step that wrote them" in docs/decisions.md.
"""

from collections.abc import Callable, Sequence

import dagster as dg

from quarry_dagster.checks import Finding, deduped_corpus, embeddings, extracted_text, faiss_index, raw_pages
from quarry_dagster.orchestration import assets
from quarry_dagster.orchestration.partitions import CRAWL_BATCHES
from quarry_dagster.orchestration.resources import Quarry
from quarry_dagster.profiles.settings import HardwareProfile
from quarry_dagster.store import Store

_OfPartitions = Callable[[Store, HardwareProfile, Sequence[str]], Finding]
_OfTable = Callable[[Store, HardwareProfile], Finding]

_ERROR, _WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
_FAILING = "failing_partitions"


def _gate_partitions(asset: dg.AssetsDefinition, question: _OfPartitions) -> dg.AssetChecksDefinition:
    """A blocking check of a partitioned asset.

    A failure in a partition of the run is an error. Partitions that failed when the check was last answered are asked
    again; where only these fail, it is a warning. Dagster shows the last answer for all partitions, and a good answer
    for some must not hide that others are still bad.
    """

    @dg.asset_check(asset=asset, name=question.__name__, description=question.__doc__, blocking=True)
    def check(context: dg.AssetCheckExecutionContext, quarry: Quarry) -> dg.AssetCheckResult:
        store, profile = quarry.store(), quarry.hardware_profile()
        existing, mine = store.batches.segments(), _partitions(context, store)
        before = [p for p in _failed_before(context, asset.key, question.__name__) if p in existing]
        asked = list(dict.fromkeys([*mine, *before]))
        finding = question(store, profile, asked)
        failing = [] if finding.passed else [p for p in asked if not question(store, profile, [p]).passed]
        is_mine = not set(mine).isdisjoint(failing)
        severity = _ERROR if is_mine or not failing else _WARN
        return _result(finding, severity, {_FAILING: failing} if failing else {})

    return check


def _watch_partitions(asset: dg.AssetsDefinition, question: _OfPartitions) -> dg.AssetChecksDefinition:
    """A check of a partitioned asset, asked of the run's partitions; a failure is a warning."""

    @dg.asset_check(asset=asset, name=question.__name__, description=question.__doc__)
    def check(context: dg.AssetCheckExecutionContext, quarry: Quarry) -> dg.AssetCheckResult:
        store = quarry.store()
        finding = question(store, quarry.hardware_profile(), _partitions(context, store))
        return _result(finding, _WARN)

    return check


def _ask(asset: dg.AssetsDefinition, question: _OfTable, severity: dg.AssetCheckSeverity) -> dg.AssetChecksDefinition:
    """A check of a global asset; where a failure is an error, it blocks what comes after the asset."""
    is_error = severity == _ERROR

    @dg.asset_check(asset=asset, name=question.__name__, description=question.__doc__, blocking=is_error)
    def check(quarry: Quarry) -> dg.AssetCheckResult:
        return _result(question(quarry.store(), quarry.hardware_profile()), severity)

    return check


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


def _failed_before(context: dg.AssetCheckExecutionContext, asset: dg.AssetKey, name: str) -> Sequence[str]:
    """The partitions that failed this check when it was last answered.

    The latest records of a check may only say that it is planned; they are passed over.
    """
    history = context.instance.event_log_storage.get_asset_check_execution_history(
        dg.AssetCheckKey(asset, name), limit=20
    )
    answered = (r.evaluation for r in history if isinstance(r.evaluation, dg.AssetCheckEvaluation))
    last = next(answered, None)
    failing = last.metadata.get(_FAILING) if last else None
    return [str(p) for p in failing.value] if isinstance(failing, dg.JsonMetadataValue) else []  # pyright: ignore


ALL: Sequence[dg.AssetChecksDefinition] = [
    _gate_partitions(assets.raw_pages, raw_pages.contract),
    _watch_partitions(assets.raw_pages, raw_pages.fetch_success),
    _gate_partitions(assets.extracted_text, extracted_text.contract),
    _watch_partitions(assets.extracted_text, extracted_text.extraction_yield),
    _watch_partitions(assets.extracted_text, extracted_text.language_drift),
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
]
