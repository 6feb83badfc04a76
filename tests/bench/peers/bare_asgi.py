"""Peer of 1 and 2: an ASGI callable under uvicorn that reads the body, decodes nothing and answers fixed bytes."""

from __future__ import annotations

import argparse
import gc
from typing import Any

import uvicorn


def app_answering(body: bytes, status: int) -> Any:
    """The least ASGI app that reads a request and answers it."""
    start = {
        "type": "http.response.start",
        "status": status,
        "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())],
    }
    end = {"type": "http.response.body", "body": body}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body", False):
            pass
        await send(start)
        await send(end)

    return app


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument(
        "--answer", default='{"received":1,"accepted":1,"rejected":0,"results":[{"status":"accepted"}]}'
    )
    args = parser.parse_args()
    gc.freeze()
    uvicorn.run(
        app_answering(args.answer.encode(), 202),
        host="127.0.0.1",
        port=args.port,
        loop="uvloop",
        http="httptools",
        lifespan="off",
        access_log=False,
        log_level="warning",
        backlog=4096,
    )


if __name__ == "__main__":
    main()
