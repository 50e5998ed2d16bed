"""How an object is read, without anybody who answers: what is asked, and in which order."""

import base64
import hashlib
import json

import pytest

from nexthos_shared import object_format
from nexthos_shared.errors import ConfigMissing, ConfigUnavailable
from nexthos_shared.object_format import Answer, Ask, meta_subject, read

META = meta_subject("b", "orders/1")


def meta(content, chunks, nuid="N"):
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode()
    said = {"name": "orders/1", "size": len(content), "nuid": nuid, "digest": f"SHA-256={digest}"}
    return Answer(json.dumps(said | ({"chunks": chunks} if chunks else {})).encode(), 9)


def play(*answers, **given):
    """(what was asked, the bytes) of a read that hears these answers."""
    reading = read("b", "orders", "1", **given)
    asked = [next(reading)]
    for answer in answers:
        try:
            asked.append(reading.send(answer))
        except StopIteration as end:
            return asked, end.value
    raise AssertionError(f"more is asked: {asked[-1]}")


def known_of(answer):
    info = object_format.info_of(answer, "orders", "1")
    assert info is not None
    return info


def test_one_chunk_is_the_last_message_of_its_subject():
    asked, content = play(meta(b"abc", 1), Answer(b"abc", 8))
    assert asked == [Ask(META), Ask("$O.b.C.N")]
    assert content == b"abc"


@pytest.mark.parametrize("told", [0, 2])
def test_several_chunks_or_who_knows_how_many_are_asked_one_after_the_other(told):
    asked, content = play(meta(b"abcd", told), Answer(b"ab", 3), Answer(b"cd", 7))
    assert asked == [Ask(META), Ask("$O.b.C.N", 0), Ask("$O.b.C.N", 3)]
    assert content == b"abcd"


def test_of_an_object_whose_meta_is_known_only_the_bytes_are_asked_for():
    known = known_of(meta(b"abc", 1))
    asked, content = play(Answer(b"abc", 8), digest=known.digest, known=known)
    assert asked == [Ask("$O.b.C.N")]
    assert content == b"abc"


@pytest.mark.parametrize("answer", [None, Answer(b"abd", 8)])
def test_a_known_meta_whose_bytes_are_gone_or_others_is_asked_for_again(answer):
    known = known_of(meta(b"abc", 1))
    answers = (answer, meta(b"abc", 1, "M"), Answer(b"abc", 8))
    asked, content = play(*answers, digest=known.digest, known=known)
    assert asked == [Ask("$O.b.C.N"), Ask(META), Ask("$O.b.C.M")]
    assert content == b"abc"


def test_a_known_meta_with_another_digest_is_not_believed():
    known = known_of(meta(b"old", 1, "O"))
    digest = known_of(meta(b"abc", 1)).digest
    asked, _ = play(meta(b"abc", 1), Answer(b"abc", 8), digest=digest, known=known)
    assert asked == [Ask(META), Ask("$O.b.C.N")]


def test_nothing_is_asked_for_an_empty_object():
    assert play(meta(b"", 0)) == ([Ask(META)], b"")


def test_overwritten_meanwhile_it_is_read_again_a_little_later():
    asked, content = play(meta(b"abc", 1), None, meta(b"new", 1, "M"), Answer(b"new", 8))
    assert asked[2] == Ask(META, wait=object_format.READ_AGAIN)
    assert asked[3] == Ask("$O.b.C.M")
    assert content == b"new"


@pytest.mark.parametrize("answer", [Answer(b"", 8), Answer(b"abd", 8), None])
def test_damaged_bytes_are_given_up_after_some_attempts(answer):
    with pytest.raises(ConfigUnavailable, match="orders/1"):
        play(*[meta(b"abc", 1), answer] * object_format.READS)


@pytest.mark.parametrize("answer", [None, Answer(b'{"name": "orders/1", "deleted": true}', 1)])
def test_what_is_no_object_is_missing(answer):
    with pytest.raises(ConfigMissing, match="orders/1"):
        play(answer)
