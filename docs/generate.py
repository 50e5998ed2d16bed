"""Write what the documentation takes from the code: schemas, fields, reasons, tests of faults.

`make docs` runs it; `generate.py --check` exits 1 and names the files that are not true any more.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import faults

from nexthos_cli.schemas import models
from nexthos_shared.model import Pipeline
from nexthos_shared.model.stored import schema as schema_of
from nexthos_shared.reasons import EXPLANATIONS, SEEN_BY_DOCTOR

HERE = Path(__file__).parent
BEGIN, END = "<!-- generated: {} -->", "<!-- end -->"


def files() -> Iterator[tuple[Path, str]]:
    """Every generated file with what should stand in it."""
    for name, kinds in models().items():
        if name.startswith("output-"):
            continue  # `nexthos schema` prints those
        schema = json.dumps(schema_of(*kinds), indent=2, sort_keys=True)
        yield HERE / "schemas" / f"{name}.json", schema + "\n"
    contract = HERE / "contract.md"
    yield contract, _filled(contract.read_text(), {"fields": _fields(), "reasons": _reasons()})
    table = HERE / "faults.md"
    text = table.read_text()
    tests = faults.page(faults.rows(text), faults.shown(HERE.parent))
    yield table, _filled(text, {"tests": tests})


def _filled(text: str, parts: dict[str, str]) -> str:
    for name, part in parts.items():
        begin = BEGIN.format(name)
        head, _, rest = text.partition(begin)
        _, _, tail = rest.partition(END)
        text = f"{head}{begin}\n{part}\n{END}{tail}"
    return text


def _fields() -> str:
    properties = Pipeline.model_json_schema(by_alias=True)["properties"]
    rows = ["| Field | Default | Meaning |", "|---|---|---|"]
    for name, schema in properties.items():
        default = "required" if "default" not in schema else f"`{json.dumps(schema['default'])}`"
        if "default" not in schema and name != "status":
            default = "`{}`"
        rows.append(f"| `{name}` | {default} | {schema.get('description', '')} |")
    return "\n".join(rows)


def _reasons() -> str:
    rows = ["| Reason | Means | Do | `doctor` |", "|---|---|---|---|"]
    rows += [
        f"| `{r}` | {e.meaning} | {e.remedy} | {SEEN_BY_DOCTOR[r]} |"
        for r, e in sorted(EXPLANATIONS.items())
    ]
    return "\n".join(rows)


def main(check: bool) -> int:
    """Write, or with `check` only compare; the number of files that differ, at most 1."""
    stale = [(p, t) for p, t in files() if not p.exists() or p.read_text() != t]
    for path, text in stale:
        print(f"{'stale' if check else 'wrote'} {path.relative_to(HERE.parent)}")
        if not check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
