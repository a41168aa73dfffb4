"""Take what the model in the page needs out of npm's `onnxruntime-web`: a script, and compressed WebAssembly.

    npm pack onnxruntime-web@1.30.0
    python scripts/vendor_onnxruntime.py onnxruntime-web-1.30.0.tgz atmorep_lite/widgets/onnxruntime

The script is the bundle for WebAssembly alone (no WebGL, no WebGPU), unchanged.  The WebAssembly file is
stored as gzip, 3.7 MB for 14.2 MB; the browser unpacks it.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import tarfile
from pathlib import Path

VERSION = "1.30.0"
SCRIPT, BINARY = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
SHA256 = {
    SCRIPT: "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    BINARY: "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}


def take(archive: Path) -> dict[str, bytes]:
    """The files of the npm archive by name; their checksums must be the known ones."""
    found = {}
    with tarfile.open(archive) as package:
        for name, expected in SHA256.items():
            file = package.extractfile(f"package/dist/{name}")
            assert file is not None
            found[name] = file.read()
            checksum = hashlib.sha256(found[name]).hexdigest()
            if checksum != expected:
                raise SystemExit(
                    f"{name} is not that of onnxruntime-web {VERSION}: its SHA-256 is {checksum}"
                )
    return found


def main() -> None:
    """Command line: write both files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    files = take(options.archive)
    options.folder.mkdir(parents=True, exist_ok=True)
    (options.folder / SCRIPT).write_bytes(files[SCRIPT])
    (options.folder / f"{BINARY}.gz").write_bytes(gzip.compress(files[BINARY], 9, mtime=0))


if __name__ == "__main__":
    main()
