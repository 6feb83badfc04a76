"""Stand-ins for the rooms: tiny `python -m ingest|stream|push|simulator` that a test can make fail."""

from __future__ import annotations

from pathlib import Path

#: Serves /readyz on every port it is given by environment. STANDIN_<ROOM> says what else: `die` at once with a
#: message, `misconfigured` (exit code 2), `die_once`/`die_often` after it was ready, `deaf` to SIGTERM.
SERVICE = """
import http.server, os, pathlib, signal, sys, threading, time

room, how = "{room}", os.environ.get("STANDIN_{ROOM}", "")
pathlib.Path(f"{{room}}.env").write_text("\\n".join(f"{{k}}={{v}}" for k, v in os.environ.items()))
pathlib.Path(f"{{room}}.new").write_text(str(os.getpid()))
pathlib.Path(f"{{room}}.new").rename(f"{{room}}.pid")
with open(f"{{room}}.starts", "a") as starts:
    starts.write("started\\n")
if sys.argv[1:] == ["topics"]:
    sys.exit(0)
if how == "die":
    sys.exit("the last words of " + room)
if how == "misconfigured":
    print(f"ridestream {{room}}: RIDESTREAM_X: must be y", file=sys.stderr)
    sys.exit(2)
if how == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *args):
        pass

for variable in {ports}:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ[variable])), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
mark = pathlib.Path(f"{{room}}.died")
if how == "die_often" or (how == "die_once" and not mark.exists()):
    mark.touch()
    time.sleep(0.5)
    print("watchdog: no progress", file=sys.stderr)
    os._exit(70)
while True:
    time.sleep(3600)
"""

#: Marks that it was started; `STANDIN_SIMULATOR` is `finish` (exit 0), `die`, a number (the exit code when it is asked
#: to stop), or empty (drive for ever).
SIMULATOR = """
import os, pathlib, signal, sys, time

if "--check" in sys.argv:
    print("it can be played")
    sys.exit(0)
if "--print-clock" in sys.argv:
    if not pathlib.Path(sys.argv[sys.argv.index("--print-clock") + 1]).read_text():
        sys.exit("ridestream replay: the file is empty")
    print("replay:event_start_ms=1000,event_end_ms=61000,speed=60,wall_start_ms=5")
    sys.exit(0)
how = os.environ.get("STANDIN_SIMULATOR", "")
if how.isdigit():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(int(how)))
pathlib.Path("simulator.args").write_text(" ".join(sys.argv[1:]))
pathlib.Path("simulator.env").write_text("\\n".join(f"{k}={v}" for k, v in os.environ.items()))
pathlib.Path("simulator.new").write_text(str(os.getpid()))
pathlib.Path("simulator.new").rename("simulator.pid")
if how == "die":
    sys.exit("no road network")
while how != "finish":
    time.sleep(3600)
"""

PORTS = {
    "ingest": ["RIDESTREAM_INGEST_PORT"],
    "stream": ["RIDESTREAM_STREAM_METRICS_PORT"],
    "push": ["RIDESTREAM_PUSH_PORT", "RIDESTREAM_PUSH_HTTP_PORT"],
}
ROOMS = (*PORTS, "simulator")


def build(folder: Path) -> None:
    """Write the stand-ins where `python -m` finds them first: in its working folder."""
    for room, ports in PORTS.items():
        _room(folder, room, SERVICE.format(room=room, ROOM=room.upper(), ports=ports))
    _room(folder, "simulator", SIMULATOR)


def _room(folder: Path, room: str, source: str) -> None:
    (folder / room).mkdir()
    (folder / room / "__init__.py").touch()
    (folder / room / "__main__.py").write_text(source)
