"""The service answers from one whole snapshot, tells whoever asks wrongly what to do, and stays."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import fsspec
import pytest
import uvicorn
import yaml
from prometheus_client.parser import text_string_to_metric_families

import quarry_dagster
from quarry_dagster.asking import following, questions
from quarry_dagster.asking.what_if import Given, decide_on
from quarry_dagster.errors import ConfigError, IndexCorruptError
from quarry_dagster.rollback import go_back
from quarry_dagster.serve import listening
from quarry_dagster.serve.keys import new_key
from quarry_dagster.serve.listening import config_of
from quarry_dagster.serve.web import Service, app_of
from quarry_dagster.store import Forgotten, Store, Takedown
from quarry_dagster_tests.corpus import Corpus, shipped, words
from quarry_dagster_tests.ui import CHROMIUM, browser

COPY = f"{words(3)} {words(103, 6)}"
JSON = "application/json"


@dataclass
class Served:
    """A service on loopback, and the data root that it answers of."""

    corpus: Corpus
    port: int
    key: str | None = None

    def ask(
        self,
        path: str,
        body: Any = None,
        *,
        method: str | None = None,
        content_type: str = JSON,
        raw: bytes | None = None,
        **headers: str,
    ) -> tuple[int, Any, dict[str, str]]:
        """Status, body and headers of an answer; a body that is JSON is read."""
        sent = raw if raw is not None else None if body is None else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        named = {"content-type": content_type} if sent is not None else {}
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method or ("POST" if sent is not None else "GET"), path, sent, named)
            answer = connection.getresponse()
            content, found = answer.read(), {k.lower(): v for k, v in answer.getheaders()}
        finally:
            connection.close()
        is_json = found.get("content-type", "").endswith("json") and "ndjson" not in found["content-type"]
        return answer.status, json.loads(content) if is_json else content, found

    def result(self, path: str, body: Any) -> Any:
        """The first result of an answer that is one."""
        status, found, _ = self.ask(path, body)
        assert status == 200, found
        return found["results"][0]


def until(holds: Callable[[], bool], within: float = 60) -> None:
    """Wait for a condition."""
    end = time.monotonic() + within
    while not holds():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.05)


def profile_file(folder: Path, corpus: Corpus) -> str:
    """The path of the corpus' profile."""
    path = folder / "served.yaml"
    path.write_text(yaml.safe_dump(corpus.profile.model_dump(mode="json")))
    return str(path)


@contextmanager
def serving(corpus: Corpus, scratch: Path, *, keys: Path | None = None, ready: bool = True) -> Iterator[Served]:
    """Serve a corpus on loopback, in a thread of this process."""
    scratch.mkdir(exist_ok=True)
    service = Service(
        str(corpus.root),
        profile_file(scratch.parent, corpus),
        str(scratch),
        ("127.0.0.1",),
        str(keys) if keys else None,
    )
    config = config_of(app_of(service), "127.0.0.1", 0)
    listening_at = config.bind_socket()
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening_at]})
    thread.start()
    served = Served(corpus, listening_at.getsockname()[1])
    try:
        until(lambda: server.started)
        if ready:
            until(lambda: served.ask("/readyz")[0] == 200)
        yield served
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """A corpus with a near copy, a twin, a text that its policy keeps out, and markup in a title."""
    corpus = Corpus(
        tmp_path_factory.mktemp("made") / "data",
        shipped("raspberry_pi", quality={"policy": "annotate", "action": "drop"}, serve={"queue": 8}),
    )
    rows = [{"url": f"http://a.test/{i}", "text": words(i)} for i in range(12)]
    rows += [{"url": "http://b.test/copy", "text": COPY}, {"url": "http://b.test/twin", "text": words(5)}]
    rows += [{"url": "http://c.test/short", "text": words(40, 24)}]
    rows += [{"url": "http://d.test/", "text": words(50), "title": "<script>x</script>", "language": "de"}]
    corpus.seed("a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    corpus.run()
    return corpus


@pytest.fixture(scope="module")
def served(made: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(made, tmp_path_factory.mktemp("serving") / "scratch") as found:
        yield found


def test_a_text_is_in_by_its_rule_with_its_witness(served: Served) -> None:
    exact = served.result("/v1/contains", {"text": words(3).upper()})
    assert (exact["is_in"], exact["level"], exact["rule"]) == (True, "exact", "text-digest/1")
    assert exact["witness"]["url"] == exact["kept"]["url"] == "http://a.test/3"
    near = served.result("/v1/contains", {"text": f"{words(4)} {words(7, 4)}"})
    assert (near["is_in"], near["level"], near["rule"], near["kept"]["url"]) == (
        *(True, "near", "near/1"),
        "http://a.test/4",
    )
    assert 0.9 < near["containment"] < 1
    copy = served.result("/v1/contains", {"text": COPY})
    assert (copy["level"], copy["witness"]["url"]) == ("exact", "http://b.test/copy"), "a removed text is one it had"
    assert copy["kept"]["url"] == "http://a.test/3"
    assert served.result("/v1/contains", {"text": words(999)})["is_in"] is False
    assert served.result("/v1/contains", {"text": words(40, 24)})["is_in"] is False, "the policy keeps it out"
    part = served.result("/v1/contains", {"text": words(6)[:200]})
    assert (part["is_in"], part["against"], part["witness"]["url"]) == (False, ["length"], "http://a.test/6")


def test_what_is_near_is_found_and_what_was_removed_only_where_it_is_asked_for(served: Served) -> None:
    def urls(**asked: Any) -> list[str]:
        return [each["url"] for each in served.result("/v1/similar", {"text": COPY, "k": 100} | asked)]

    assert urls()[0] == "http://a.test/3"
    assert not {"http://b.test/copy", "http://c.test/short"} & {*urls()}
    assert urls(include="removed")[0] == "http://b.test/copy"
    assert urls(include="removed", verdict="filtered") == ["http://c.test/short"]
    assert urls(language="de") == urls(host="d.test") == ["http://d.test/"]
    assert urls(host="nowhere.test") == []
    assert len(urls()) == len(served.corpus.urls())
    status, found, _ = served.ask("/v1/similar", {"text": "x", "verdict": "removed"})
    assert status == 422 and "include: removed" in found["detail"]


def test_a_vector_is_answered_as_the_text_that_it_is_of(served: Served) -> None:
    row = served.corpus.read("embeddings").row(0, named=True)
    (vector,) = [row["embedding"]]
    found = served.result("/v1/similar", {"vector": list(vector), "k": 1, "include": "removed"})
    assert found[0]["cosine"] == pytest.approx(1, abs=1e-3)
    status, problem, _ = served.ask("/v1/similar", {"vector": [1.0, 2.0]})
    assert status == 422 and str(len(vector)) in problem["detail"]
    assert served.ask("/v1/similar", {"vector": [0.0] * len(vector)})[0] == 422


def test_a_document_is_told_with_its_text_and_its_decision(served: Served) -> None:
    decisions = served.corpus.read("dedup_decisions").filter(removed_url="http://b.test/copy")
    (decision,) = decisions.rows(named=True)
    path = f"/v1/documents/{decision['removed_id']}"
    assert served.ask(path)[0] == 404
    status, found, _ = served.ask(f"{path}?include=removed")
    assert status == 200 and found["document"]["text"] == COPY
    told = found["document"]["decision"]
    assert (told["rule"], told["kept"]) == (decision["rule"], decision["kept_id"])
    assert served.ask(f"/v1/documents/{decision['kept_id']}")[1]["document"]["verdict"] == "kept"
    assert served.ask("/v1/documents/nothing")[0] == 404


def test_a_stream_is_answered_line_by_line_and_a_bad_line_costs_itself_alone(served: Served) -> None:
    lines = [{"text": words(i % 12)} for i in range(100)]
    sent = "\n".join(json.dumps(line) for line in lines[:50]) + "\n\nno json\n"
    sent += "\n".join(json.dumps(line) for line in lines[50:])
    status, content, _ = served.ask("/v1/contains", raw=sent.encode(), content_type="application/x-ndjson")
    found = [json.loads(line) for line in content.splitlines()]
    assert status == 200 and len(found) == 101
    assert [each["line"] for each in found if "problem" in each] == [52]
    assert sum(each["results"][0]["is_in"] for each in found if "results" in each) == 100


@pytest.mark.parametrize(
    ("path", "sent", "status", "said"),
    [
        ("/v1/contains", b"no json", 400, "no JSON"),
        ("/v1/contains", b'{"text": "\xff"}', 400, "UTF-8"),
        ("/v1/contains", b'{"text": "\\ud800"}', 400, "JSON"),
        ("/v1/contains", b"[" * 100_000, 400, "JSON"),
        ("/v1/contains", b"", 400, "JSON"),
        ("/v1/contains", b"[]", 422, "openapi.json"),
        ("/v1/contains", b'{"text": 3}', 422, "text"),
        ("/v1/contains", b'{"texts": []}', 422, "texts"),
        ("/v1/contains", json.dumps({"texts": ["x"] * 257}).encode(), 422, "256"),
        ("/v1/contains", b'{"text": "x", "more": 1}', 422, "more"),
        ("/v1/similar", b'{"text": "x", "k": 0}', 422, "k"),
        ("/v1/similar", b'{"text": "x", "k": 1000000000}', 422, "1000"),
        ("/v1/similar", b'{"text": "x", "k": "3"}', 422, "k"),
        ("/v1/similar", b'{"texts": ["x", "y"], "k": 900, "with_text": true}', 422, "1,000"),
        ("/v1/similar", b'{"vector": [NaN]}', 422, "vector"),
        ("/v1/decide", b'{"document": {"text": "x", "url": "nowhere"}}', 422, "URL"),
        ("/v1/decide", b'{"document": {}}', 422, "text"),
    ],
)
def test_a_bad_body_is_told_what_is_wrong(served: Served, path: str, sent: bytes, status: int, said: str) -> None:
    found, problem, headers = served.ask(path, raw=sent)
    assert found == status, problem
    assert headers["content-type"] == "application/problem+json"
    assert said.lower() in problem["detail"].lower() and problem["status"] == status and problem["title"]
    assert problem["instance"].endswith(headers["x-request-id"])


def test_texts_of_any_length_are_answered_up_to_the_limit_and_larger_bodies_are_not_read(served: Served) -> None:
    assert served.result("/v1/contains", {"text": ""})["is_in"] is False
    assert served.result("/v1/contains", {"text": "\x00\u202e \n"})["is_in"] is False
    large = (words(3) + " ") * 6000
    assert len(large) > 4_000_000
    assert served.result("/v1/contains", {"text": large})["is_in"] is False
    assert served.result("/v1/similar", {"text": large})
    status, problem, _ = served.ask("/v1/contains", raw=b'{"text": "' + b"x" * 9_000_000)
    assert status == 413 and "max_body_mb" in problem["detail"]
    assert served.ask("/v1/contains", raw=b" " * 100_000_000, connection="close")[0] == 413
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        head = f"POST /v1/contains HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {JSON}\r\n"
        head += "Content-Length: 104857600\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(12) == b"HTTP/1.1 413"


def test_only_what_the_door_asks_for_comes_in(served: Served) -> None:
    assert served.ask("/v1/contains", {"text": "x"}, content_type="text/plain")[0] == 415
    assert served.ask("/v1/contains", {"text": "x"}, host="evil.test")[0] == 421
    assert served.ask("/", host="evil.test")[0] == 421
    assert [served.ask(path, host="any")[0] for path in ("/healthz", "/readyz")] == [200, 200]
    assert served.ask("/v1/contains")[0] == 405
    assert served.ask("/nothing")[0] == 404
    assert served.ask("/healthz", x_request_id="mine-1")[2]["x-request-id"] == "mine-1"
    assert served.ask("/healthz", x_request_id="not mine")[2]["x-request-id"] != "not mine"
    assert "access-control-allow-origin" not in served.ask("/readyz", origin="http://evil.test")[2]


def test_many_connections_and_half_closed_ones_leave_the_service_as_it_was(served: Served) -> None:
    opened = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(300)]
    opened[0].sendall(b"POST /v1/contains HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\n{")
    opened[0].shutdown(socket.SHUT_WR)
    opened[1].sendall(b"GET /read")
    opened[2].sendall(b"\x16\x03\x01\x02\x00")
    assert served.result("/v1/contains", {"text": words(3)})["is_in"]
    for each in opened:
        each.close()
    assert served.ask("/readyz")[0] == 200


def test_a_connection_that_never_ends_its_headers_is_closed(
    made: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "_HEADERS_WITHIN", 0.3)
    with serving(made, tmp_path / "scratch") as served, socket.create_connection(("127.0.0.1", served.port)) as slow:
        slow.sendall(b"GET /readyz HTTP/1.1\r\nX-A: ")
        slow.settimeout(30)
        assert slow.recv(1) == b""


def test_over_the_queue_requests_are_refused_with_when_to_come_again(served: Served) -> None:
    answers: list[tuple[int, Any, dict[str, str]]] = []

    def ask() -> None:
        answers.append(served.ask("/v1/contains", {"texts": [f"{words(i)} {words(i + 1)}" for i in range(60)]}))

    threads = [threading.Thread(target=ask) for _ in range(40)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    statuses = {status for status, *_ in answers}
    assert statuses == {200, 429}
    assert all(int(headers["retry-after"]) >= 1 for status, _, headers in answers if status == 429)


def test_a_request_is_given_up_at_the_deadline_and_a_body_that_does_not_come(made: Corpus, tmp_path: Path) -> None:
    hasty = Corpus(made.root, shipped("raspberry_pi", serve={"deadline": 0.3}))
    with serving(hasty, tmp_path / "scratch") as served:
        documents = [{"text": f"{words(i % 12)} {words(i + 20, 5)}"} for i in range(256)]
        status, problem, headers = served.ask("/v1/decide", {"documents": documents})
        assert status == 503 and "0.3 seconds" in problem["detail"] and int(headers["retry-after"]) >= 1
        with socket.create_connection(("127.0.0.1", served.port)) as slow:
            head = f"POST /v1/contains HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {JSON}\r\nContent-Length: 9\r\n\r\n"
            slow.sendall(head.encode() + b"{")
            assert slow.recv(12) == b"HTTP/1.1 408"
        assert served.ask("/healthz")[0] == 200


def test_keys_let_in_and_a_key_that_is_taken_out_does_not(made: Corpus, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    first, second = new_key(keys, "first"), new_key(keys, "second")
    assert first not in keys.read_text() and keys.stat().st_mode & 0o077 == 0
    with serving(made, tmp_path / "scratch", keys=keys) as served:

        def status(key: str) -> int:
            return served.ask("/v1/contains", {"text": "x"}, authorization=f"Bearer {key}")[0]

        assert served.ask("/v1/contains", {"text": "x"})[0] == 401
        assert "bearer" in served.ask("/metrics")[2]["www-authenticate"].lower()
        assert served.ask("/")[0] == served.ask("/readyz")[0] == 200
        assert [status(first), status(second), status("other")] == [200, 200, 401]
        keys.write_text("\n".join(keys.read_text().splitlines()[1:]) + "\n")
        until(lambda: status(first) == 401)
        assert status(second) == 200


def test_no_text_is_in_the_log_nor_in_the_metrics(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    said = words(77)
    with caplog.at_level("DEBUG"):
        served.ask("/v1/contains", {"text": said})
        served.ask("/v1/similar", {"text": said})
        served.ask("/v1/decide", {"document": {"text": said}})
        served.ask(f"/v1/contains?text={said.split()[0]}", raw=said.encode())
    _, text, _ = served.ask("/metrics")
    assert "/v1/contains" in caplog.text
    for word in (each for each in said.split() if len(each) > 6):
        assert word not in caplog.text and word.encode() not in text


def test_metrics_count_what_there_is_and_are_what_prometheus_reads(served: Served) -> None:
    _, text, headers = served.ask("/metrics")
    assert headers["content-type"].startswith("text/plain")
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }
    assert samples["quarry_documents", "kept"] == len(served.corpus.urls())
    assert samples["quarry_documents", "filtered"] == 1
    assert sum(value for (name, *_), value in samples.items() if name == "quarry_removed") == 2
    assert samples["quarry_served_snapshot",] == samples["quarry_corpus_snapshot",] == 1
    assert samples["quarry_partitions_behind",] == 0


def test_the_description_names_every_endpoint_and_each_reference_leads_somewhere(served: Served) -> None:
    _, found, _ = served.ask("/openapi.json")
    assert {"/v1/contains", "/v1/similar", "/v1/decide", "/v1/documents/{doc_id}", "/healthz", "/readyz"} == {
        *found["paths"]
    }

    def references(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            yield from (each for key, each in value.items() if key == "$ref")
        for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            yield from references(each)

    schemas = found["components"]["schemas"]
    assert {name.rpartition("/")[2] for name in references(found)} <= schemas.keys()


def test_the_page_runs_no_script_of_its_own_text(served: Served) -> None:
    for path in ("/", "/page.js", "/page.css"):
        status, content, headers = served.ask(path)
        assert status == 200 and "script-src 'self'" in headers["content-security-policy"]
        assert b"innerHTML" not in content and b"http://" not in content and b"onclick" not in content


def test_the_service_writes_nothing_to_the_data_root(served: Served) -> None:
    before = served.corpus.files()
    served.ask("/v1/decide", {"document": {"text": words(60), "url": "http://e.test/"}})
    served.ask("/v1/similar", {"text": words(1)})
    served.ask("/metrics")
    assert served.corpus.files() == before


def test_the_next_corpus_answers_soon_and_no_request_fails_meanwhile(
    made: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "EVERY", 0.1)
    corpus = made.copy(tmp_path / "data")
    asked = {"texts": [words(3), words(77)]}
    with serving(corpus, tmp_path / "scratch") as served:
        seen: list[tuple[int, int, bool]] = []
        stop = threading.Event()

        def ask() -> None:
            while not stop.is_set():
                status, found, _ = served.ask("/v1/contains", asked)
                seen.append((status, found["snapshot"], found["results"][1]["is_in"]))

        thread = threading.Thread(target=ask)
        thread.start()
        corpus.seed_texts("b.jsonl", {"http://n.test/": words(77)})
        corpus.run()
        until(lambda: bool(seen) and seen[-1][1] == 2)
        stop.set()
        thread.join()
        assert {*seen} == {(200, 1, False), (200, 2, True)}
        assert len([each for each in (tmp_path / "scratch").iterdir() if each.is_dir()]) == 1


def test_a_root_without_a_corpus_is_told_and_answers_once_it_has_one(
    made: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "EVERY", 0.1)
    corpus = Corpus(tmp_path / "data", made.profile)
    corpus.seed_texts("a.jsonl", {f"http://a.test/{i}": words(i) for i in range(4)})
    with serving(corpus, tmp_path / "scratch", ready=False) as served:
        status, problem, headers = served.ask("/v1/contains", {"text": "x"})
        assert (status, served.ask("/healthz")[0]) == (503, 200)
        assert "quarry run" in problem["detail"] and headers["retry-after"]
        assert served.ask("/readyz")[0] == 503
        corpus.run()
        until(lambda: served.ask("/readyz")[0] == 200)
        assert served.result("/v1/contains", {"text": words(3)})["is_in"]


def test_a_model_that_differs_is_told_and_what_needs_none_is_answered(made: Corpus, tmp_path: Path) -> None:
    other = Corpus(made.root, shipped("raspberry_pi", embedding={"max_tokens": 32}))
    with serving(other, tmp_path / "scratch", ready=False) as served:
        until(lambda: served.ask("/v1/contains", {"text": words(3)})[0] == 200)
        status, problem, _ = served.ask("/readyz")
        assert status == 503 and "--profile" in problem["detail"]
        assert served.ask("/v1/similar", {"text": words(3)})[0] == 422


def test_a_damaged_next_index_leaves_the_snapshot_of_before(made: Corpus, tmp_path: Path) -> None:
    corpus = made.copy(tmp_path / "data")
    (tmp_path / "scratch").mkdir()
    followed = following.Following(corpus.store, corpus.profile, tmp_path / "scratch")
    assert followed.refresh() and not followed.refresh()
    corpus.seed_texts("b.jsonl", {"http://b.test/": words(77)})
    corpus.run()
    index = corpus.store.faiss_index.current()
    assert index is not None
    new = corpus.root / index.shards[-1].file
    new.write_bytes(new.read_bytes()[:-1])
    with pytest.raises(IndexCorruptError):
        followed.refresh()
    assert followed.current and followed.current.number == 1
    assert followed.problem and "have it made again" in followed.problem


def test_a_corpus_on_an_object_store_answers_and_is_followed(made: Corpus, tmp_path: Path) -> None:
    root = "memory://served"
    for path in made.files():
        fsspec.filesystem("memory").pipe_file(f"/served/{path}", (made.root / path).read_bytes())
    (tmp_path / "scratch").mkdir()
    store = Store(root)
    followed = following.Following(store, made.profile, tmp_path / "scratch")
    assert followed.refresh() and followed.current
    assert questions.contains(followed.current, COPY).is_in
    near = questions.contains(followed.current, f"{words(4)} {words(7, 4)}")
    assert near.kept and near.kept.url == "http://a.test/4"
    assert not followed.refresh()
    corpus = store.deduped_corpus.current()
    assert corpus is not None
    store.deduped_corpus.amend(replace(corpus, kept_documents=corpus.kept_documents), keep=[])
    assert followed.refresh()


def test_going_back_to_a_corpus_of_before_is_followed(made: Corpus, tmp_path: Path) -> None:
    corpus = made.copy(tmp_path / "data")
    corpus.seed_texts("b.jsonl", {"http://b.test/": words(77)})
    corpus.run()
    (tmp_path / "scratch").mkdir()
    followed = following.Following(corpus.store, corpus.profile, tmp_path / "scratch")
    assert followed.refresh() and followed.current
    assert questions.contains(followed.current, words(77)).is_in
    go_back(corpus.store, 1, "a test")
    assert followed.refresh() and followed.current
    assert not questions.contains(followed.current, words(77)).is_in


def test_a_forgotten_text_is_out_with_the_next_snapshot(made: Corpus, tmp_path: Path) -> None:
    corpus = made.copy(tmp_path / "data")
    (tmp_path / "scratch").mkdir()
    followed = following.Following(corpus.store, corpus.profile, tmp_path / "scratch")
    followed.refresh()
    Forgotten.put(corpus.store.files, [Takedown("http://a.test/8", "url-2", "2026-01-01")])
    assert followed.current
    given = Given(words(8), url="http://a.test/8")
    assert decide_on(followed.current, given).verdict == "forgotten"
    corpus.run()
    assert followed.refresh()
    assert not questions.contains(followed.current, words(8)).is_in
    kept = b"".join(path.read_bytes() for path in (tmp_path / "scratch").rglob("*.*"))
    assert b"http://a.test/8" not in kept


def test_several_processes_share_the_mapped_files_and_drain_when_they_are_told_to_end(
    made: Corpus, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "quarry_dagster", "serve", "--data", str(made.root), "--port", "0"]
    command += ["--profile", profile_file(tmp_path, made), "--workers", "2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(tmp_path)})
    try:
        assert process.stderr
        line = next(line for line in process.stderr if "serving" in line)
        threading.Thread(target=process.stderr.read, daemon=True).start()
        served = Served(made, int(line.rpartition(":")[2]))
        until(lambda: _is_ready(served), within=120)
        assert served.result("/v1/contains", {"text": words(3)})["is_in"]
        (scratch,) = tmp_path.glob("quarry-serve-*")
        assert len([each for each in scratch.iterdir() if each.is_dir()]) == 1
    finally:
        process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert not [*tmp_path.glob("quarry-serve-*")]


def _is_ready(served: Served) -> bool:
    try:
        return served.ask("/readyz")[0] == 200
    except OSError:
        return False


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org"])
def test_an_address_that_others_reach_needs_keys(host: str, quarry: Callable[..., tuple[int, str, str]]) -> None:
    status, _, err = quarry("serve", "--host", host)
    assert status == 1 and "--keys" in err


def test_the_face_in_python_answers_as_the_service(made: Corpus, served: Served, tmp_path: Path) -> None:
    with quarry_dagster.open(made.root, profile=profile_file(tmp_path, made)) as corpus:
        (found,) = corpus.contains([COPY])
        assert found.rule == "text-digest/1" and found.kept and found.kept.url == "http://a.test/3"
        ((nearest, *_),) = corpus.similar([COPY], 3)
        assert (nearest.url, nearest.text) == ("http://a.test/3", words(3))
        given = {"text": words(2), "url": "http://z.test/"}
        (verdict,) = corpus.decide([given])
        assert [each.url for each in verdict.displaces] == ["http://a.test/2"], "of equal texts the shorter URL stays"
        assert served.result("/v1/decide", {"document": given}) == json.loads(json.dumps(asdict(verdict)))
        history = corpus.explain("http://a.test/3")
        assert history and history.text == words(3)
        assert corpus.scan("deduped_corpus").collect().height == len(made.urls())
        with pytest.raises(ConfigError, match="give a list"):
            corpus.contains("a text")


def test_the_command_asks_a_server_without_loading_what_searching_needs(served: Served) -> None:
    code = f"""
import sys
from quarry_dagster.cli import command
sys.argv = ["quarry", "search", {words(3)!r}, "-k", "1", "--json", "--server", "http://127.0.0.1:{served.port}"]
try:
    command()
finally:
    print(*[name for name in ("polars", "numpy", "dagster", "pydantic", "faiss", "pyarrow") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found, loaded = done.stdout.split("\n", 1)
    (row,) = json.loads(found)["results"]
    assert (row["url"], row["text"], loaded.strip()) == ("http://a.test/3", words(3), "")


def test_a_server_that_refuses_or_is_none_is_told(served: Served, quarry: Callable[..., tuple[int, str, str]]) -> None:
    status, _, err = quarry("search", "x", "--server", "http://127.0.0.1:9")
    assert status == 1 and "does not answer" in err
    assert quarry("search", "x", "--server", "127.0.0.1")[0] == 1
    assert quarry("search", "--like", "x", "--server", f"http://127.0.0.1:{served.port}")[0] == 2
    assert "at most" in quarry("search", "x" * 9_000_000, "--server", f"http://127.0.0.1:{served.port}")[2]


def test_metrics_of_a_root_are_written_for_a_textfile_collector(
    made: Corpus, quarry: Callable[..., tuple[int, str, str]]
) -> None:
    status, out, _ = quarry("metrics", "--data", made.root)
    names = {family.name for family in text_string_to_metric_families(out)}
    assert status == 0 and {"quarry_pages", "quarry_documents", "quarry_removed", "quarry_model_info"} <= names
    found = json.loads(quarry("metrics", "--data", made.root, "--json")[1])
    assert {"name": "quarry_corpus_snapshot", "labels": {}, "value": 1.0} in found["metrics"]


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: install the package chromium")
def test_the_page_answers_by_keyboard_and_shows_what_a_document_wrote_as_text(served: Served) -> None:
    with browser(f"http://127.0.0.1:{served.port}") as page:
        page.set_viewport_size({"width": 360, "height": 640})
        page.goto("/")
        page.wait_for_selector("#state:has-text('ready')")
        page.keyboard.press("Tab")
        page.keyboard.insert_text(f"{words(50)} and more")
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_selector("#state:has-text('answered')")
        assert page.inner_text("#verdict") == "It is in."
        assert page.inner_text("#witness") == "<script>x</script>"
        assert page.get_attribute("#witness a", "href") == "http://d.test/"
        assert "more" in page.locator("#mine mark").all_inner_texts()
        assert page.locator("#found li").count() == 10
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
