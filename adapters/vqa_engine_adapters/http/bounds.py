"""What is read of a server's answer: so many bytes, for so long, and never the key."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    import httpx2

CONNECT = 10.0
"""Seconds that a connection may take; it is the answer that takes long."""

LARGEST = 16 << 20
"""Bytes of an answer. One of 4,096 tokens with their probabilities has some hundred KB."""


class TooLarge(Exception):
    """The answer has more than `LARGEST` bytes."""


def bounded_answer(
    http: httpx2.Client, method: str, path: str, content: Mapping[str, Any] | None, timeout: float
) -> httpx2.Response:
    """The answer to a request of a `punctual` client, read within `timeout` seconds in all.

    The answer's body is bounded after it was unpacked.

    Raises:
        TooLarge: it has too many bytes.
        httpx2.TransportError: there was no answer, or it did not come in time.
        httpx2.DecodingError: it cannot be unpacked.
    """
    import httpx2

    from vqa_engine_adapters.http.deadline import within

    limits = httpx2.Timeout(timeout, connect=min(CONNECT, timeout))
    with within(timeout), http.stream(method, path, json=content, timeout=limits) as response:
        body = bytearray()
        for piece in response.iter_bytes():
            body += piece
            if len(body) > LARGEST:
                raise TooLarge(f"the answer has more than {LARGEST >> 20} MiB")
        headers = [pair for pair in response.headers.raw if pair[0].lower() not in _OF_THE_TRANSFER]
        return httpx2.Response(
            response.status_code, headers=headers, content=bytes(body), request=response.request
        )


_OF_THE_TRANSFER = frozenset({b"content-encoding", b"transfer-encoding", b"content-length"})


def without_key(text: str, key: str | None) -> str:
    """The text with `***` for the key, in whatever form a server may quote it back.

    It may be written as JSON does, also twice over, as Python does, as in an address, or with
    other blanks; a part of it of eight characters or more at the text's end, where the server
    cut it, goes as well.
    """
    if not key:
        return text
    once = json.dumps(key)[1:-1]
    forms = {key, once, json.dumps(key, ensure_ascii=False)[1:-1], json.dumps(once)[1:-1]}
    forms |= {repr(key)[1:-1], quote(key), quote(key, safe=""), " ".join(key.split())}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, "***")
    loose = r"\\*".join(map(re.escape, key.replace("\\", "")))
    return re.sub(loose, "***", text) if loose else text
