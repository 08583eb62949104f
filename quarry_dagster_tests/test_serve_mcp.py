"""The corpus as a server of the Model Context Protocol: asked by the protocol's own client, over pipes."""

import json
import sys
from typing import Any

import anyio
import pytest
import yaml

from quarry_dagster_tests.corpus import Corpus, profile, words


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    made = Corpus(tmp_path_factory.mktemp("mcp") / "data", profile())
    texts = {f"http://site{i}.example/": words(i) for i in range(5)}
    long = "\n\n".join(words(100 + i, 400) for i in range(12))
    made.seed_texts("a.jsonl", texts | {"http://copy.example/": words(0) + " More.", "http://long.example/": long})
    made.run()
    return made


def asked(corpus: Corpus, *calls: tuple[str, dict[str, Any]]) -> list[tuple[bool, Any]]:
    """Whether each call failed, and what it answered; the server's tools are looked at first."""
    from mcp import ClientSession, StdioServerParameters, stdio_client

    async def ask() -> list[tuple[bool, Any]]:
        settings = corpus.root.parent / "served.yaml"
        settings.write_text(yaml.safe_dump(corpus.profile.model_dump(mode="json")))
        said = ["--data", str(corpus.root), "--profile", str(settings)]
        command = ["-m", "quarry_dagster.cli", "serve", "--mcp", *said]
        async with (
            stdio_client(StdioServerParameters(command=sys.executable, args=command)) as (read, write),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            tools = (await session.list_tools()).tools
            assert {tool.name for tool in tools} == {"search", "contains", "explain", "document"}
            assert all(tool.annotations and tool.annotations.read_only_hint and tool.description for tool in tools)
            found = []
            for name, arguments in calls:
                result = await session.call_tool(name, arguments)
                text = "".join(getattr(part, "text", "") for part in result.content)
                found.append((bool(result.is_error), text if result.is_error else json.loads(text)))
            return found

    return anyio.run(ask)


def test_a_client_searches_looks_reads_and_is_told_what_is_wrong(corpus: Corpus) -> None:
    (long,) = corpus.read("deduped_corpus").filter(url="http://long.example/")["doc_id"]
    near, is_in, why, part, rest, *wrong = asked(
        corpus,
        ("search", {"query": words(3), "k": 2}),
        ("contains", {"text": words(1)}),
        ("explain", {"document": "http://copy.example/"}),
        ("document", {"doc_id": long}),
        ("document", {"doc_id": long, "start": 20_000}),
        ("search", {"query": "x", "k": 10**9}),
        ("document", {"doc_id": "none"}),
        ("explain", {"document": "http://none.example/"}),
        ("contains", {"text": ""}),
    )
    assert not near[0], near
    assert near[1]["corpus"] == 1 and near[1]["results"][0]["url"] == "http://site3.example/"
    assert is_in[1]["is_in"] and is_in[1]["level"] == "exact"
    assert any(step["step"] == "deduped_corpus" or "near" in step["what"] for step in why[1]["steps"])
    assert len(part[1]["text"]) == part[1]["next"] == 20_000 and rest[1]["text"]
    assert not any(failed for failed, _ in (near, is_in, why, part, rest)) and all(failed for failed, _ in wrong)
    assert "keeps no document" in wrong[1][1] and "no table knows" in wrong[2][1]
    assert not any("Traceback" in said for _, said in wrong)
