"""The HTTP of datasets on the real application."""

from __future__ import annotations

import hashlib
import io
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dropout_service.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

CSV = b"height,weight,kind\n1.71,64.5,cat\n1.84,,dog\n1.65,59.2,cat\n"
TEXT = {"Content-Type": "text/csv"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, dispatcher=False, max_dataset_bytes=1 << 21, max_npz_bytes=1 << 21)


def upload(client: httpx.Client, content: bytes = CSV, **params: Any) -> dict[str, Any]:
    answer = client.post("/datasets", content=content, headers=TEXT, params=params)
    assert answer.status_code in {200, 201}, answer.text
    return answer.json()


def files(settings: Settings) -> list[str]:
    folder = settings.data_dir / "blobs"
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_upload_read_download_delete(client: httpx.Client, settings: Settings):
    answer = client.post("/datasets", content=CSV, headers=TEXT, params={"name": "animals"})
    assert answer.status_code == 201
    dataset = answer.json()
    digest = hashlib.sha256(CSV).hexdigest()
    assert answer.headers["location"] == f"/datasets/{dataset['id']}"
    created_at = datetime.fromisoformat(dataset.pop("created_at"))
    assert abs(created_at - datetime.now(UTC)) < timedelta(minutes=1)
    schema = dataset.pop("schema")
    assert dataset == {
        "id": f"sha256-{digest[:32]}",
        "name": "animals",
        "format": "csv",
        "size_bytes": len(CSV),
        "digest": f"sha256:{digest}",
        "unreadable": None,
    }
    assert (schema["rows"], schema["target"], schema["bad_cells"]) == (3, "kind", [])
    assert [(column["name"], column["type"], column["missing"]) for column in schema["columns"]] == [
        ("height", "number", 0),
        ("weight", "number", 1),
        ("kind", "text", 0),
    ]
    assert schema["columns"][2]["classes"] == [{"label": "cat", "count": 2}, {"label": "dog", "count": 1}]

    assert client.get(f"/datasets/{dataset['id']}").json() == answer.json()
    content = client.get(f"/datasets/{dataset['id']}/content")
    assert content.content == CSV
    assert content.headers["content-type"] == "text/csv; charset=utf-8"
    assert content.headers["content-disposition"] == 'attachment; filename="animals.csv"'

    assert client.delete(f"/datasets/{dataset['id']}").status_code == 204
    for path in ("", "/content"):
        gone = client.get(f"/datasets/{dataset['id']}{path}")
        assert gone.status_code == 404
        assert gone.headers["content-type"] == "application/problem+json"
    assert files(settings) == []


def test_the_same_content_is_the_same_dataset(client: httpx.Client, settings: Settings):
    first = client.post("/datasets", content=CSV, headers=TEXT)
    again = client.post("/datasets", content=CSV, headers=TEXT, params={"name": "another"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert again.headers["location"] == first.headers["location"]
    assert len(files(settings)) == 1


def test_a_streamed_body_of_many_chunks(client: httpx.Client):
    rows = [b"%d,%d\n" % (index, index * index) for index in range(90_000)]

    def chunks() -> Iterator[bytes]:
        yield b"a,b\n"
        yield from (b"".join(rows[start : start + 100]) for start in range(0, len(rows), 100))

    answer = client.post("/datasets", content=chunks(), headers=TEXT)
    assert answer.status_code == 201
    assert answer.json()["schema"]["rows"] == 90_000
    assert answer.json()["digest"] == f"sha256:{hashlib.sha256(b''.join(chunks())).hexdigest()}"


def test_npy_and_npz_and_what_the_content_tells(client: httpx.Client):
    array, arrays = io.BytesIO(), io.BytesIO()
    np.save(array, np.eye(3))
    np.savez(arrays, x=np.eye(3), y=["a", "b", "a"])
    for content, media_type, form in (
        (array.getvalue(), "application/x-npy", "npy"),
        (arrays.getvalue(), "application/x-npz", "npz"),
        (CSV, "application/octet-stream", "csv"),
        (CSV + b"1,3,dog\n", "Text/CSV; charset=UTF-8", "csv"),
    ):
        answer = client.post("/datasets", content=content, headers={"Content-Type": media_type})
        assert answer.status_code == 201, answer.text
        assert answer.json()["format"] == form


@pytest.mark.parametrize(
    ("content", "headers", "status", "detail"),
    [
        (b"a,b\n1,2\n3\n", TEXT, 422, "row 2 has 1 cells"),
        (b"", TEXT, 422, "the file is empty"),
        (CSV, {"Content-Type": "application/x-npy"}, 422, "said to be npy, but it looks like csv"),
        (CSV, {"Content-Type": "application/vnd.ms-excel"}, 415, "this operation reads text/csv"),
        (CSV, {}, 415, "there is no Content-Type header; this operation reads text/csv"),
        (CSV, {"Content-Type": "text/csv; charset=koi8-r"}, 415, "send the table in UTF-8"),
        (CSV, {**TEXT, "Content-Encoding": "gzip"}, 415, "'gzip' is not read"),
        (b"a,b\n" + b"1,2\n" * (1 << 19), TEXT, 413, "at most 2,097,152"),
    ],
)
def test_refused_uploads_leave_nothing(
    *, client: httpx.Client, settings: Settings, content: bytes, headers: dict[str, str], status: int, detail: str
):
    for body in (content, iter([content[: len(content) // 2], content[len(content) // 2 :]])):
        answer = client.post("/datasets", content=body, headers=headers)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert detail in answer.json()["detail"] or status == 413
    assert files(settings) == []
    assert client.get("/datasets").json()["items"] == []


def test_a_bomb_of_a_zip_is_too_large(client: httpx.Client, settings: Settings):
    file = io.BytesIO()
    np.savez_compressed(file, x=np.zeros((1000, 400)), y=np.zeros(1000))
    answer = client.post("/datasets", content=file.getvalue(), headers={"Content-Type": "application/zip"})
    assert answer.status_code == 422
    assert answer.json()["excess"]["setting"] == "DROPOUT_SERVICE_MAX_NPZ_BYTES"
    assert files(settings) == []


def test_lists_in_pages(client: httpx.Client):
    ids = {upload(client, b"a,b\n%d,1\n" % index)["id"] for index in range(5)}
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = client.get("/datasets", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        found += [dataset["id"] for dataset in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(found) == 5
    assert set(found) == ids
    refused = client.get("/datasets", params={"cursor": "Zm9v"})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "/cursor"


def test_a_dataset_that_a_job_needs_is_not_deleted(client: httpx.Client):
    dataset = upload(client, b"a,y\n" + b"1,0\n2,1\n" * 10)
    job = client.post("/jobs", json={"task": "classification", "data": {"dataset": dataset["id"]}})
    assert job.status_code == 202, job.text
    refused = client.delete(f"/datasets/{dataset['id']}")
    assert refused.status_code == 409
    assert "wait for its end, or cancel it" in refused.json()["detail"]
    assert client.post(f"{job.headers['location']}/cancel").status_code in {200, 202}
    assert client.delete(f"/datasets/{dataset['id']}").status_code == 204


RANGES: list[tuple[str, int, str | None, bytes | None]] = [
    ("bytes=0-4", 206, "bytes 0-4/{n}", CSV[:5]),
    ("bytes=5-", 206, "bytes 5-{last}/{n}", CSV[5:]),
    ("bytes=-7", 206, "bytes {tail}-{last}/{n}", CSV[-7:]),
    ("bytes=-9999", 206, "bytes 0-{last}/{n}", CSV),
    ("bytes=10-9999", 206, "bytes 10-{last}/{n}", CSV[10:]),
    ("bytes=9999-", 416, "bytes */{n}", None),
    ("bytes=-0", 416, "bytes */{n}", None),
    ("bytes=4-2", 416, "bytes */{n}", None),
    ("bytes=0-1,4-5", 200, None, CSV),
    ("bytes=-", 200, None, CSV),
    ("rows=0-1", 200, None, CSV),
]


def test_ranges(client: httpx.Client, subtests: pytest.Subtests):
    path = f"/datasets/{upload(client)['id']}/content"
    size = len(CSV)
    for wanted, status, content_range, content in RANGES:
        with subtests.test(wanted=wanted):
            answer = client.get(path, headers={"Range": wanted})
            assert answer.status_code == status
            expected = content_range and content_range.format(n=size, last=size - 1, tail=size - 7)
            assert answer.headers.get("content-range") == expected
            if content is not None:
                assert answer.content == content
                assert answer.headers["content-length"] == str(len(content))
                assert answer.headers["accept-ranges"] == "bytes"


def test_entity_tags(client: httpx.Client):
    path = f"/datasets/{upload(client)['id']}/content"
    full = client.get(path)
    tag = full.headers["etag"]
    assert tag == f'"sha256:{hashlib.sha256(CSV).hexdigest()}"'
    for given in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        unchanged = client.get(path, headers={"If-None-Match": given})
        assert (unchanged.status_code, unchanged.content, unchanged.headers["etag"]) == (304, b"", tag)
    assert client.get(path, headers={"If-None-Match": '"other"'}).status_code == 200
    assert client.get(path, headers={"Range": "bytes=0-1", "If-Range": tag}).content == CSV[:2]
    assert client.get(path, headers={"Range": "bytes=0-1", "If-Range": '"other"'}).content == CSV


def test_content_that_is_gone_is_not_half_an_answer(client: httpx.Client, settings: Settings):
    path = f"/datasets/{upload(client)['id']}/content"
    (settings.data_dir / "blobs" / files(settings)[0]).unlink()
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.json()["detail"] == "the content has been deleted"


def test_content_that_cannot_be_read_is_told_before_the_answer_begins(client: httpx.Client, settings: Settings):
    path = f"/datasets/{upload(client)['id']}/content"
    (settings.data_dir / "blobs" / files(settings)[0]).write_bytes(b"")
    answer = client.get(path)
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"].startswith("cannot read blob")


def test_names_in_downloads_cannot_break_the_header(client: httpx.Client):
    dataset = upload(client, name='größe "x"\r\n; a/b.csv')
    answer = client.get(f"/datasets/{dataset['id']}/content")
    assert answer.headers["content-disposition"] == (
        "attachment; filename=\"gr_e_x_a_b.csv\"; filename*=UTF-8''gr%C3%B6%C3%9Fe%20%22x%22%0D%0A%3B%20a%2Fb.csv"
    )


def test_a_page_of_wide_tables_has_a_bound_and_pages_have_all(client: httpx.Client):
    header = ",".join(f"column{index:05}" for index in range(9_000))
    ids = {upload(client, f"{header}\n{','.join([str(row)] * 9_000)}\n".encode())["id"] for row in range(4)}
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        answer = client.get("/datasets", params={"limit": 500} | cursor)
        assert 1 <= len(answer.json()["items"]) < 4
        assert len(answer.content) < 10_000_000
        found += [dataset["id"] for dataset in answer.json()["items"]]
        if answer.json()["next_cursor"] is None:
            break
        cursor = {"cursor": answer.json()["next_cursor"]}
    assert (len(found), set(found)) == (4, ids)


def test_how_a_csv_is_written_is_said_in_the_query(client: httpx.Client):
    query = {"decimal": ",", "thousands": ".", "comment": "#", "delimiter": ";"}
    content = "# Umsätze\nStadt;Preis\nKöln;1.234,5\nMainz;2\n".encode("cp1252")
    answer = client.post("/datasets", params=query, content=content, headers=TEXT)
    assert answer.status_code == 201
    table = answer.json()["schema"]
    assert table["options"] == {**query, "header": True, "missing": [], "encoding": "cp1252"}
    assert (table["columns"][1]["max"], table["columns"][1]["type"]) == (1234.5, "number")
    said = client.post("/datasets", params=query, content=content, headers={"Content-Type": "text/csv; charset=cp1252"})
    assert said.json()["schema"] == table
    assert said.json()["id"] != answer.json()["id"]
    for wrong in ({"encoding": "koi8-r"}, {"delimiter": "ab"}, {"decimal": "'"}, {"comment": ""}):
        assert client.post("/datasets", params=wrong, content=content, headers=TEXT).status_code == 422
    answer = client.post("/datasets", params={"decimal": ",", "thousands": ","}, content=content, headers=TEXT)
    assert "',' is both the decimal and the thousands of the file" in answer.json()["detail"]
