"""What docs/wire/websocket.md asks of every client, and how long a rider of ours bears what. Pure."""

from __future__ import annotations

#: A rider who was cut off comes back after a random part of this, doubled each time ("What a client must do").
RECONNECT_S, LONGEST_RECONNECT_S = 0.5, 30.0
#: Silence of so many heartbeats is a dead connection (two to three).
SILENT_HEARTBEATS = 2.5
#: A rider who has tried for so long in vain is lost.
BACK_WITHIN_S = 60.0
#: A slow rider is told everything at once again this long after it reads again: the server wants to see that for
#: `RIDESTREAM_SLOW_AFTER_S` (3 s), looks once a second, and the last position may have waited for
#: `RIDESTREAM_SLOW_INTERVAL_MS` (2 s).
RECOVERS_S = 6.0
#: What the kernel may hold for a rider who will read slowly. The server's own send buffer (64 KiB) comes on top, so at
#: 5 KB/s one who reads nothing is felt there after some 15 s.
SLOW_RECEIVE_BUFFER_BYTES = 8_192
#: Close codes from here on mean: do not come back (push/protocol.py).
_TERMINAL = range(4500, 5000)


def is_final(code: int) -> bool:
    """Whether a connection that ended so is not to be tried again: by its close code, or the HTTP status of a refusal
    other than "busy"."""
    return code in _TERMINAL or (400 <= code < 500 and code != 429)
