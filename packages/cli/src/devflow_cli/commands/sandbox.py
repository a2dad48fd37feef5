"""`devflow sandbox`: runs the OpenRouter stand-in on its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from devflow_cli.app import app
from devflow_cli.deadline import writing_quietly
from devflow_cli.run import Run, command

if TYPE_CHECKING:
    from devflow_sandbox import FaultCase


@command(app)
async def sandbox(
    run: Run,
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free port.")] = 0,
    faults: Annotated[
        Path | None, typer.Option(help="A script of faults.", show_default=False)
    ] = None,
    fault: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="A case of the fault plan, such as U12-date, for every request for a reply.",
            show_default=False,
        ),
    ] = None,
    list_faults: Annotated[
        bool, typer.Option("--list-faults", help="Show the fault plan and exit.")
    ] = False,
    script: Annotated[
        Path | None, typer.Option(help="A script of replies, turn by turn.", show_default=False)
    ] = None,
) -> None:
    """Run a stand-in for OpenRouter on this machine until Ctrl-C or SIGTERM.

    It speaks the same protocol, charges the same prices in its own book (GET /sandbox/bill) and
    fails on request (--fault, or PUT /sandbox/faults). It is free, and its replies are invented.
    """
    import shlex

    from devflow_sandbox import Sandbox, find_case, serve

    from devflow_cli.sandbox_process import find_sandbox_folder

    if list_faults:
        _list_faults(run)
        return
    case = find_case(fault) if fault is not None else None
    own = run.data_dir or find_sandbox_folder(run.settings(reads_folder=False))
    data_dir = str(own.absolute())

    def announce(ready: Sandbox) -> None:
        # serve even if the reader of our output is gone
        with writing_quietly():
            show(ready)

    def show(ready: Sandbox) -> None:
        if run.as_json:
            where = {"base_url": ready.base_url, "api_key": ready.api_key, "data_dir": data_dir}
            run.emit(where)
            return
        run.say("The OpenRouter stand-in is ready. In another terminal:\n")
        run.say(f"  export OPENROUTER_BASE_URL={ready.base_url}")
        run.say(f"  export OPENROUTER_API_KEY={ready.api_key}")
        # also where a settings file names the folder of real calls
        run.say(f"  export DEVFLOW_DATA_DIR={shlex.quote(data_dir)}\n")
        if case is not None:
            _explain_fault(run, case)
        run.say(f"Its bill: {ready.url}/sandbox/bill   (Ctrl-C stops it)")

    await serve(Sandbox(host=host, port=port, faults=case or faults, script=script), announce)


def _list_faults(run: Run) -> None:
    from devflow_sandbox import load_plan

    cases = load_plan()
    if run.as_json:
        run.emit({"cases": [case.as_json() for case in cases]})
        return
    width = max(len(case.id) for case in cases)
    for case in cases:
        run.say(f"{case.id:{width}}  {case.description} → {case.expect.describe()}")
    run.say(f"\n{len(cases)} cases. Play one with `devflow sandbox --fault ID`.")


def _explain_fault(run: Run, case: FaultCase) -> None:
    from devflow_sandbox.faults.addresses import AUTHORITY

    run.say(f"Every request for a reply gets {case.id}: {case.description}.")
    run.say(f"A good client ends with: {case.expect.describe()}.\n")
    # otherwise an unknown authority would hide the fault that is played
    if case.address.startswith("tls_"):
        run.say(
            f"  export SSL_CERT_FILE={AUTHORITY}   # trusts the stand-in, except for the fault\n"
        )
