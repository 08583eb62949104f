"""`quarry export`: the corpus as files to publish, to train on, or to hand on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from pydantic import ValidationError

from quarry_dagster.cli.options import data_option, json_option, print_json
from quarry_dagster.cli.terminal import safe
from quarry_dagster.environment import data_root, profile_name
from quarry_dagster.errors import ConfigError
from quarry_dagster.plural import plural
from quarry_dagster.profiles.settings import Export
from quarry_dagster.settings_files import explained

if TYPE_CHECKING:
    from quarry_dagster.store import Store


_SUMMARY = "training-summary"
_FORMATS = ("parquet", "jsonl", "huggingface", "tokens", "markdown", "chunks", _SUMMARY)


@click.command()
@click.argument("format_", metavar="FORMAT", type=click.Choice(_FORMATS))
@click.option("--to", required=True, metavar="DIR", help="Folder or fsspec URL that the export has for itself.")
@data_option
@click.option("--select", metavar="CONDITION", help="Only rows of which this holds, as behind SQL's WHERE.")
@click.option("--policy", metavar="P", help="Leave out what fails this quality policy: a name, or the path of a YAML.")
@click.option("--split", metavar="S", help="Shares that are held out: test=0.01,validation=0.01; the rest is train.")
@click.option("--group", default="domain", show_default=True, help="domain, host, seed, document or metadata.KEY.")
@click.option("--salt", default="", help="Another one gives other splits of the same sizes.")
@click.option("--redact", metavar="KINDS", help="Replace personal data: all, or some of email,phone,ip,card,iban,...")
@click.option("--redact-with", type=click.Choice(["placeholder", "pseudonym"]), default="placeholder")
@click.option(
    "--names", type=click.Choice(["quarry", "dolma"]), default="quarry", help="Names of fields in JSON lines."
)
@click.option(
    "--rate",
    multiple=True,
    metavar="R",
    help="How often documents are taken: language:en=1,de=2,*=0.5. May be repeated.",
)
@click.option("--weights", metavar="W", help="By how often a text was found: fineweb2, or 1=1,2=2,100=8.")
@click.option("--documents", metavar="N", help="Size of the whole in documents: 250000, 250k, 1.5M.")
@click.option("--bytes", metavar="N", help="Size of the whole in bytes of text: 10G.")
@click.option("--tokens", metavar="N", help="Size of the whole in tokens of --tokenizer: 10B.")
@click.option("--tokenizer", metavar="T", help="A tokenizer.json, a folder with one, or a model on the hub.")
@click.option("--tokenizer-revision", metavar="COMMIT", help="Its commit on the hub.")
@click.option("--end-of-text", metavar="TOKEN", help="Token behind each document, in the format tokens.")
@click.option("--chunk-tokens", default=256, show_default=True, help="Tokens of a passage, at most.")
@click.option("--chunk-overlap", default=32, show_default=True, help="Tokens that the next passage may repeat.")
@click.option("--since", metavar="N", help="Only what came or changed since the corpus of this number or tag.")
@click.option("--title", default="corpus", show_default=True, help="Name of the dataset, in its card.")
@click.option("--contact", metavar="ADDRESS", help="Where the card says that one can write to.")
@click.option("--force", is_flag=True, help="Write it again although nothing changed.")
@json_option
def export(format_: str, to: str, data: str | None, as_json: bool, **given: Any) -> None:
    """Write the published corpus to DIR as FORMAT: parquet, jsonl (zstd), huggingface (Parquet with a card), tokens
    (arrays of token ids, as Megatron-LM reads them), markdown (a file a document), or chunks (passages for retrieval).

    `training-summary` writes one file of Markdown instead: what the EU asks the providers of models to publish.
    Beside the rows lie README.md (the dataset's card), manifest.json (digests, settings, seeds) and takedowns.jsonl.
    The same corpus and settings give the same bytes; where they are there, nothing is written.
    """
    from quarry_dagster.exports.known import place_of
    from quarry_dagster.stages.corpus_export import make
    from quarry_dagster.store import Store

    own = {name: given.pop(name) for name in ("since", "force")}
    store = Store.existing(data_root(data))
    if format_ == _SUMMARY:
        _refuse_options()
        _summarize(store, place_of(store, to), as_json)
        return
    done = make(store, _settings(format_, to, given), place_of(store, to), **own)
    if as_json:
        facts = {name: value for name, value in vars(done).items() if name != "is_new"}
        print_json({"data": store.files.root, "written": done.is_new, **facts})
        return
    splits = ", ".join(f"{n:,} {name}" for name, n in done.splits.items())
    said = "written" if done.is_new else "is there, and nothing changed"
    click.echo(f"{safe(to)}: {said}; corpus {done.corpus}, {splits}")
    if done.size and done.size["reached"] < done.size["asked"]:
        click.echo("  {reached:,} of {asked:,} {unit} that were asked for".format(**done.size))
    for reason, n in done.left_out.items():
        click.echo(f"  left out: {n:,} {reason}")
    click.echo(f"  {plural(done.files, 'file')}, {done.bytes / 2**20:,.1f} MiB")


def _refuse_options() -> None:
    """Refuse what is said of a dataset, where the summary is asked for.

    Raises:
        UsageError: something is.
    """
    context = click.get_current_context()
    given = (name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE)
    others = [name.replace("_", "-") for name in given if name not in ("format_", "to", "data", "as_json")]
    if others:
        raise click.UsageError(f"{_SUMMARY} is of the whole corpus: leave out --{', --'.join(others)}")


def _summarize(store: Store, to: str, as_json: bool) -> None:
    from quarry_dagster.exports.training_summary import training_summary
    from quarry_dagster.profiles.remembered import settings_of

    found = training_summary(store, settings_of(store, profile_name(None)), to)
    if as_json:
        facts = {"corpus": found.corpus, "documents": found.documents, "words": found.words}
        print_json({"data": store.files.root, "to": to, **facts})
        return
    click.echo(f"{safe(to)}: written; corpus {found.corpus}, {plural(found.documents, 'document')}")


def _settings(format_: str, to: str, given: dict[str, Any]) -> Export:
    values: dict[str, Any] = {"format": format_, "to": to, "splits": _shares(given.pop("split"))}
    values["redact"] = _kinds(given.pop("redact"))
    values["mix"] = _mix(given)
    for name in ("tokenizer", "policy"):
        if given[name] and Path(given[name]).exists():  # noted, to be found again from another folder
            given[name] = str(Path(given[name]).absolute())
    try:
        return Export.model_validate(values | given)
    except ValidationError as e:
        raise ConfigError("\n".join(explained(e, Export))) from e


def _shares(text: str | None) -> dict[str, str]:
    return _table(text or "", "--split", "write NAME=SHARE, each name once, as test=0.01,validation=0.01")


def _mix(given: dict[str, Any]) -> dict[str, Any]:
    """The settings of the mix, taken out of what is given."""
    rates: dict[str, dict[str, str]] = {}
    example = "write COLUMN:VALUE=RATE,VALUE=RATE, each column and value once, as language:en=1,de=2,*=0.5"
    for each in given.pop("rate"):
        column, colon, table = each.partition(":")
        if not colon or column in rates:
            raise ConfigError(f"--rate {each}: {example}")
        rates[column] = _table(table, f"--rate {column}:", example)
    weights = given.pop("weights")
    if weights and "=" in weights:
        weights = _table(weights, "--weights", "write NUMBER=WEIGHT, each number once, as 1=1,2=2,100=8")
    return {"rates": rates, "weights": weights} | {unit: given.pop(unit) for unit in ("documents", "bytes", "tokens")}


def _table(text: str, option: str, example: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in filter(None, text.split(",")):
        name, equals, value = each.rpartition("=")
        if not equals or name.strip() in found:
            raise ConfigError(f"{option} {text}: {example}")
        found[name.strip()] = value
    return found


def _kinds(text: str | None) -> list[str]:
    from quarry_dagster.personal.finding import TYPES

    return list(TYPES) if text == "all" else [each.strip() for each in (text or "").split(",") if each.strip()]
