"""The diagnostics of a segment, in files laid out as Lucene does."""

import random
import zlib

import pytest

from dpr.bm25.segment_info import without_time

# Of a merged segment, whose first key may be one that others lack.
DIAGNOSTICS = {
    "mergeMaxNumSegments": "1",
    "mergeFactor": "10",
    "lucene.version": "10.2.1",
    "os": "Linux",
    "os.arch": "amd64",
    "os.version": "6.1",
    "java.vendor": "Eclipse Adoptium",
    "java.runtime.version": "25.0.2",
    "source": "merge",
    "timestamp": "1764000000000",
}
HEADER = (
    bytes([0x3F, 0xD7, 0x6C, 0x17]) + b"\x13Lucene90SegmentInfo" + bytes(range(16)) + b"\0\0\4\1"
)


def segment_info(diagnostics):
    texts = [text.encode() for item in diagnostics.items() for text in item]
    body = HEADER + bytes([len(diagnostics)])
    body += b"".join(bytes([len(text)]) + text for text in texts)
    body += b"\2\x04_0.fd\x04_0.fi" + bytes(8)
    return body + zlib.crc32(body).to_bytes(8, "big")


@pytest.mark.parametrize("seed", range(20))
def test_order_and_time_make_no_difference(seed):
    items = list(DIAGNOSTICS.items())
    random.Random(seed).shuffle(items)
    later = dict(items) | {"timestamp": f"17640{seed:08}"}
    fixed = without_time(segment_info(later))
    assert fixed == without_time(segment_info(DIAGNOSTICS))
    expected = dict(sorted(DIAGNOSTICS.items())) | {"timestamp": "0" * 13}
    assert fixed == segment_info(expected)  # the checksum too
    assert fixed != without_time(segment_info(DIAGNOSTICS | {"source": "flush"}))


def test_a_file_without_a_time_is_refused():
    others = {key: value for key, value in DIAGNOSTICS.items() if key != "timestamp"}
    with pytest.raises(ValueError, match="unknown layout: no time stamp"):
        without_time(segment_info(others))
