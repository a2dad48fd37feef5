"""Runs a gateway in a child process: settings as JSON on stdin, the URL on stdout."""

import sys

import orjson
from devflow_core import log
from devflow_core.settings import Settings
from devflow_server import Announcement, serve


def main() -> None:
    def announce(ready: Announcement) -> None:
        line = {"url": ready.url, "first_key": ready.first_key}
        sys.stdout.write(orjson.dumps(line).decode() + "\n")
        sys.stdout.flush()

    settings = Settings.load({}, None, **orjson.loads(sys.stdin.buffer.readline()))
    log.configure(settings.log_level, settings.log_format)
    serve(settings, announce=announce)


if __name__ == "__main__":
    main()
