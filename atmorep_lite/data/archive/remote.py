"""Zarr over the network: patient, checked against the host's own checksums, and quick to say what failed.

Objects of public buckets are plain ``https`` addresses, so one reader serves ``http(s)://``, ``gs://`` and
``s3://`` (anonymously).  It sees the headers of each answer, and so can compare every body with the checksum
that Google's and Amazon's storage send with it.  A body that is cut short or altered, an answer 5xx or 429,
a time-out or a lost connection is asked for again, after pauses that double; then one sentence says what
failed.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype

from atmorep_lite.data.archive.http_words import as_slice, checks, range_header, words
from atmorep_lite.errors import UserError

#: Names of a Zarr store's metadata; everything else in it is a chunk.
METADATA = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")
PROTOCOLS = ("http", "https", "gs", "gcs", "s3")
_AGAIN = (408, 425, 429)


@dataclass(frozen=True)
class Patience:
    """How long to wait and how often to ask again.

    Attributes
    ----------
    attempts
        Requests for one object before giving up.
    connect, read
        Seconds until a connection, and between two packets of an answer.
    pause, longest
        Seconds before the second attempt (doubled for each further one), and at most.
    """

    attempts: int = 6
    connect: float = 10.0
    read: float = 60.0
    pause: float = 0.5
    longest: float = 30.0


class RemoteError(UserError):
    """An object that could not be read; ``key`` is its name in the store, ``reason`` says what happened."""

    def __init__(self, url: str, key: str, reason: str) -> None:
        super().__init__(f"{url}/{key} could not be read ({reason}); check address and network, try later")
        self.key = key
        self.reason = reason


class _Passing(Exception):
    """A failure after which asking again makes sense; ``wait``: seconds that the host asked for."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


def is_remote(address: str) -> bool:
    """Whether :class:`RemoteStore` reads such an address."""
    return address.partition("://")[0].lower() in PROTOCOLS and "://" in address


def https_address(address: str) -> str:
    """``gs://bucket/path`` and ``s3://bucket/path`` as plain addresses; others as they are.

    ``STORAGE_EMULATOR_HOST`` (Google) and ``AWS_ENDPOINT_URL`` (Amazon) in the environment name other hosts.

    Examples
    --------
    >>> https_address("gs://weatherbench2/datasets/era5/1959.zarr")
    'https://storage.googleapis.com/weatherbench2/datasets/era5/1959.zarr'
    >>> https_address("s3://some-bucket/era5.zarr")
    'https://some-bucket.s3.amazonaws.com/era5.zarr'
    """
    protocol, _, rest = address.rstrip("/").partition("://")
    bucket, _, path = rest.partition("/")
    if protocol in ("gs", "gcs"):
        host = os.environ.get("STORAGE_EMULATOR_HOST", "https://storage.googleapis.com").rstrip("/")
        return f"{host}/{rest}"
    if protocol == "s3":
        endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
        if endpoint or "." in bucket:  # a dot in the name does not fit the host's certificate
            return f"{(endpoint or 'https://s3.amazonaws.com').rstrip('/')}/{rest}"
        return f"https://{bucket}.s3.amazonaws.com/{path}"
    return f"{protocol}://{rest}"


class RemoteStore(Store):
    """A Zarr store behind an address, read only.  It cannot be listed: it needs consolidated metadata.

    ``received`` counts the bytes of all bodies.  After :meth:`stop`, waiting requests give up at once.
    """

    supports_writes = False
    supports_deletes = False
    supports_listing = False

    def __init__(self, address: str, patience: Patience | None = None, *, together: int = 16) -> None:
        """``together``: how many requests may be under way at once."""
        super().__init__(read_only=True)
        self.address = address
        self.url = https_address(address)
        self.patience = patience or Patience()
        self.together = together
        self.received = 0
        self._pool = ThreadPoolExecutor(together, thread_name_prefix="remote")
        self._local = threading.local()
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def __reduce__(self) -> tuple[Any, ...]:
        return (RemoteStore, (self.address, self.patience))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemoteStore) and other.url == self.url

    def __repr__(self) -> str:
        return f"RemoteStore({self.address!r})"

    def stop(self) -> None:
        """Give up what waits for another attempt."""
        self._stopped.set()

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """The object ``key``, or None if there is none.

        Raises
        ------
        RemoteError
            If it cannot be read after all attempts.
        """
        body = await asyncio.get_running_loop().run_in_executor(self._pool, self._body, key, byte_range)
        return None if body is None else prototype.buffer.from_bytes(body)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Several parts at once."""
        return list(await asyncio.gather(*(self.get(key, prototype, part) for key, part in key_ranges)))

    async def getsize(self, key: str) -> int:
        """Bytes of an object, without reading it; FileNotFoundError if there is none."""
        size = await asyncio.get_running_loop().run_in_executor(self._pool, self._size, key)
        if size is None:
            raise FileNotFoundError(key)
        return size

    async def exists(self, key: str) -> bool:
        """Whether there is such an object."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._size, key) is not None

    def _body(self, key: str, byte_range: ByteRequest | None) -> bytes | None:
        return self._patiently(key, lambda: self._once(key, byte_range))

    def _size(self, key: str) -> int | None:
        def ask() -> int | None:
            answer = self._ask("HEAD", key, {})
            return None if answer is None else int(answer.headers.get("Content-Length", 0))

        return self._patiently(key, ask)

    def _patiently(self, key: str, ask: Any) -> Any:
        begun, patience = time.monotonic(), self.patience
        for attempt in range(1, patience.attempts + 1):
            try:
                return ask()
            except _Passing as error:
                failure = error
            pause = min(patience.longest, max(failure.wait, patience.pause * 2 ** (attempt - 1)))
            # Random between half and whole, so that many readers do not come back in the same moment.
            if attempt == patience.attempts or self._stopped.wait(pause * random.uniform(0.5, 1.0)):
                break
        raise RemoteError(
            self.url, key, f"{failure}, {attempt} attempts in {time.monotonic() - begun:.0f} s"
        ) from failure

    def _once(self, key: str, byte_range: ByteRequest | None) -> bytes | None:
        headers = {} if byte_range is None else {"Range": f"bytes={range_header(byte_range)}"}
        answer = self._ask("GET", key, headers)
        if answer is None:
            return None
        expected = answer.headers.get("Content-Length")
        try:
            body: bytes = answer.raw.read(decode_content=True)
        except Exception as error:  # of http.client, urllib3 or the socket
            raise _Passing(words(error)) from error
        finally:
            answer.close()
        encoded = "Content-Encoding" in answer.headers
        if expected is not None and not encoded and len(body) != int(expected):
            raise _Passing(f"{len(body):,} of {int(expected):,} bytes came")
        with self._lock:
            self.received += len(body)
        if answer.status_code == 206:
            return body
        stored = answer.headers.get("x-goog-stored-content-encoding", "identity")
        if not encoded and stored == "identity" and not checks(body, answer.headers):
            raise _Passing("the bytes do not match the host's checksum")
        return body if byte_range is None else body[as_slice(byte_range, len(body))]

    def _ask(self, method: str, key: str, headers: dict[str, str]) -> Any:
        requests = _requests()
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
            self._local.session.headers.update({"Accept-Encoding": "identity", "User-Agent": "atmorep-lite"})
        limits = (self.patience.connect, self.patience.read)
        try:
            answer = self._local.session.request(
                method,
                f"{self.url}/{key}",
                headers=headers,
                stream=True,
                timeout=limits,
                allow_redirects=True,
            )
        except requests.exceptions.InvalidURL as error:
            raise UserError(f"{self.address} is no address ({error}); check it") from error
        except requests.exceptions.RequestException as error:
            raise _Passing(words(error)) from error
        status = answer.status_code
        if status in (200, 206):
            return answer
        answer.close()
        is_metadata = key.rpartition("/")[2] in METADATA
        if status in (404, 410) or (status == 403 and is_metadata):
            return None  # S3 says 403 of what is not there, unless one may list
        region = answer.headers.get("x-amz-bucket-region")
        if status in (301, 307, 400) and region and f".{region}." not in self.url:
            self.url = self.url.replace(".s3.amazonaws.com", f".s3.{region}.amazonaws.com")
            raise _Passing(f"the bucket is in {region}")
        if status >= 500 or status in _AGAIN:
            wait = answer.headers.get("Retry-After", "")
            raise _Passing(f"the server answered {status}", float(wait) if wait.isdigit() else 0.0)
        raise RemoteError(self.url, key, f"the server answered {status}")

    async def set(self, key: str, value: Buffer) -> None:
        """Not possible."""
        raise NotImplementedError

    async def delete(self, key: str) -> None:
        """Not possible."""
        raise NotImplementedError

    def list(self) -> AsyncIterator[str]:
        """Not possible."""
        raise NotImplementedError

    def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Not possible."""
        raise NotImplementedError

    def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Not possible."""
        raise NotImplementedError


def _requests() -> Any:
    try:
        import requests
    except ImportError as error:
        raise UserError(
            'addresses need the package requests; install it with `pip install "atmorep-lite[cloud]"`'
        ) from error
    return requests
