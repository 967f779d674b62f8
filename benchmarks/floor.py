"""The floor: uvicorn with an app that reads the body and answers. What a receiver costs above it is its own work."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]

START = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}


async def app(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """Read the whole body, answer {}."""
    if scope["type"] != "http":
        return
    more = True
    while more:
        more = (await receive()).get("more_body", False)
    await send(START)
    await send({"type": "http.response.body", "body": b"{}"})
