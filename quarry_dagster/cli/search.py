"""`quarry search`: nearest documents by meaning."""

from __future__ import annotations

import click
import polars as pl

from quarry_dagster.cli.options import data_option, profile_option
from quarry_dagster.environment import data_root, profile_name
from quarry_dagster.errors import ConfigError
from quarry_dagster.extract import normal_form
from quarry_dagster.profiles.choose import choose_profile
from quarry_dagster.reader import scan
from quarry_dagster.store import Store


@click.command()
@click.argument("text")
@click.option("-k", default=10, show_default=True, type=click.IntRange(1, 1000), help="How many documents.")
@data_option
@profile_option
def search(text: str, k: int, data: str | None, profile: str | None) -> None:
    """The K documents of the corpus nearest to TEXT by meaning, with their cosines."""
    from quarry_dagster.embed import load_encoder, vector_id
    from quarry_dagster.search.published import current_index, nearest_texts

    if not text.strip():
        raise click.UsageError("TEXT is blank: nothing to search for")
    root = data_root(data)
    settings = choose_profile(profile_name(profile)).profile
    store = Store(root)
    snapshot = current_index(store)
    if snapshot is None or store.deduped_corpus.current() is None:
        raise ConfigError(f"there is no corpus in {root}: quarry run makes one")
    if not snapshot.manifest["vectors"]:
        click.echo(f"the corpus in {root} has no documents")
        return
    if snapshot.manifest["model"] != vector_id(settings.embedding):
        raise ConfigError(
            f"the index holds vectors of {snapshot.manifest['model']!r}, profile {settings.name!r} names "
            f"{vector_id(settings.embedding)!r}: search with the profile that the corpus was made with (--profile)"
        )
    query = load_encoder(settings.embedding, settings.hardware.gpu_memory_fraction).encode([normal_form(text)])
    # The index holds removed duplicates' texts too: ask for more, until the corpus keeps K of what is found.
    asked, rows = k, pl.DataFrame()
    while rows.height < k:
        asked *= 4
        found = nearest_texts(store, snapshot, query, asked, settings.index)[0]
        rows = _kept(root, found, k)
        if len(found) < asked:
            break
    for row in rows.iter_rows(named=True):
        start = " ".join(row["text"].split())[:160]
        click.echo(f"{row['cosine']:.3f}  {row['url']}\n       {row['title'] or ''}\n       {start}")


def _kept(root: str, found: list[tuple[str, float]], k: int) -> pl.DataFrame:
    """The first k kept documents with these texts (digest, cosine), best first: columns cosine, url, title, text."""
    cosine = pl.DataFrame(found, schema={"text_digest": pl.String, "cosine": pl.Float64}, orient="row")
    # Filters, not joins alone: polars then reads no page of a file without a document that is wanted.
    ids = (
        scan("extracted_text", root)
        .select("doc_id", "text_digest")
        .filter(pl.col("text_digest").is_in(cosine["text_digest"].implode()))
        .join(cosine.lazy(), on="text_digest")
        .collect()
    )
    return (
        scan("deduped_corpus", root)
        .filter(pl.col("doc_id").is_in(ids["doc_id"].implode()))
        .join(ids.lazy(), on="doc_id")
        .sort("cosine", "doc_id", descending=[True, False])
        .head(k)
        .select("cosine", "url", "title", "text")
        .collect()
    )
