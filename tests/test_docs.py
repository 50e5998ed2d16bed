"""What the documentation takes from the code is what the code says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_schemas_and_tables_in_the_documentation_are_those_of_the_code() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "generate.py", "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}run `make docs`"


def test_links_between_pages_lead_somewhere() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *ROOT.glob("examples/**/README.md")]
    assert len(pages) > 3
    for page in pages:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_each_test_that_the_page_on_security_names_is_there() -> None:
    named = set(re.findall(r"\btest_\w+(?:\.py)?", (ROOT / "docs" / "security.md").read_text()))
    files = {path for path in ROOT.glob("**/test_*.py") if ".venv" not in path.parts}
    there = {path.name for path in files}
    for path in files:
        there |= set(re.findall(r"def (test_\w+)", path.read_text()))
    assert len(named) > 40
    assert named - there == set()


def test_each_field_of_a_definition_has_a_meaning_in_the_contract() -> None:
    contract = (ROOT / "docs" / "contract.md").read_text()
    _, _, table = contract.partition("<!-- generated: fields -->")
    rows = re.findall(r"^\| `(\w+)` \| .* \| (.*) \|$", table.partition("<!-- end -->")[0], re.M)
    assert len(rows) > 10
    assert [name for name, meaning in rows if not meaning.strip()] == []
