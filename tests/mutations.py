"""Random damage for files: bytes, lines and columns change."""

import re

LONGEST = 2**16  # bytes

MARKS = rb"""{ } [ ] {} [] " ' \ null true NaN Infinity -1 0 1e999 0.5 1_0 \ud800
<!DOCTYPE a> &a; ]]> </ <a> ../../x /etc/passwd !!python/x &x *x <<: ? - :"""
PIECES = [*MARKS.split(), b"", b"\0", b"\xff", b"\xef\xbb\xbf", b"\t", b"\n", b"\r", b"\r\n", b" "]
PIECES += [b"[" * 3000, b"9" * 30, b"9" * 5000, b"\xed\xa0\x80", b": ", b"- "]
PIECES += ["\u2028".encode(), "\u0661".encode(), "é".encode()]


def mutated(data, rng):
    """One to four random changes of these bytes."""
    for _ in range(rng.randint(1, 4)):
        data = rng.choice(CHANGES)(data, rng)
    return data[:LONGEST]


def flip(data, rng):
    if not data:
        return data
    place = rng.randrange(len(data))
    return data[:place] + bytes([data[place] ^ (1 << rng.randrange(8))]) + data[place + 1 :]


def insert(data, rng):
    place = rng.randrange(len(data) + 1)
    return data[:place] + rng.choice(PIECES) + data[place:]


def cut(data, rng):
    start, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:start] + data[end:]


def truncate(data, rng):
    return data[: rng.randrange(len(data) + 1)]


def repeat(data, rng):
    start, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:end] + data[start:end] * rng.choice([1, 1, 2, 50]) + data[end:]


def replace_token(data, rng):
    """Replace a word, number or mark."""
    tokens = list(re.finditer(rb"[A-Za-z_0-9.]+|[^\sA-Za-z_0-9.]", data))
    if not tokens:
        return data
    token = rng.choice(tokens)
    return data[: token.start()] + rng.choice(PIECES) + data[token.end() :]


def move_line(data, rng):
    lines = data.split(b"\n")
    lines.insert(rng.randrange(len(lines)), lines.pop(rng.randrange(len(lines))))
    return b"\n".join(lines)


CHANGES = [flip, insert, cut, truncate, repeat, replace_token, replace_token, move_line]
