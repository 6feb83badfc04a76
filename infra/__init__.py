"""The ground everything stands on: settings, clock, identity, telemetry, engines. It knows no ping and no trip."""
