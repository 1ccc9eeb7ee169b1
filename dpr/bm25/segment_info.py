"""Lucene's segment info file (.si) without what differs between two builds of one index.

Its diagnostics are notes for people (Java version, time of day), in an order that changes from JVM
to JVM. With them, every build would be a new index to DVC, and search would run again.
"""

import zlib

TIME = b"timestamp"


def without_time(segment_info: bytes) -> bytes:
    """The file with its diagnostics sorted and their time set to zeros.

    The diagnostics are a count (one byte, for fewer than 128) and as many keys and values, each a
    length byte and UTF-8. The file ends with a CRC-32 of all before it (Lucene's CodecUtil).

    Raises:
        ValueError: for a file without diagnostics, which a later Lucene might write.
    """
    for start in range(len(segment_info)):
        strings, end = _strings(segment_info, start)
        keys = strings[::2]
        if TIME in keys and all(key.replace(b".", b"").isalpha() for key in keys):
            break
    else:
        raise ValueError("a Lucene segment info file of an unknown layout: no time stamp in it")
    diagnostics = dict(zip(keys, strings[1::2], strict=True))
    diagnostics[TIME] = b"0" * len(diagnostics[TIME])
    fixed = b"".join(
        bytes([len(text)]) + text for item in sorted(diagnostics.items()) for text in item
    )
    body = segment_info[: start + 1] + fixed + segment_info[end:-8]
    return body + zlib.crc32(body).to_bytes(8, "big")


def _strings(data: bytes, start: int) -> tuple[list[bytes], int]:
    """The strings of a map that would begin at `start`, and its end; [] if none can begin there."""
    strings, end = [], start + 1
    for _ in range(2 * data[start]):
        if end >= len(data) or data[end] >= 128 or end + 1 + data[end] > len(data):
            return [], end
        strings.append(data[end + 1 : end + 1 + data[end]])
        end += 1 + data[end]
    return strings, end
