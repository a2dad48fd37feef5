"""Defines what all commands share: options, settings, output and exit status."""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import sys
import traceback
import typing
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec, TypeVar

import typer
from typer.core import TyperCommand

if TYPE_CHECKING:
    from devflow_core.folder_trust import FolderQuestion
    from devflow_core.settings import Settings
    from rich.console import Console

T = TypeVar("T")
D = TypeVar("D")
P = ParamSpec("P")

DONE, FAILED, USAGE, CONFIGURATION, BUDGET, UPSTREAM, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130
"""Exit statuses; 130 is the shells' convention for a command ended by Ctrl-C."""

_FULL_JSON = "--full-json"
"""How `--json=full` is spelled for the parser, whose flags take no value."""

# Typer reads a command's signature; `command` adds these to each, so that no command repeats them.
_COMMON_OPTIONS: dict[str, Any] = {
    "as_json": Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print one JSON document to stdout, logs to stderr; --json=full leaves nothing"
            " out of it.",
        ),
    ],
    "is_full": Annotated[bool, typer.Option(_FULL_JSON, hidden=True)],
    "data_dir": Annotated[
        Path | None, typer.Option(help="Folder of the ledger and the keys.", show_default=False)
    ],
    "config": Annotated[
        Path | None,
        typer.Option(
            help="A settings file that replaces yours and ./devflow.toml.", show_default=False
        ),
    ],
}
_FLAGS = ("as_json", "is_full", "wide")
_TABLE_OPTIONS: dict[str, Any] = {
    "wide": Annotated[
        bool, typer.Option("--wide", help="Leave out no column of the table, and shorten nothing.")
    ],
    "columns": Annotated[
        str | None,
        typer.Option(
            help="Only these columns of the table, separated by commas.", show_default=False
        ),
    ],
}


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of a command: the common options, and the output."""

    as_json: bool = False
    """Whether a single JSON document is printed instead of text for people."""
    is_full: bool = False
    """Whether that document leaves nothing out."""
    data_dir: Path | None = None
    """The folder of the ledger and the keys; None is the settings'."""
    config: Path | None = None
    """A settings file that replaces the user's and the folder's; None reads those."""
    wide: bool = False
    """Whether tables show all columns whole, however narrow the terminal is."""
    columns: str | None = None
    """The columns that tables show, separated by commas; None is all that fit."""

    def settings(self, *, reads_folder: bool = True, **overrides: object) -> Settings:
        """Load the settings with this run's options on top, and configure the logs.

        Args:
            reads_folder: whether to read the working directory's file, asking for trust first.
            overrides: values of single settings; None leaves a setting as it is.

        Raises:
            ConfigurationError: see `Settings.load`.
        """
        from devflow_core import log
        from devflow_core.settings import Settings

        settings = Settings.load(
            None,
            self.config,
            judge_folder=self._judge_folder if reads_folder else None,
            data_dir=self.data_dir,
            **overrides,
        )
        log.configure(settings.log_level, settings.log_format)
        return settings

    def _judge_folder(self, question: FolderQuestion) -> bool:
        """Ask on a terminal, if the question is new; otherwise answer no, with a remark."""
        # without a terminal there is no one to ask, and `--json` promises a single document
        is_terminal = sys.stdin.isatty() and sys.stderr.isatty() and not self.as_json
        if question.answer is None and is_terminal:
            return ask_about_folder(self, question)
        self.remark(f"devflow: {question.remark}")
        return False

    @functools.cached_property
    def console(self) -> Console:
        """The console for people: plain text in a pipe, colours unless `NO_COLOR` is set."""
        from rich.console import Console

        # like `print`: no colours for numbers, and no line broken at the terminal's width
        return Console(highlight=False, soft_wrap=True)

    @functools.cached_property
    def progress(self) -> Console:
        """The console for progress on standard error; silent in a pipe or with `--json`."""
        from rich.console import Console

        is_quiet = self.as_json or not sys.stderr.isatty()
        return Console(stderr=True, highlight=False, soft_wrap=True, quiet=is_quiet)

    def say(self, text: str = "", *, end: str = "\n") -> None:
        """Write text for people to standard output; with `--json`, write nothing."""
        if not self.as_json:
            sys.stdout.write(strip_control_chars(text) + end)
            # a reply is shown as it arrives, which a pipe would hold back
            sys.stdout.flush()

    def remark(self, text: str) -> None:
        """Write a line to standard error, even with `--json`."""
        sys.stderr.write(strip_control_chars(text) + "\n")

    def emit(self, document: D, lean: Callable[[D], object] | None = None) -> None:
        """Write the JSON document of `--json` to standard output; money becomes decimal text.

        The caller checks `as_json`, and calls this once in a run.

        Args:
            document: all that `--json=full` shows.
            lean: shortens it for `--json`; None: the same is shown for both.
        """
        import orjson
        from devflow_core.safe_text import escape_json

        emitted = document if lean is None or self.is_full else lean(document)
        shown = orjson.dumps(emitted, option=orjson.OPT_INDENT_2, default=_json_default)
        sys.stdout.buffer.write(escape_json(shown.decode()).encode() + b"\n")
        sys.stdout.flush()


def ask_about_folder(run: Run, question: FolderQuestion) -> bool:
    """Show every setting of a folder's file, ask whether to trust it, and remember the answer.

    Returns the answer.
    """
    run.remark(f"{question.file.path} came with this folder. It sets:\n")
    for line in question.describe():
        run.remark(f"  {line}")
    run.remark(
        "\nSettings can send your keys and your work to other hosts, and run commands as you."
        " Without your trust, only preferences are used: models, names and weights."
    )
    is_trusted = typer.confirm("Trust this file until it changes?", err=True)
    question.remember(is_trusted=is_trusted)
    return is_trusted


def command(
    app: typer.Typer, name: str | None = None, *, has_table: bool = False
) -> Callable[[Callable[Concatenate[Run, P], object]], Callable[Concatenate[Run, P], object]]:
    """Register a function as a command, with the options that all commands share.

    The function takes a `Run` first; a coroutine function runs in its own event loop. An `int`
    that it returns is the exit status. Its docstring is the command's help.

    Args:
        app: the command or group that it belongs to.
        name: its name; None is the function's.
        has_table: whether it prints a table, and thus takes `--wide` and `--columns`.
    """
    common = _COMMON_OPTIONS | (_TABLE_OPTIONS if has_table else {})

    def register(
        function: Callable[Concatenate[Run, P], object],
    ) -> Callable[Concatenate[Run, P], object]:
        # annotations are texts here (`from __future__ import annotations`), and Typer needs types
        hints = typing.get_type_hints(function, include_extras=True)
        own = [
            one.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[one.name])
            for one in list(inspect.signature(function).parameters.values())[1:]
        ]
        shared = [
            inspect.Parameter(
                option,
                inspect.Parameter.KEYWORD_ONLY,
                default=False if option in _FLAGS else None,
                annotation=hint,
            )
            for option, hint in common.items()
        ]

        def call(**options: Any) -> None:
            run = _begin_run({option: options.pop(option) for option in common})
            result = function(run, **options)  # type: ignore[call-arg] - typer gives the options
            if inspect.isawaitable(result):
                result = asyncio.run(_await_result(result))
            # a bool is an int, too
            if isinstance(result, int) and not isinstance(result, bool) and result != DONE:
                raise typer.Exit(result)

        call.__name__ = function.__name__
        call.__doc__ = function.__doc__
        call.__annotations__ = {one.name: one.annotation for one in (*own, *shared)}
        call.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
        app.command(name, cls=_Command)(call)
        return function

    return register


class _Command(TyperCommand):
    """A command whose `--json` may have a form: `--json=full`, `--json=lean`."""

    # `Any`: Typer carries a private copy of click, whose context is the base's
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        spelled = {"--json=full": _FULL_JSON, "--json=lean": "--json"}
        ours = [spelled.get(one, one) for one in args[:end]]
        if wrong := next((one for one in ours if one.startswith("--json=")), None):
            form = wrong.partition("=")[2]
            raise typer.BadParameter(f"{form!r} is none of full, lean", ctx, param_hint="--json")
        return super().parse_args(ctx, ours + args[end:])


def _begin_run(options: dict[str, Any]) -> Run:
    if options["is_full"]:
        options["as_json"] = True
    if options["as_json"] and options.get("columns") is not None:
        raise typer.BadParameter("cannot be combined with --json", param_hint="--columns")
    return Run(**options)


async def _await_result(awaitable: Awaitable[T]) -> T:
    return await awaitable


def strip_control_chars(text: str) -> str:
    """Remove characters that control a terminal: escapes, carriage returns, bidi marks.

    Newlines and tabs stay.
    """
    return "".join(char for char in text if char in "\n\t" or char.isprintable())


def report_fault(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Write the traceback of a bug to standard error, with secrets masked (`sys.excepthook`)."""
    from devflow_core.masking import mask

    lines = traceback.format_exception(kind, error, trace)
    sys.stderr.write(mask("".join(lines)))


def run_guarded(main: Callable[[], object]) -> int:
    """Run the program, and return the exit status.

    Errors of DevFlow and of the system are written to stderr (and to stdout with `--json`). Ctrl-C
    gives `INTERRUPTED`, and a reader of the output that has gone gives `FAILED`. Anything else
    propagates.
    """
    from devflow_core.errors import DevFlowError

    # an error may come before the options are parsed
    as_json = any(one.partition("=")[0] in ("--json", _FULL_JSON) for one in sys.argv[1:])
    try:
        result = main()
    except DevFlowError as error:
        return _report_failure(error, as_json=as_json)
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.stderr.write("Interrupted.\n")
        return INTERRUPTED
    except BrokenPipeError:
        # the reader of our output is gone; keep the interpreter from failing on it at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:
        return _report_failure(error, as_json=as_json)
    return result if isinstance(result, int) else DONE


def exit_status(error: BaseException) -> int:
    """Return the exit status for an error; `FAILED` for one without a status of its own."""
    from devflow_core import errors

    # most specific first: scripts tell by the status whether to fix, wait or pay
    if isinstance(error, errors.InvalidRequest):
        return USAGE
    if isinstance(error, errors.ConfigurationError):
        return CONFIGURATION
    if isinstance(error, errors.BudgetExceeded):
        return BUDGET
    if isinstance(error, errors.UpstreamError | errors.AllCandidatesFailed | errors.QueueFull):
        return UPSTREAM
    return FAILED


def _report_failure(error: BaseException, *, as_json: bool) -> int:
    from devflow_core.errors import DevFlowError
    from devflow_core.masking import mask

    message = mask(_describe_os_error(error) if isinstance(error, OSError) else str(error))
    if as_json:
        code = error.code if isinstance(error, DevFlowError) else "internal_error"
        Run(as_json=True).emit({"error": {"code": code, "message": message}})
    sys.stderr.write(f"devflow: {strip_control_chars(message)}\n")
    return exit_status(error)


def _describe_os_error(error: OSError) -> str:
    """Return the system's reason and path, without its number, and what to do."""
    reason = error.strerror or str(error)
    if error.filename is None:
        return f"{reason}."
    path = os.fsdecode(error.filename) if isinstance(error.filename, bytes) else error.filename
    return f"{path}: {reason}. Check that path and who may write there, or name another one."


def _json_default(value: object) -> object:
    """Encode what orjson cannot: money and paths as text, sets and named tuples as lists."""
    from decimal import Decimal

    from devflow_core.usage import usd_text

    if isinstance(value, Decimal):
        return usd_text(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, frozenset | set | tuple):
        return list(typing.cast("frozenset[object]", value))
    raise TypeError(f"no JSON for {type(value).__name__}")
