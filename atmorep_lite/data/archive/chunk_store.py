"""A Zarr store in which a missing chunk is told, and what is read is counted.

Zarr takes a chunk that is not there for fill values, mostly NaN: a hole in an archive would silently become a
hole in a record.
"""

from __future__ import annotations

import threading

from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

from atmorep_lite.data.archive.remote import METADATA, RemoteStore
from atmorep_lite.errors import UserError


class MissingChunk(UserError):
    """A chunk that the source does not have; ``key`` is its name."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"the source has no chunk {key}, which Zarr would take for fill values; fetch other times or "
            "fields, or accept this with --missing fill"
        )
        self.key = key


class ChunkStore(WrapperStore[Store]):
    """Another store, read only; ``received`` bytes were read, ``missing`` chunks taken for fill values."""

    def __init__(self, store: Store, *, strict: bool = True) -> None:
        """``strict``: a missing chunk raises :class:`MissingChunk`."""
        super().__init__(store)
        self.strict = strict
        self.missing: set[str] = set()
        self.received = 0
        self._stopped = False
        self._lock = threading.Lock()

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """As in the store inside; after :meth:`stop` an error."""
        if self._stopped:
            raise UserError("reading was stopped")
        found = await self._store.get(key, prototype, byte_range)
        if found is None and key.rpartition("/")[2] not in METADATA:
            if self.strict:
                raise MissingChunk(key)
            self.missing.add(key)
        if found is not None:
            with self._lock:
                self.received += len(found)
        return found

    async def getsize(self, key: str) -> int:
        """Bytes of an object; FileNotFoundError if there is none."""
        return await self._store.getsize(key)

    def stop(self) -> None:
        """Read nothing more, and give up what waits for another attempt."""
        self._stopped = True
        if isinstance(self._store, RemoteStore):
            self._store.stop()
