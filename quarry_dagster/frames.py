"""Deduplicating the rows of a frame: the public function, without a data root, files, network or vectors."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import index
from typing import Any, Generic, Literal, TypeVar

import narwhals.stable.v2 as nw
import numpy as np
import polars as pl
from narwhals.stable.v2.typing import IntoFrame
from pydantic import ValidationError

from quarry_dagster.dates import day_of
from quarry_dagster.dedup.anew import TextSketches, decide_anew
from quarry_dagster.dedup.shingles import sketches
from quarry_dagster.errors import ConfigError, InvalidId
from quarry_dagster.extract import count_words, text_digest
from quarry_dagster.extract.decode import NotText, refuse_unreadable
from quarry_dagster.extract.words import of_plain_text
from quarry_dagster.profiles.settings import Deduplication
from quarry_dagster.store.schemas import DOCUMENTS
from quarry_dagster.urls import CURRENT_FORM, doc_id
from quarry_dagster.urns import own_id, urn_of

FrameT = TypeVar("FrameT", bound=IntoFrame)

_TWICE = "two columns of the frame have one name; rename one of them"
_NAMED = 3
"""So many bad ids of a kind are named in an error."""
_ROWS = 1024
"""Rows whose texts are in memory at once, beside the frame."""
_CHARACTERS = 4_000_000
"""Characters of the texts that are sketched at once."""


@dataclass(frozen=True)
class Deduplicated(Generic[FrameT]):
    """What became of the rows of a frame: three frames of the kind that was given."""

    kept: FrameT
    """The rows that stay, in their order, with all their columns; in mode `annotate` all that were not skipped."""
    removed: FrameT
    """A row a duplicate, in the order of the rows: `removed_id`; `kept_id`, the kept row that it duplicates;
    `witness_id`, the row that it satisfies the rule with: the kept one, or one that was removed for the kept one;
    `level` (`exact`, `near` or `contained`) and `rule`, why; `cosine`, which is null; `jaccard`; `containment`, of the
    removed text's shingles in the witness'."""
    skipped: FrameT
    """A row a row without a text to compare: its `id` and the `reason`."""


def deduplicate(
    frame: FrameT,
    *,
    text: str | int = "text",
    id: str | int | None = None,
    name: str = "data",
    mode: Literal["strict", "balanced", "annotate"] = "balanced",
    contained: Literal["keep", "remove"] = "keep",
    keep: Sequence[Literal["longest", "earliest", "doc_id"]] = ("longest", "earliest", "doc_id"),
    min_words: int | None = None,
) -> Deduplicated[FrameT]:
    """Tell which rows of a frame are duplicates of others, by their texts.

    A run does the same to documents of the same texts and ids, by the same functions, unless it is set to look at
    cosines too.

    Args:
        frame: a DataFrame or LazyFrame of polars, a DataFrame of pandas, or a Table or RecordBatch of pyarrow.
        text: its column of texts.
        id: its column of ids, texts or whole numbers, each once. Without it a row's id is its number, from 0 on.
        name: what the ids are ids of. Of rows that `keep` does not tell apart the one stays whose id, hashed with this
            name, comes first: whatever the order of the rows. With the name of a seed a run keeps the same.
        mode: `strict`: equal texts, and those that a kept text contains as a whole; `balanced`: near duplicates too;
            `annotate`: as balanced, but all rows are kept. `aggressive` needs vectors, which only a run has.
        contained: whether a text goes that stands as a whole in one more than three times as long.
        keep: in which order duplicates are taken, the first of which stays; with `longest` first a cleaner copy stays
            in place of the longest. `earliest` is the one with the earlier ISO 8601 date in the column `date`,
            if there is one.
        min_words: None: every text counts, however short. A number: what a run with that `extraction.min_words` leaves
            out is skipped too, and its outcome is the reason: `too_short`, `error` (control characters).

    Returns:
        Every row is in `kept`, or in `removed` by its id, or in `skipped`: with the reason `null` or `empty` where it
        has no text, and those of `min_words`.

    Raises:
        ConfigError: an argument is wrong, a column is not there, a text is no text, or ids are missing, are none, or
            stand in several rows; the message names the rows. A run is less strict about ids: there such a row is
            reported and lost, and the others are taken.
    """
    settings = _settings(mode, contained, keep)
    min_words = _whole(min_words)
    given, as_given = _table(frame)
    rows = _Rows(given, text, id, "date" if "earliest" in settings.keep else None)
    doc_ids = _doc_ids(rows, name)
    documents, found, skipped = _documents(rows, doc_ids, min_words)

    first = dict(documents.unique("text_digest", keep="first").select("text_digest", "row").iter_rows())

    def read(digests: pl.Series) -> pl.DataFrame:
        at = [first[digest] for digest in digests.to_list()]
        return pl.DataFrame([digests.alias("text_digest"), pl.Series("text", rows.texts_at(at), dtype=pl.String)])

    decisions = decide_anew(documents.select(DOCUMENTS.names()), found, read, settings)
    number = documents.select("doc_id", "row")
    decisions = (
        decisions.join(number.rename({"row": "removed"}), left_on="removed_id", right_on="doc_id")
        .join(number.rename({"row": "kept"}), left_on="kept_id", right_on="doc_id")
        .join(number.rename({"row": "witness"}), left_on="witness_id", right_on="doc_id")
        .sort("removed")
    )
    stays = np.ones(len(given), np.bool_)
    stays[list(skipped)] = False
    if settings.mode != "annotate":
        stays[decisions["removed"].to_numpy()] = False
    removed = {
        "removed_id": rows.ids_at(decisions["removed"].to_list()),
        "kept_id": rows.ids_at(decisions["kept"].to_list()),
        "witness_id": rows.ids_at(decisions["witness"].to_list()),
        **{c: rows.series(decisions[c].to_list(), nw.String()) for c in ("level", "rule")},
        "cosine": rows.series([None] * decisions.height, nw.Float64()),
        **{c: rows.series(decisions[c].to_list(), nw.Float64()) for c in ("jaccard", "containment")},
    }
    left_out = {"id": rows.ids_at(list(skipped)), "reason": rows.series(list(skipped.values()), nw.String())}
    kept_rows = given if stays.all() else given.filter(stays.tolist())
    frames = (kept_rows, nw.from_dict(removed), nw.from_dict(left_out))
    return Deduplicated(*map(as_given, frames))


def _settings(mode: str, contained: str, keep: Sequence[str]) -> Deduplication:
    if mode == "aggressive":
        raise ConfigError(
            "mode 'aggressive' compares vectors, and here there are none: use 'balanced', or give the rows to "
            "`quarry run` as a seed"
        )
    try:
        return Deduplication.model_validate({"mode": mode, "contained": contained, "keep": keep})
    except ValidationError as e:
        wrong = (f"{'.'.join(map(str, each['loc']))}: {each['msg']} (got {each['input']!r})" for each in e.errors())
        raise ConfigError("; ".join(wrong)) from e


def _whole(min_words: Any) -> int | None:
    """The number of words as a whole number, None as it is."""
    if min_words is None:
        return None
    try:
        found = -1 if isinstance(min_words, bool) else index(min_words)
    except TypeError:
        found = -1
    if found < 0:
        raise ConfigError(f"min_words={min_words!r} is no whole number from 0 on; write one, as min_words=20, or None")
    return found


def _table(frame: Any) -> tuple[nw.DataFrame[Any], Callable[[nw.DataFrame[Any]], Any]]:
    """The frame as narwhals has it, and what makes of such a one a frame of the kind that was given."""
    if type(frame).__module__.partition(".")[0] == "pyarrow":
        return _of_arrow(frame)
    try:
        given = nw.from_native(frame)
    except TypeError as e:
        kind = f"{type(frame).__module__}.{type(frame).__name__}"
        raise ConfigError(f"a frame of polars, pandas or pyarrow is needed, not a {kind}") from e
    except nw.exceptions.DuplicateError as e:
        raise ConfigError(_TWICE) from e
    if isinstance(given, nw.DataFrame):
        return given, nw.DataFrame.to_native
    if not given.implementation.is_polars():
        raise ConfigError(f"a lazy frame of {given.implementation} is not read; collect it first")
    return given.collect(), lambda found: found.lazy().to_native()


def _of_arrow(frame: Any) -> tuple[nw.DataFrame[Any], Callable[[nw.DataFrame[Any]], Any]]:
    """As :func:`_table`, for what pyarrow has: it cannot choose rows of the types `string_view` and `binary_view`."""
    import pyarrow as pa

    if not isinstance(frame, pa.Table | pa.RecordBatch):
        kind = f"{type(frame).__module__}.{type(frame).__name__}"
        raise ConfigError(f"a frame of polars, pandas or pyarrow is needed, not a {kind}")
    plain = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}
    table = pa.Table.from_batches([frame]) if isinstance(frame, pa.RecordBatch) else frame
    fields = [field.with_type(plain.get(field.type, field.type)) for field in table.schema]

    def as_given(found: nw.DataFrame[Any]) -> Any:
        native = found.to_native()
        if native.column_names == table.column_names:
            native = native.cast(table.schema)
        if isinstance(frame, pa.Table):
            return native
        batches = native.combine_chunks().to_batches()
        return batches[0] if batches else pa.RecordBatch.from_pylist([], native.schema)

    if len(set(table.column_names)) < table.num_columns:
        raise ConfigError(_TWICE)
    return nw.from_native(table.cast(pa.schema(fields, table.schema.metadata)), eager_only=True), as_given


class _Rows:
    """The columns of a frame that are asked for."""

    def __init__(self, table: nw.DataFrame[Any], text: str | int, id: str | int | None, date: str | None) -> None:
        self._table = table
        self._text, self._id = self._column(text, "text"), None if id is None else self._column(id, "id")
        self._text_name, self._id_name = text, id
        self._date = table[date] if date is not None and date in table.columns else None

    def _column(self, name: str | int, argument: str) -> nw.Series[Any]:
        columns = self._table.columns
        if isinstance(name, str) and name in columns:
            return self._table[name]
        if name in columns:  # pandas has names that are no texts, which narwhals takes for numbers of rows
            return nw.from_native(self._table.to_native()[name], series_only=True)
        near = [each for each in columns if str(each) == str(name)]
        near = near or difflib.get_close_matches(str(name), [each for each in columns if isinstance(each, str)], 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(map(repr, columns)) or 'none'}"
        raise ConfigError(f"no column {name!r}, which {argument}= names; {hint}")

    def own_ids(self) -> list[str]:
        """The id of each row, as text.

        Raises:
            ConfigError: an id is missing, is no id, or that of another row; all such rows are counted, and the first of
                each kind named, so that they can be mended in one go.
        """
        if self._id is None:
            return list(map(str, range(len(self._table))))
        found: list[str] = []
        seen: dict[str, int] = {}
        missing: list[str] = []
        wrong: list[str] = []
        again: list[str] = []
        for row, (value, is_null) in enumerate(zip(self._id.to_list(), self._id.is_null().to_list(), strict=True)):
            try:
                own = None if is_null else own_id(value)
            except InvalidId as e:
                wrong.append(f"row {row:,}: {e}")
                continue
            if own is None:
                missing.append(f"row {row:,} has no id")
            elif seen.setdefault(own, row) != row:
                again.append(f"the id {own[:100]!r} stands in rows {seen[own]:,} and {row:,}")
            else:
                found.append(own)
        if count := len(missing) + len(wrong) + len(again):
            kinds = (_first(each) for each in (missing, wrong, again) if each)
            where = f"{count:,} of {len(self._table):,} rows have no id of their own in column {self._id_name!r}"
            todo = "give each row one, drop the row, or leave id= out, and rows are named by number"
            raise ConfigError(f"{where} (rows are counted from 0): {'; '.join(kinds)}. To mend it, {todo}")
        return found

    def ids_at(self, rows: list[int]) -> nw.Series[Any]:
        """The ids of these rows, as they were given; without ids the numbers."""
        if self._id is None:
            return self.series(rows, nw.Int64())
        return nw.maybe_reset_index(self._id[rows])

    def series(self, values: list[Any], dtype: nw.dtypes.DType) -> nw.Series[Any]:
        """A column of the kind that the frame has."""
        return nw.new_series("", values, dtype, backend=self._table.implementation)

    def texts(self) -> Iterator[str | None]:
        """The text of each row in the form in which a run keeps it, None where it is null.

        Raises:
            ConfigError: a value is no text.
        """
        for start in range(0, len(self._table), _ROWS):
            part = self._text[start : start + _ROWS]
            for row, (value, is_null) in enumerate(zip(part.to_list(), part.is_null().to_list(), strict=True), start):
                if not is_null and not isinstance(value, str):
                    wrong = f"row {row:,} (from 0) of column {self._text_name!r} is a {type(value).__name__}, no text"
                    raise ConfigError(f"{wrong}; cast the column to text, or name another one by text=")
                yield None if is_null else _as_kept(value)

    def texts_at(self, rows: list[int]) -> list[str]:
        """The texts of these rows, none of which is null."""
        return [_as_kept(value) for value in self._text[rows].to_list()]

    def days(self) -> Iterable[str | None]:
        """The day, month or year of each row, None where it says none."""
        return (
            [None] * len(self._table)
            if self._date is None
            else (day_of(str(value).strip()) for value in self._date.to_list())
        )


def _first(said: list[str]) -> str:
    """The first of these, and how many more there are."""
    more = f", and {len(said) - _NAMED:,} more" if len(said) > _NAMED else ""
    return ", ".join(said[:_NAMED]) + more


def _as_kept(text: str) -> str:
    """A text as a run has it, in UTF-8 and without a byte order mark, in the form in which it is kept."""
    if not text.isascii():
        text = text.encode(errors="replace").decode().removeprefix("\ufeff")
    return of_plain_text(text)


def _doc_ids(rows: _Rows, name: str) -> list[str]:
    """The id that a document of each row has in a run."""
    if not isinstance(name, str) or not name.strip():
        raise ConfigError(f"name={name!r} is no text, or is empty; name what the ids are ids of, as name='books'")
    try:
        return [doc_id(urn_of(name.strip(), own), CURRENT_FORM) for own in rows.own_ids()]
    except UnicodeEncodeError as e:
        raise ConfigError(f"name={name!r} has half a character (a lone surrogate); write it anew") from e


def _documents(
    rows: _Rows, doc_ids: list[str], min_words: int | None
) -> tuple[pl.DataFrame, TextSketches, dict[int, str]]:
    """Read all texts once.

    Returns:
        The rows with a text to compare (schema DOCUMENTS and the column `row`), the sketches of their distinct texts,
        and the others: the reasons by row.
    """
    skipped: dict[int, str] = {}
    found: list[tuple[int, str, int, str | None]] = []
    made = _Sketcher()
    for row, (text, day) in enumerate(zip(rows.texts(), rows.days(), strict=True)):
        words = count_words(text) if text else 0
        reason = _reason(text, words, min_words)
        if text is None or reason:
            skipped[row] = reason
            continue
        digest = text_digest(text)
        made.add(digest, text)
        found.append((row, digest, words, day))
    columns = {"row": pl.Int64, "text_digest": pl.String, "word_count": pl.Int64, "date": pl.String}
    ids = pl.Series("doc_id", [doc_ids[row] for row, *_ in found], dtype=pl.String)
    documents = pl.DataFrame(found, columns, orient="row").with_columns(ids, url=ids, page_url=ids)
    documents = documents.with_columns(own_id=pl.lit(None, pl.String), canonical_page=pl.lit(None, pl.String))
    return documents, made.done(), skipped


def _reason(text: str | None, words: int, min_words: int | None) -> str:
    """Why a row is skipped, "" where it is not."""
    if not text:
        return "null" if text is None else "empty"
    if min_words is None:
        return ""
    try:
        refuse_unreadable(text)
    except NotText:
        return "error"
    return "too_short" if words < min_words else ""


class _Sketcher:
    """Sketches texts, many at once, each distinct one once."""

    def __init__(self) -> None:
        self._digests: dict[str, None] = {}
        self._waiting: list[str] = []
        self._characters = 0
        self._made: list[np.ndarray] = []

    def add(self, digest: str, text: str) -> None:
        if digest in self._digests:
            return
        self._digests[digest] = None
        self._waiting.append(text)
        self._characters += len(text)
        if self._characters >= _CHARACTERS or len(self._waiting) >= _ROWS:
            self._sketch()

    def done(self) -> TextSketches:
        """The sketches of all texts that were added."""
        self._sketch()
        sizes = np.array([len(each) for each in self._made], np.int64)
        hashes = np.concatenate([np.empty(0, np.uint64), *self._made])
        return TextSketches(pl.Series(list(self._digests), dtype=pl.String), sizes, hashes)

    def _sketch(self) -> None:
        self._made += sketches(self._waiting)
        self._waiting, self._characters = [], 0
