"""What a feed asks of a mirror, of the index that it mirrors, and of the channels between."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Generic, NamedTuple, Protocol, TypeVar

from push.mirror import Outcome

Key = TypeVar("Key", bound=Hashable)
Delta = TypeVar("Delta")
_Key = TypeVar("_Key", bound=Hashable, contravariant=True)
_Delta = TypeVar("_Delta", contravariant=True)
_Read = TypeVar("_Read", contravariant=True)
_Index = TypeVar("_Index", bound=Hashable)
_Snapshot = TypeVar("_Snapshot", covariant=True)


class Copies(Protocol[_Key, _Delta, _Read]):
    """The mirror."""

    def expect(self, key: _Key, /) -> None: ...

    def apply_delta(self, key: _Key, delta: _Delta, /) -> Outcome: ...

    def apply_snapshot(self, key: _Key, snapshot: _Read, /) -> Outcome: ...

    def position_of(self, key: _Key, /) -> tuple[int, int] | None: ...

    def drop(self, key: _Key, /) -> None: ...


class Index(Protocol[_Index, _Snapshot]):
    """What is mirrored, in Redis. Methods raise RedisError."""

    async def snapshot(self, key: _Index, /) -> _Snapshot: ...

    async def positions_of(self, keys: Iterable[_Index], /) -> dict[_Index, tuple[int, int]]: ...


class Channels(NamedTuple, Generic[Key, Delta]):
    """Where changes are published, and how. `unpack` raises ValueError."""

    of_key: Callable[[Key], str]
    key_of: Callable[[bytes], Key]
    unpack: Callable[[bytes], Delta]
