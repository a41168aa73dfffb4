"""Addresses of buckets, checksums of the hosts, and Amazon's ways to say that a bucket is elsewhere."""

from __future__ import annotations

import base64
import hashlib
from types import SimpleNamespace
from typing import Any

import google_crc32c
import pytest
import requests
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from atmorep_lite.data.archive.http_words import checks
from atmorep_lite.data.archive.remote import Patience, RemoteError, RemoteStore, https_address, is_remote

BODY = b"the weather of tomorrow"
MD5 = hashlib.md5(BODY)


def test_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    assert https_address("gs://bucket/a/b.zarr/") == "https://storage.googleapis.com/bucket/a/b.zarr"
    assert https_address("s3://my.bucket/b.zarr") == "https://s3.amazonaws.com/my.bucket/b.zarr"
    assert https_address("https://host/b.zarr") == "https://host/b.zarr"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9000/")
    assert https_address("s3://bucket/b.zarr") == "http://127.0.0.1:9000/bucket/b.zarr"
    assert is_remote("s3://bucket") and not is_remote("data/era5.zarr") and not is_remote("memory://x")


def test_checksums() -> None:
    crc = base64.b64encode(google_crc32c.value(BODY).to_bytes(4, "big")).decode()
    md5 = base64.b64encode(MD5.digest()).decode()
    amazon = {"Server": "AmazonS3", "ETag": f'"{MD5.hexdigest()}"'}
    for headers in ({"x-goog-hash": f"crc32c={crc}, md5={md5}"}, {"x-goog-hash": f"md5={md5}"}, amazon):
        assert checks(BODY, headers)
        assert not checks(BODY + b".", headers)
    # No sums of the whole body: of several parts, of an encrypted object, of another host.
    for other in (
        {"ETag": f'"{MD5.hexdigest()}-3"'},
        {"x-amz-server-side-encryption": "aws:kms"},
        {"Server": "x"},
    ):
        assert checks(b"anything", amazon | other)


def answer(status: int, body: bytes = b"", **headers: str) -> Any:
    raw = SimpleNamespace(read=lambda decode_content: body)
    length = {"Content-Length": str(len(body))}
    return SimpleNamespace(status_code=status, headers=length | headers, raw=raw, close=lambda: None)


def test_a_bucket_elsewhere_and_what_may_not_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def request(session: object, method: str, url: str, **more: object) -> Any:
        asked.append(url)
        if "eu-west-1" not in url:
            return answer(301, **{"x-amz-bucket-region": "eu-west-1"})
        return answer(200, BODY) if url.endswith("t/0.0") else answer(403)

    monkeypatch.setattr(requests.Session, "request", request)
    store = RemoteStore("s3://bucket/era5.zarr", Patience(attempts=3, pause=0.01))
    prototype = default_buffer_prototype()
    found = sync(store.get("t/0.0", prototype))
    assert found is not None and found.to_bytes() == BODY
    assert asked[-1] == "https://bucket.s3.eu-west-1.amazonaws.com/era5.zarr/t/0.0"
    assert sync(store.get("zarr.json", prototype)) is None  # Amazon says so of what is not there
    with pytest.raises(RemoteError, match="answered 403"):
        sync(store.get("t/0.1", prototype))
