"""`ridestream <verb>`: one command for everything. It finds rooms by their names and imports none of them."""

from __future__ import annotations

import argparse
import runpy
import sys
import time
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version

HELP = """\
ridestream: an open ride location pipeline. Drivers' pings in, live nearby cars out.

usage: ridestream <verb> [options]         `ridestream <verb> --help` tells a verb's options

start everything on this machine
  run        Kafka and Redis, all services, a simulated fleet and the live map, until Ctrl-C

start one service (settings: docs/configuration.md)
  topics     create the Kafka topics; run it once before the services
  ingest     take pings and trips over HTTP and put them into Kafka
  stream     fold pings into driver positions and trips, and keep them in Redis: one worker
  push       stream nearby cars and trips to riders over WebSockets, and serve the live map

make load
  simulate   drive a fleet on a road network and post its pings
  replay     post a recorded trace, as fast as it happened or faster

look and try
  token      make a bearer token for development: `ridestream token driver d-1`
  config     print every setting with its default, as Markdown
"""

#: Verb -> module and first arguments, as in `python -m <module> <arguments>`.
MODULES = {
    "topics": ("ingest", "topics"),
    "ingest": ("ingest",),
    "stream": ("stream", "worker"),
    "push": ("push",),
    "simulate": ("simulator", "simulate"),
    "replay": ("simulator", "replay"),
}
#: Service -> where the class of everything it reads is.
SETTINGS = {
    "ingest": "ingest.settings:IngestSettings",
    "stream": "stream.settings:StreamSettings",
    "push": "push.settings:PushSettings",
    "simulator": "simulator.settings:SimulatorSettings",
}
#: Kind of token -> audience and scope, as ingest and push check them.
TOKENS = {
    "driver": ("ingest", "driver"),
    "fleet": ("ingest", "fleet"),
    "dispatch": ("ingest", "dispatch"),
    "rider": ("rider", "rider"),
    "dispatch-reader": ("rider", "dispatch"),
}


def main(argv: list[str] | None = None) -> int:
    """The console script. Returns the exit code; a verb that is a module of its own may exit by itself."""
    arguments = sys.argv[1:] if argv is None else argv
    verb, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if verb in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0
    if verb in ("-V", "--version"):
        print(f"ridestream {version('ridestream')}")
        return 0
    if verb in MODULES:
        return _run_module(*MODULES[verb], *rest)
    own = OWN.get(verb)
    if own is None:
        print(f"ridestream: there is no verb `{verb}`; `ridestream --help` lists them", file=sys.stderr)
        return 2
    return own(rest)


def _run_module(module: str, *arguments: str) -> int:
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    return 0


def _run(argv: list[str]) -> int:
    from infra.local.run import main as run

    return run(argv)


def settings_page() -> str:
    """docs/configuration.md as it must be."""
    from infra.configuration import page

    classes = {}
    for service, place in SETTINGS.items():
        module, _, name = place.partition(":")
        classes[service] = getattr(import_module(module), name)
    return page(classes)


def _config(argv: list[str]) -> int:
    argparse.ArgumentParser(
        prog="ridestream config", description="Print every setting with its default, as Markdown."
    ).parse_args(argv)
    sys.stdout.write(settings_page())
    return 0


def _token(argv: list[str]) -> int:
    from infra.identity import Verifier, mint
    from infra.settings import IdentitySettings, SettingsError, load

    parser = argparse.ArgumentParser(
        prog="ridestream token",
        description="Print a bearer token for development, signed with RIDESTREAM_JWT_KEY, or else with the key of "
        "the `ridestream run` that was started in this folder (.ridestream/jwt_key).",
    )
    parser.add_argument(
        "kind",
        choices=TOKENS,
        help="who it is for: a driver, a fleet (may post for many drivers), a dispatch system (makes and moves trips), "
        "a rider, a dispatcher who looks (at push)",
    )
    parser.add_argument("subject", help="the id of the driver, fleet, rider or dispatch system")
    parser.add_argument("--hours", type=float, default=12.0, metavar="H", help="valid for (default: 12)")
    parser.add_argument("--scope", help="space separated, instead of the kind's own")
    options = parser.parse_args(argv)
    audience, scope = TOKENS[options.kind]
    try:
        settings = load(IdentitySettings)
        if settings.jwt_algorithm != "HS256":
            raise SettingsError(f"tokens are made with HS256 only, and RIDESTREAM_JWT_ALGORITHM is "
                                f"{settings.jwt_algorithm}; ask whoever holds its private key")  # fmt: skip
        key = settings.jwt_key or _key_of_local_run()
        if not key:
            raise SettingsError("RIDESTREAM_JWT_KEY is not set, and no `ridestream run` was started in this folder; "
                                "set the key that your services have, or go to that folder")  # fmt: skip
        Verifier(key, "HS256", audience)  # refuses a key that the services would refuse
    except ValueError as error:
        print(f"ridestream token: {error}", file=sys.stderr)
        return 2
    print(mint(key, "HS256", audience, options.subject, options.scope or scope, time.time(), options.hours * 3600))
    return 0


def _key_of_local_run() -> str:
    from infra.local.run import KEY_FILE

    try:
        return KEY_FILE.read_text()
    except OSError:
        return ""


OWN: dict[str, Callable[[list[str]], int]] = {"run": _run, "token": _token, "config": _config}

if __name__ == "__main__":
    sys.exit(main())
