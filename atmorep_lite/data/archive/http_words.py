"""Pieces of HTTP for :mod:`atmorep_lite.data.archive.remote`: ranges, checksums, failures in plain words."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, SuffixByteRequest


def range_header(part: ByteRequest) -> str:
    """What to ask for, in the words of HTTP."""
    if isinstance(part, RangeByteRequest):
        return f"{part.start}-{part.end - 1}"
    return f"{part.offset}-" if isinstance(part, OffsetByteRequest) else f"-{part.suffix}"


def as_slice(part: ByteRequest, size: int) -> slice:
    """The same part of an object that came whole, of ``size`` bytes."""
    if isinstance(part, RangeByteRequest):
        return slice(part.start, part.end)
    if isinstance(part, SuffixByteRequest):
        return slice(max(0, size - part.suffix), size)
    return slice(part.offset, size)


def checks(body: bytes, headers: Any) -> bool:
    """Whether a body has the checksum that came with it; True if none came."""
    sums = dict(re.findall(r"(crc32c|md5)=([A-Za-z0-9+/=]+)", headers.get("x-goog-hash", "")))
    if "crc32c" in sums:
        import google_crc32c

        return int.from_bytes(base64.b64decode(sums["crc32c"]), "big") == google_crc32c.value(body)
    etag = headers.get("ETag", "").strip('"')
    plain = headers.get("x-amz-server-side-encryption", "AES256") == "AES256"  # else it is no MD5 sum
    if headers.get("Server") == "AmazonS3" and plain and re.fullmatch("[0-9a-f]{32}", etag):
        sums["md5"] = base64.b64encode(bytes.fromhex(etag)).decode()
    md5 = sums.get("md5")
    return md5 is None or base64.b64decode(md5) == hashlib.md5(body, usedforsecurity=False).digest()


def words(error: Exception) -> str:
    """What went wrong on the way, in plain words."""
    text = f"{type(error).__name__} {error}"
    for sign, plain in (
        ("timed out", "no answer in time"),
        ("Timeout", "no answer in time"),
        ("IncompleteRead", "the answer was cut short"),
        ("NameResolution", "the host's name is not known, is there a network?"),
        ("refused", "the connection was refused"),
        ("reset", "the connection was lost"),
        ("aborted", "the connection was lost"),
        ("RemoteDisconnected", "the connection was lost"),
        ("unreachable", "the network cannot be reached"),
        ("ProxyError", "the proxy does not let it through"),
        ("SSL", "the host's certificate is not accepted"),
    ):
        if sign in text:
            return plain
    return " ".join(str(error).split())[:120] or type(error).__name__
