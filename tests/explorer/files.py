"""Create files that are not images, or not safe to decode."""

import zlib


def make_bad_files() -> dict[str, bytes]:
    """Return a text file, a truncated image, and an image of 100 megapixels in 12 kB."""
    rows = zlib.compress(bytes(10_000 * 1251), 9)
    header = (10_000).to_bytes(4) * 2 + bytes([1, 0, 0, 0, 0])

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data).to_bytes(4)
        return len(data).to_bytes(4) + kind + data + check

    start = b"\x89PNG\r\n\x1a\n"
    bomb = start + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return {"no.png": b"hello", "half.png": bomb[: len(bomb) // 2], "large.png": bomb}
