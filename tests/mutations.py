"""Damage for files: bytes, lines and columns are changed, by a random generator."""

import re

LONGEST = 2**16  # bytes

PIECES = [
    b"",
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\t",
    b"\n",
    b"\r",
    b"\r\n",
    b" ",
    b'"',
    b"'",
    b"\\",
]
PIECES += [b"{", b"}", b"[", b"]", b"[" * 3000, b"{}", b"[]", b"null", b"true", b"NaN", b"Infinity"]
PIECES += [
    b"-1",
    b"0",
    b"1e999",
    b"9" * 30,
    b"9" * 5000,
    b"0.5",
    b"1_0",
    b"\\ud800",
    b"\xed\xa0\x80",
]
PIECES += [
    b"<!DOCTYPE a>",
    b"&a;",
    b"]]>",
    b"</",
    b"<a>",
    b"../../x",
    b"/etc/passwd",
    b"!!python/x",
]
PIECES += [
    "\u2028".encode(),
    "\u0661".encode(),
    "é".encode(),
    b"&x *x",
    b"<<: *x",
    b"? ",
    b"- ",
    b": ",
]


def mutated(data, rng):
    """One to four changes of these bytes."""
    for _ in range(rng.randint(1, 4)):
        data = rng.choice(CHANGES)(data, rng)
    return data[:LONGEST]


def flip(data, rng):
    if not data:
        return data
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]


def insert(data, rng):
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(PIECES) + data[at:]


def cut(data, rng):
    start, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:start] + data[end:]


def truncate(data, rng):
    return data[: rng.randrange(len(data) + 1)]


def repeat(data, rng):
    start, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:end] + data[start:end] * rng.choice([1, 1, 2, 50]) + data[end:]


def replace_token(data, rng):
    """A word, a number or a mark becomes another."""
    tokens = list(re.finditer(rb"[A-Za-z_0-9.]+|[^\sA-Za-z_0-9.]", data))
    if not tokens:
        return data
    found = rng.choice(tokens)
    return data[: found.start()] + rng.choice(PIECES) + data[found.end() :]


def move_line(data, rng):
    lines = data.split(b"\n")
    lines.insert(rng.randrange(len(lines)), lines.pop(rng.randrange(len(lines))))
    return b"\n".join(lines)


CHANGES = [flip, insert, cut, truncate, repeat, replace_token, replace_token, move_line]
