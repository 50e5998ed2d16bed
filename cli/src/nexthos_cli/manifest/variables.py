"""`-e NAME=VALUE`, `-e NAME` and `--env-file`, as `docker run` reads them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from nexthos_shared import names
from nexthos_shared.errors import InvalidName, Refused
from nexthos_shared.reasons import Problem, Reason

MAX_BYTES = 256 * 1024
NO_PAIR = "is not NAME=VALUE; a name has letters, digits and _, and begins with no digit"


def read_variables(
    pairs: Sequence[str], files: Sequence[str], environ: Mapping[str, str]
) -> dict[str, str]:
    """What they set; `-e` wins over files. Raises Refused with every mistake."""
    found: dict[str, str] = {}
    problems: list[Problem] = []
    for file in files:
        for number, line in _lines(file, problems):
            _take(line, environ, found, problems, file=file, line=number)
    for pair in pairs:
        _take(pair, environ, found, problems, file=None, line=None)
    if problems:
        raise Refused(problems)
    return found


def _lines(file: str, problems: list[Problem]) -> Iterator[tuple[int, str]]:
    try:
        with open(file, encoding="utf-8") as opened:
            text = opened.read(MAX_BYTES)
    except (OSError, UnicodeDecodeError) as error:
        words = error.strerror if isinstance(error, OSError) else "not UTF-8"
        problems.append(Problem(Reason.INVALID_SETTINGS, f"{file}: {words}", file=file))
        return
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, line.strip()


def _take(
    pair: str,
    environ: Mapping[str, str],
    found: dict[str, str],
    problems: list[Problem],
    *,
    file: str | None,
    line: int | None,
) -> None:
    name, sign, value = pair.partition("=")
    try:
        names.check_env_name(name)
    except InvalidName as error:
        # A line of a file may be the rest of a value, which is nobody's to read in a log.
        words = str(error) if file is None else f"{file}:{line}: {NO_PAIR}"
        problems.append(Problem(Reason.INVALID_NAME, words, file=file, line=line))
        return
    if sign:
        found[name] = value
    elif name in environ:
        found[name] = environ[name]
    else:
        # What stands alone in a file may be a value whose name was forgotten.
        what = name if file is None else f"{file}:{line}: a name without a value"
        words = f"{what}: is not set here, so it has no value to pass on; write NAME=VALUE"
        problems.append(Problem(Reason.VARIABLE_MISSING, words, file=file, line=line))
