"""What a connection costs a server: its process's memory and processor time, and the bytes that wait in the kernel."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path


def resident_bytes(pid: int) -> int:
    """Resident memory of a process: private, shared and file pages."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def unsent_bytes(server_port: int, client_ports: Collection[int]) -> dict[int, int]:
    """Client port -> bytes in the server's send queue towards it (what SIOCOUTQ tells), for IPv4 connections."""
    found = {}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, _, queues, *_ = line.split()
        client_port = int(remote.split(":")[1], 16)
        if int(local.split(":")[1], 16) == server_port and client_port in client_ports:
            found[client_port] = int(queues.split(":")[0], 16)
    return found


def processor_s(pid: int) -> float:
    """Processor time that a process has used."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
