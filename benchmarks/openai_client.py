"""OpenAI's own client, at its strictest: `python openai_client.py BASE_URL MODEL PICTURE`.

To be run where `openai` is installed; `benchmarks.clients` does. It validates every response
against its types, and tries nothing again.
"""

from __future__ import annotations

import asyncio
import base64
import sys
from pathlib import Path
from typing import Any

from openai import (  # type: ignore[import-not-found]
    APITimeoutError,
    AsyncOpenAI,
    BadRequestError,
    NotFoundError,
    OpenAI,
)

QUESTION = "What colour is the square?"


def messages(picture: bytes, text: str = QUESTION) -> list[dict[str, Any]]:
    """One question about one picture."""
    url = f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"
    content = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": url}}]
    return [{"role": "user", "content": content}]


def one_by_one(client: Any, given: dict[str, Any]) -> str:
    """Every way of asking once; the answer, which is the same each time."""
    [listed] = client.models.list().data
    assert client.models.retrieve(listed.id).id == given["model"]
    create = client.chat.completions.create
    answer = create(**given)
    text = str(answer.choices[0].message.content)
    assert answer.usage.total_tokens > 0
    assert answer.vqa_engine["plan"]["max_tokens"] == given["max_tokens"]
    chunks = list(create(**given, stream=True, stream_options={"include_usage": True}))
    said = (chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert "".join(said) == text
    assert chunks[-1].usage.total_tokens == answer.usage.total_tokens
    with client.chat.completions.stream(**given) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.content == text
    return text


def refused(client: Any, given: dict[str, Any]) -> None:
    """What is not supported, and a model that is not there."""
    for fields, error in (({"logprobs": True}, BadRequestError), ({"model": "x"}, NotFoundError)):
        try:
            outcome = client.chat.completions.create(**given | fields)
        except error as raised:
            outcome = raised.response.headers["x-should-retry"]
        assert outcome == "false", f"{fields} was not refused for good"


async def together(url: str, given: dict[str, Any], text: str) -> None:
    """64 in flight, half of them streams, while others leave before they are answered."""
    async with AsyncOpenAI(
        base_url=url, api_key="none", max_retries=0, _strict_response_validation=True
    ) as client:
        create = client.chat.completions.create

        async def ask(stream: bool) -> str:
            answer = await create(**given, stream=stream)
            if not stream:
                return str(answer.choices[0].message.content)
            parts = [chunk.choices[0].delta.content or "" async for chunk in answer]
            return "".join(parts)

        async def leave() -> None:
            try:
                await create(**given, timeout=0.01)
            except APITimeoutError:
                pass
            else:
                raise AssertionError("it was answered within 10 ms")

        asked = [ask(stream=bool(number % 2)) for number in range(64)]
        *answers, _ = await asyncio.gather(*asked, asyncio.gather(*(leave() for _ in range(16))))
        assert answers == [text] * 64, answers


def main() -> None:
    """Ask in every way, and print the answer."""
    url, model, file = sys.argv[1:4]
    given = {"model": model, "messages": messages(Path(file).read_bytes()), "max_tokens": 8}
    client = OpenAI(base_url=url, api_key="none", max_retries=0, _strict_response_validation=True)
    text = one_by_one(client, given)
    refused(client, given)
    asyncio.run(together(url, given, text))
    print(text)


if __name__ == "__main__":
    main()
