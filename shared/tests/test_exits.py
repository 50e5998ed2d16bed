"""Every exit code of the runner is explained, and is one that no engine and no signal uses."""

import subprocess
import sys

from nexthos_shared.exit_codes import SENTENCES, Exit, reason_of
from nexthos_shared.reasons import EXPLANATIONS


def test_every_code_has_a_sentence_and_a_reason_but_for_being_asked():
    assert set(SENTENCES) == set(Exit)
    assert all(sentence.endswith(".") for sentence in SENTENCES.values())
    for code in set(Exit) - {Exit.ASKED}:
        assert reason_of(code) in EXPLANATIONS
        assert (
            64 <= code <= 78
        )  # sysexits(3): an engine ends with 0 or 1, a signal makes 128 and more


def test_other_codes_are_the_engines():
    assert [reason_of(code) for code in (0, 1, 2, 63, 79, 137, Exit.ASKED)] == [None] * 7


def test_whoever_reads_them_imports_little():
    code = "import sys, nexthos_shared.exit_codes; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"asyncio", "nats", "pydantic", "structlog"} & set(done.stdout.split())
