"""Names that users choose are checked, and no checked name can leave its place."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexthos_shared import names
from nexthos_shared.errors import InvalidName
from nexthos_shared.names import Names

LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,34}[a-z0-9])?", fullmatch=True)


@given(LABEL)
def test_a_dns_label_of_at_most_36_is_an_id(value):
    assert names.check_id(value) == value
    assert names.is_id(value)


@pytest.mark.fault(50)
@given(LABEL, st.integers(0, 36), st.text(max_size=3))
def test_an_accepted_id_is_safe_in_a_path_a_subject_and_an_argument(label, at, odd):
    value = label[:at] + odd + label[at:]
    safe = re.fullmatch(r"[a-z0-9-]{1,36}", value, re.ASCII) and not value.startswith("-")
    assert safe or not names.is_id(value)


@pytest.mark.fault(50, 51)
@pytest.mark.parametrize(
    "value",
    ["", "A", "a.b", "a..b", "a b", "-a", "a-", "a\n", "a/../../x", "é", "٣", "x" * 37, "a\0"],
)
def test_an_id_outside_the_rule_is_refused_with_the_rule(value):
    with pytest.raises(InvalidName, match="36 lower-case letters"):
        names.check_id(value)


def test_a_uuid_is_an_id():
    assert names.is_id("123e4567-e89b-12d3-a456-426614174000")


def test_a_long_name_is_shown_shortened():
    with pytest.raises(InvalidName) as refused:
        names.check_id("x" * 10_000)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("value", ["", "x" * 13, "A", "a_b", "a.b", "-a", "a\n"])
def test_a_namespace_outside_the_rule_is_refused(value):
    with pytest.raises(InvalidName, match="namespace"):
        Names(value)


@pytest.mark.parametrize("value", ["1", "1.0.0", "a_b=c", "v" * 128])
def test_a_version_is_any_object_name_safe_text(value):
    assert names.check_version(value) == value


@pytest.mark.parametrize("value", ["", "a/b", "a b", "v" * 129, "*", ">", "1\n", "é"])
def test_a_version_outside_the_rule_is_refused(value):
    with pytest.raises(InvalidName, match="version"):
        names.check_version(value)


@pytest.mark.parametrize("value", ["", "1A", "A-B", "A=B", "A\0"])
def test_an_environment_name_outside_the_rule_is_refused(value):
    with pytest.raises(InvalidName, match="environment variable"):
        names.check_env_name(value)


@given(LABEL, st.from_regex(r"[A-Za-z0-9._=-]{1,128}", fullmatch=True))
def test_an_object_name_is_read_back_as_id_and_version(pipeline_id, version):
    assert names.split_config_object(names.config_object(pipeline_id, version)) == (
        pipeline_id,
        version,
    )


@given(LABEL, st.text(max_size=9), st.sampled_from(["", "/", "//"]), st.text(max_size=9))
def test_reading_any_object_name_never_fails(label, more, between, version):
    name = f"{label}{more}{between}{version}"
    found = names.split_config_object(name)
    assert found is None or names.config_object(*found) == name


@given(LABEL, st.integers(0, 99))
def test_an_execution_name_has_at_most_63_characters(pipeline_id, replica):
    name = names.execution_name("n" * 12, pipeline_id, replica, "a1b2c3d4e5f6", "0" * 64)
    assert len(name) <= 63
    assert re.fullmatch(r"[a-z0-9-]+", name)


def test_an_execution_name_differs_by_installation_and_by_spec():
    made = {
        names.execution_name("ns", "a", 0, installation, spec)
        for installation in ("one", "two")
        for spec in ("x", "y")
    }
    assert len(made) == 4


def test_the_default_version_is_the_head_of_the_digest():
    digest = names.digest_of(b"input: {}")
    assert digest.startswith(f"sha256:{names.version_of(b'input: {}')}")
    assert len(digest) == len("sha256:") + 64


def test_every_bucket_of_a_namespace_has_its_own_name():
    of = Names("site-a")
    assert [of.pipelines, of.configs, of.status, of.control] == [
        "site-a-pipelines",
        "site-a-configs",
        "site-a-status",
        "site-a-control",
    ]
    assert of.endpoint("list") == "site-a.svc.list"


@pytest.mark.parametrize("key", ["orders", "A", "a.b", "a/b", "-a", "x" * 200])
def test_what_raw_kv_lets_in_can_be_asked_for(key: str) -> None:
    assert names.check_key(key) == key


@pytest.mark.parametrize("key", ["", "a..b", ".a", "a.", "a/../../x", "a b", "*", "a\n", "x" * 201])
def test_what_can_be_no_key_is_told_by_the_rule_of_an_id(key: str) -> None:
    with pytest.raises(InvalidName, match="must be 1 to 36"):
        names.check_key(key)
