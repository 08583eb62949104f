"""The settings of one kind of machine, typed, with their defaults and bounds.

What a setting *does* belongs to the domain module that is given it; reading a YAML and choosing a profile belong to
:mod:`quarry_dagster.profiles.choose`.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(gt=0, le=1)]
Share = Annotated[float, Field(ge=0, le=1)]
LargeIndex = Literal["IndexHNSWFlat", "IndexIVFFlat", "IndexIVFScalarQuantizer", "IndexIVFPQ", "IndexIVFRaBitQ"]
NOT_ON_GPU = ("IndexHNSWFlat", "IndexIVFRaBitQ")
"""Types that FAISS has no GPU form of, under inner product."""
CronLine = Annotated[str, Field(pattern=r"^\S+( \S+){4}$")]


class Settings(BaseModel):
    """Base of all settings: immutable, and an unknown key is an error.

    A data root remembers all settings but those that fit the machine, and says what is made anew where one changed
    that rows depend on; see :mod:`quarry_dagster.profiles.remembered`.
    """

    FIT_THE_MACHINE: ClassVar[frozenset[str]] = frozenset()
    """Settings that no row depends on, and that each machine has its own of."""
    ROWS_DEPEND_ON: ClassVar[frozenset[str]] = frozenset()
    """Settings with which other rows would be made."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Hardware(Settings):
    """The machine the profile is made for."""

    FIT_THE_MACHINE = frozenset({"workers", "memory_budget_mb", "gpu_memory_fraction"})

    workers: Positive | None = None
    """Worker processes of CPU-bound steps; null: one for each core."""
    memory_budget_mb: Positive = 4096
    """Resident memory that the profile's partitions and batches are sized for, in MiB; `quarry doctor` compares it
    with the machine's."""
    gpu_memory_fraction: Fraction = 0.8
    """Share of a GPU's memory that embedding may allocate."""

    @property
    def worker_count(self) -> int:
        return self.workers or os.cpu_count() or 1


class Partitions(Settings):
    """How crawl seeds are cut into partitions, and partitions into runs."""

    FIT_THE_MACHINE = frozenset({"partitions_per_run"})
    ROWS_DEPEND_ON = frozenset({"pages_per_partition"})

    pages_per_partition: Positive = 1000
    partitions_per_run: Positive = 10


class Crawl(Settings):
    """How pages are fetched. Times in seconds, sizes in MiB."""

    FIT_THE_MACHINE = frozenset({"concurrency"})
    ROWS_DEPEND_ON = frozenset(
        {"max_body_mb", "obey_consent", "obey_noindex", "obey_signals", "keep_gone", "refused_days"}
    )

    user_agent: str = "QuarryCore/0.2"
    """Product token and version; robots.txt rules are matched against the product token."""
    contact: str | None = None
    """A URL or mail address that site owners can write to, sent inside the user agent."""
    concurrency: Positive = 32
    concurrency_per_host: Positive = 4
    delay_per_host: Annotated[float, Field(ge=0)] = 0.25
    """Seconds between the starts of two requests to one host; a robots.txt Crawl-delay that is longer wins."""
    page_timeout: Annotated[float, Field(gt=0)] = 30.0
    """Seconds for one page in all, redirects included."""
    max_body_mb: Annotated[float, Field(gt=0)] = 8.0
    """Largest body, after decompression."""
    max_redirects: Annotated[int, Field(ge=0)] = 5
    retries: Annotated[int, Field(ge=0)] = 2
    """Further tries after a transient failure (timeout, network error, HTTP 429, 502, 503, 504)."""
    obey_consent: bool = True
    """Treat `noai`, a TDM reservation and the signals of `obey_signals` as outcome `opted_out`."""
    obey_signals: tuple[Literal["ai-train", "ai-input", "search", "license"], ...] = ("ai-train",)
    """What of Content-Signal counts where it says `no`; `license`: a License line of RSL in robots.txt. All is recorded
    in the table `consent`."""
    obey_noindex: bool = False
    """Treat `noindex` as outcome `opted_out` too."""
    keep_gone: bool = False
    """Keep the last body of a page that now answers 404 or 410; else its document leaves the corpus."""
    refused_days: Annotated[float, Field(ge=0)] = 30
    """Days that the last body of a page is kept which robots.txt or HTTP 401 or 403 refuse now; 0 drops it at once."""
    write_warc: bool = False
    """Write what is fetched as WARC files too, in `warc/` of the data root."""
    found_per_host: Positive = 10_000
    """Pages of one host that links, feeds and sitemaps may add in all, where a seed asks for them."""


class Extraction(Settings):
    """How main text is extracted. Times in seconds, sizes in MiB."""

    FIT_THE_MACHINE = frozenset({"worker_memory_mb"})
    ROWS_DEPEND_ON = frozenset({"mode", "text_format", "max_page_mb", "min_words"})

    mode: Literal["thorough", "fast"] = "thorough"
    """`thorough`: trafilatura with its fallbacks; `fast`: without them, for small machines."""
    text_format: Literal["markdown", "plain"] = "markdown"
    """What the text of a page keeps: headings, lists, tables, emphasis and code in Markdown, or its words and lines
    alone. Texts that are given stay as they are."""
    page_timeout: Annotated[float, Field(gt=0)] = 20.0
    max_page_mb: Annotated[float, Field(gt=0)] = 8.0
    worker_memory_mb: Positive = 2048
    """Memory that one worker process may take for its page, on top of what the parsers need."""
    min_words: Annotated[int, Field(ge=0)] = 20
    """Shorter texts get outcome `too_short`; a text without spaces counts its letters by twos."""


class PageMetadata(Settings):
    """What is read from a page besides its text."""

    ROWS_DEPEND_ON = frozenset({"processors"})

    processors: dict[str, Annotated[str, Field(pattern=r"^[\w.]+:\w+$")]] = {}
    """Domain processors of your own: a function by its import string, `module:function`, under the name of its domain.
    It is given a page (`quarry_dagster.domains.PageView`) and returns a mapping of JSON values, or None."""


class Classifier(Settings):
    """A model whose score of a text is a signal: one of two kinds."""

    fasttext: str | None = None
    """Path of a fastText model (`.bin` or `.ftz`); from the folder of the profile's file where it is a relative one."""
    label: str | None = None
    """The label whose probability is the score, with or without `__label__`."""
    python: Annotated[str, Field(pattern=r"^[\w.]+:\w+$")] | None = None
    """A function of your own by its import string, `module:function`. It is given a list of texts, and returns a number
    or None for each."""

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> Classifier:
        if (self.fasttext is None) == (self.python is None):
            raise ValueError("name one of fasttext and python")
        if (self.fasttext is None) != (self.label is None):
            raise ValueError("a fasttext model needs a label, and a python function has none")
        return self


class Quality(Settings):
    """Which documents are good enough, and what becomes of the others."""

    ROWS_DEPEND_ON = frozenset({"policy", "action", "classifiers"})

    policy: str = "annotate"
    """Name of a policy (`quarry policy list`), or the path of a YAML; from the folder of the profile's file where it is
    a relative one."""
    action: Literal["annotate", "drop"] | None = None
    """What becomes of a document that fails a rule: `annotate` says so in the corpus, `drop` keeps it out; null: as the
    policy has it."""
    classifiers: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,59}$")], Classifier] = {}
    """Models whose scores are signals, by the name of the signal."""


class Embedding(Settings):
    """Which model makes the vectors, and how it is run."""

    FIT_THE_MACHINE = frozenset({"device", "batch_tokens"})
    ROWS_DEPEND_ON = frozenset({"model", "revision", "backend", "precision", "max_tokens", "windows"})

    model: str = "sentence-transformers/all-MiniLM-L6-v2"
    revision: str | None = None
    """Hub commit of the model; null: the pinned one of all-MiniLM-L6-v2 and all-mpnet-base-v2; others must have one."""
    backend: Literal["auto", "torch", "openvino", "onnx", "static"] = "auto"
    """What runs it. `static`: a table of token vectors distilled from the model, about a hundred times as fast on a
    CPU; `auto`: OpenVINO for int8 where it is installed, else torch; `onnx`: ONNX Runtime."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where torch runs it, and compares very many vectors; the other backends use the CPU."""
    precision: Literal["float32", "tf32", "bfloat16", "float16", "int8"] = "float32"
    """Of the computation; a static model is always float32. int8 is OpenVINO's and ONNX Runtime's, float16 and tf32
    torch's; tf32 is float32 whose products a GPU rounds, and float32 on a CPU. `auto` takes float32 for int8 where
    OpenVINO is not installed."""
    batch_tokens: Annotated[int, Field(gt=0, le=10_000_000)] = 2048
    """Tokens in one batch at most, padding included; a text that has more is a batch of its own."""
    max_tokens: Positive = 256
    """Tokens of one window of a text, if the model can read so many."""
    windows: Positive = 1
    """Windows read of a text from its beginning: its vector is the mean of theirs. The rest is not seen."""

    @model_validator(mode="after")
    def _can_be_run(self) -> Embedding:
        runs = {
            "torch": ("float32", "tf32", "bfloat16", "float16"),
            "openvino": ("float32", "bfloat16", "int8"),
            "onnx": ("float32", "int8"),
        }
        if self.precision not in runs.get(self.backend, (self.precision,)):
            raise ValueError(f"backend {self.backend} runs {', '.join(runs[self.backend])}, not {self.precision}")
        return self


class Index(Settings):
    """Which FAISS index is published."""

    FIT_THE_MACHINE = frozenset({"use_gpu_faiss"})
    ROWS_DEPEND_ON = frozenset({"type", "exact_limit", "large_type"})

    type: Literal["auto", "IndexFlatIP", LargeIndex] = "auto"
    """Of a shard; `auto`: exact IndexFlatIP up to `exact_limit` vectors, `large_type` above."""
    exact_limit: Positive = 20_000
    large_type: LargeIndex = "IndexHNSWFlat"
    nprobe: Positive = 16
    """IVF cells searched a query."""
    ef_search: Positive = 64
    """HNSW candidates kept a query."""
    use_gpu_faiss: bool = False
    """Search on the GPU; needs a FAISS built with it, see docs/hardware.md, and a type that it has for GPUs."""

    @model_validator(mode="after")
    def _can_be_searched(self) -> Index:
        key = "large_type" if self.type == "auto" else "type"
        kind = getattr(self, key)
        if self.use_gpu_faiss and kind in NOT_ON_GPU:
            fit = ", ".join(t for t in get_args(LargeIndex) if t not in NOT_ON_GPU)
            raise ValueError(f"FAISS has no {kind} for GPUs: set {key} to one of {fit}, or unset use_gpu_faiss")
        return self


class Deduplication(Settings):
    """When two documents are one."""

    ROWS_DEPEND_ON = frozenset({"mode", "contained", "candidates", "similarity_threshold", "keep"})

    mode: Literal["strict", "balanced", "aggressive", "annotate"] = "balanced"
    """`strict`: url, exact, and texts that another one has as a whole; `balanced`: near duplicates too;
    `aggressive`: also cosine >= `similarity_threshold` alone; `annotate`: as balanced, but nothing is removed."""
    contained: Literal["keep", "remove"] = "keep"
    """What becomes of a text that stands as a whole in one more than three times as long (level contained)."""
    candidates: Literal["sketches", "sketches+vectors"] = "sketches"
    """Which pairs are looked at: by common shingles, or also by cosine >= `similarity_threshold`, as mode aggressive
    always does."""
    similarity_threshold: Fraction = 0.85
    """Cosine from which a pair is a candidate by vector (and, in mode aggressive, a duplicate)."""
    keep: tuple[Literal["longest", "earliest", "doc_id"], ...] = ("longest", "earliest", "doc_id")
    """The total order in which duplicates are taken. With `longest` first a cleaner copy is kept in place of the
    longest, and of equal texts the one with the better URL."""

    @property
    def by_vector(self) -> bool:
        """Whether pairs are looked at for their cosine."""
        return self.mode == "aggressive" or self.candidates == "sketches+vectors"

    @property
    def without_effect(self) -> str | None:
        """A sentence about what is set here and changes nothing; None where all that is set counts."""
        default = type(self).model_fields["similarity_threshold"].default
        return None if self.by_vector or self.similarity_threshold == default else self.threshold_alone

    @property
    def threshold_alone(self) -> str:
        """A sentence that says what a threshold of cosines does by itself: nothing, and how it would."""
        return (
            f"deduplication.similarity_threshold: {self.similarity_threshold:g} is without effect, for cosines decide "
            "in mode aggressive alone, and choose which pairs are looked at with candidates: sketches+vectors"
        )


class Checks(Settings):
    """Bounds of the asset checks. What breaks a contract is an error whatever is set here."""

    sample: Positive = 200
    """Documents drawn for the checks that look at a sample."""
    min_recall_at_10: Share | None = None
    """Error below: the share of the ten exact nearest texts that the published index finds; null: .99 for an
    exact index, .9 for the others."""
    max_duplicates_left: Share = 0.01
    """Error above, from three documents on: the share of sampled kept documents that the rules would remove."""
    min_fetch_success: Share = 0.5
    """Warning below: pages that came, of those that were asked for."""
    min_extraction_yield: Share = 0.5
    """Warning below: accepted texts, of the pages that came."""
    max_language_drift: Share = 0.3
    """Warning above: total variation distance between the languages of a run's texts and all others'."""
    max_shrink: Share = 0.2
    """Error above, and the corpus is not published: the share of its documents that would leave it, where these are
    more than twenty."""
    max_removal_change: Share = 0.2
    """Warning above: change of the share removed, by level or on a host, since the snapshot before."""
    max_cluster: Positive = 1000
    """Warning above: documents that one document stands for by level near or semantic."""


class Automation(Settings):
    """What runs by itself once it is switched on, here or in the UI. Cron lines have five fields:
    minute, hour, day, month, weekday."""

    enabled: bool = False
    """Sensors and schedules are on from the start; otherwise each is switched on in the UI."""
    timezone: str = "UTC"
    """IANA name of the time zone of the cron lines, such as Europe/Berlin."""
    recrawl_cron: CronLine = "0 2 * * *"
    """When to look for partitions that are due to be crawled again."""
    recrawl_after_days: Annotated[float, Field(gt=0)] = 7
    """Age from which a partition's last crawl is due."""
    refresh_cron: CronLine = "0 6 * * *"
    """When to bring index and corpus in line with all partitions, should a sensor have missed something."""
    compact_cron: CronLine = "0 4 * * 0"
    """When to build the index anew, without what removals and growth left in it."""

    @field_validator("timezone")
    @classmethod
    def _is_timezone(cls, name: str) -> str:
        try:
            ZoneInfo(name)  # not a look at the list of all: that reads hundreds of files
        except (ZoneInfoNotFoundError, ValueError, OSError) as e:
            near = difflib.get_close_matches(name, available_timezones(), n=1)
            raise ValueError(f"no time zone {name!r}" + (f"; did you mean {near[0]!r}?" if near else "")) from e
        return name


class Storage(Settings):
    """How long what was published before stays readable."""

    keep_publishes: Positive = 5
    """So many published corpora are kept, the current one among them, with all tables as they were then."""


class Serve(Settings):
    """What `quarry serve` takes on itself."""

    FIT_THE_MACHINE = frozenset({"deadline", "queue", "max_body_mb"})

    deadline: Annotated[float, Field(gt=0, le=600)] = 10.0
    """Seconds that a request may take; what would take longer is refused at once, or given up."""
    queue: Positive = 64
    """Requests that are worked on or wait in one process; more are refused."""
    max_body_mb: Annotated[float, Field(gt=0, le=1024)] = 8.0
    """Largest body of a request, and largest line of a stream, in MiB."""


def _amount(value: Any) -> Any:
    """A number of documents, bytes or tokens: 250000, or as users write it: 250k, 1.5M, 10B."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) *([kMGBT]?)", value.strip()) if isinstance(value, str) else None
    if not found:
        return value
    return round(float(found[1]) * {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "B": 10**9, "T": 10**12}[found[2]])


def _named(value: Any) -> Any:
    """A table with its keys as texts: YAML reads 0.9 as a number, and `no` as false."""
    if not isinstance(value, Mapping):
        return value
    if any(isinstance(key, bool) for key in value):
        raise ValueError("YAML reads no, yes, on and off as true and false: write them in quotes")
    return {str(key): each for key, each in value.items()}


Amount = Annotated[int, Field(gt=0), BeforeValidator(_amount)]
Rate = Annotated[float, Field(ge=0, le=100)]


class Mix(Settings):
    """How often each document is in a dataset; by default once."""

    rates: dict[str, Annotated[dict[str, Rate], BeforeValidator(_named)]] = {}
    """By column (language, domain, host, page_type, metadata.KEY, or a quality signal), and then by value; of a number
    by the quantile from which a rate holds. `*` is the rate of all others, by default 1. Rates of columns multiply."""
    weights: Literal["fineweb2"] | Annotated[dict[Annotated[int, Field(ge=1)], Rate], Field(min_length=1)] | None = None
    """By how often a text was found (`duplicates` + 1): the weight from a number on; `fineweb2`: FineWeb-2's table."""
    documents: Amount | None = None
    """Size of the whole; null: as the rates give it."""
    bytes: Amount | None = None
    """The same, in bytes of the texts in UTF-8."""
    tokens: Amount | None = None
    """The same, in tokens of the export's tokenizer."""

    @model_validator(mode="after")
    def _has_one_size(self) -> Mix:
        if len(self.sizes) > 1:
            raise ValueError(f"one size at most, and not {' and '.join(self.sizes)}")
        return self

    @property
    def sizes(self) -> dict[str, int]:
        """The size that is given, by its unit."""
        every = {"documents": self.documents, "bytes": self.bytes, "tokens": self.tokens}
        return {unit: size for unit, size in every.items() if size is not None}


_NO_SPLITS = {"train": "is what the others leave", "all": "means all splits to readers: name it otherwise"}


class Export(Settings):
    """A dataset that is written of the corpus."""

    format: Literal["parquet", "jsonl", "huggingface", "tokens", "markdown", "chunks"]
    to: str
    """Where it is written: a path or an fsspec URL; a relative path is one below `exports` of the data root."""
    title: str = "corpus"
    """Name of the dataset, in its card."""
    contact: str | None = None
    """Where its card says that somebody can write to; null: `crawl.contact`."""
    names: Literal["quarry", "dolma"] = "quarry"
    """How the fields of JSON lines are named: as columns here, or as Dolma has them."""
    select: str | None = None
    """A condition on rows, as behind SQL's WHERE; null: all kept documents."""
    policy: str | None = None
    """A quality policy whose failing documents are left out, by name or path; null: none."""
    splits: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], Annotated[float, Field(gt=0, lt=1)]] = {}
    """Shares of documents that are held out, by the name of the split; the rest is `train`."""
    group: Annotated[str, Field(pattern=r"^(domain|host|seed|document|metadata\..+)$")] = "domain"
    """What is on one side of a split as a whole: documents of a registered domain, a host, a seed, of one value of a
    column of your own (`metadata.KEY`), or each document by itself."""
    salt: str = ""
    """Another one gives other splits of the same sizes."""
    redact: tuple[Literal["email", "phone", "ip", "card", "iban", "national_id", "secret"], ...] = ()
    """Kinds of personal data that are replaced in texts; see docs/tables.md."""
    redact_with: Literal["placeholder", "pseudonym"] = "placeholder"
    """A word for the kind, or a name by the key in QUARRY_PSEUDONYM_KEY: equal values keep one name."""
    mix: Mix = Mix()
    tokenizer: str | None = None
    """A `tokenizer.json`, a folder with one, or a model's name on the hub: what `tokens` are counted and written in."""
    tokenizer_revision: str | None = None
    """The commit of a tokenizer on the hub."""
    end_of_text: str | None = None
    """The token that is written after each document in `tokens`; null: none."""
    chunk_tokens: Annotated[int, Field(ge=16, le=100_000)] = 256
    """Tokens that a passage of `chunks` has at most, by the tokenizer, or without one by that of the default model."""
    chunk_overlap: Annotated[int, Field(ge=0)] = 32
    """Tokens at the end of a passage that the next one may repeat."""

    @model_validator(mode="after")
    def _leaves_something(self) -> Export:
        if sum(self.splits.values()) >= 1:
            raise ValueError("splits: their shares leave nothing to train on")
        for name, why in _NO_SPLITS.items():
            if name in self.splits:
                raise ValueError(f"splits: {name} {why}")
        if self.names != "quarry" and self.format != "jsonl":
            raise ValueError(f"names: {self.names} are names of JSON lines, not of {self.format}")
        has_tokens = self.format == "tokens" or self.mix.tokens is not None
        if has_tokens and self.tokenizer is None:
            raise ValueError("tokenizer: name one, for tokens are asked for")
        if self.tokenizer is not None and not has_tokens and self.format != "chunks":
            raise ValueError("tokenizer: nothing here is counted or written in tokens")
        if self.tokenizer_revision is not None and self.tokenizer is None:
            raise ValueError("tokenizer_revision: it is of a tokenizer, and none is named")
        if self.format != "chunks" and (self.chunk_tokens, self.chunk_overlap) != (256, 32):
            raise ValueError(f"chunk_tokens, chunk_overlap: they are of the format chunks, not of {self.format}")
        if self.chunk_overlap > self.chunk_tokens // 2:
            raise ValueError(f"chunk_overlap: at most half of chunk_tokens, {self.chunk_tokens // 2}")
        if self.end_of_text is not None and self.format != "tokens":
            raise ValueError(f"end_of_text: it is of the format tokens, not of {self.format}")
        return self

    def with_contact(self, contact: str | None) -> Export:
        """These settings, with a contact where they have none."""
        return self if self.contact else self.model_copy(update={"contact": contact})


class HardwareProfile(Settings):
    """All settings of one kind of machine."""

    name: str
    description: str = ""
    hardware: Hardware = Hardware()
    partitions: Partitions = Partitions()
    crawl: Crawl = Crawl()
    extraction: Extraction = Extraction()
    page_metadata: PageMetadata = PageMetadata()
    quality: Quality = Quality()
    embedding: Embedding = Embedding()
    index: Index = Index()
    deduplication: Deduplication = Deduplication()
    checks: Checks = Checks()
    store: Storage = Storage()
    serve: Serve = Serve()
    automation: Automation = Automation()
    exports: tuple[Export, ...] = ()
    """What the asset `corpus_export` writes."""

    @field_validator("exports")
    @classmethod
    def _have_a_place_each(cls, exports: tuple[Export, ...]) -> tuple[Export, ...]:
        places = [os.path.normpath(export.to) for export in exports]
        for place in places:
            if places.count(place) > 1:
                raise ValueError(f"two of them are written to {place}: name a folder for each")
        return exports
