"""Addresses and secrets: from a private file or the environment, and never shown."""

import pytest

from pipelines.connectors import access
from pipelines.connectors.access import AccessError
from pipelines.connectors.resources import ApiKey, Basic, Bearer, ClientCredentials

FILE = "crm: {base_url: 'https://crm.example.com/api/', token: t0p-s3cret}\n"


@pytest.fixture
def file(tmp_path):
    def written(text=FILE, mode=0o600):
        path = tmp_path / "connectors.yaml"
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        return path

    return written


def test_the_file_tells_and_the_environment_stands_before_it(file):
    found = access.load(file(), "crm", Bearer(), {"KEFULAKE_CONNECTOR_CRM_TOKEN": "other"})
    assert (found.base_url, found.secrets) == ("https://crm.example.com/api", {"token": "other"})
    assert "other" not in repr(found)


def test_the_environment_alone_is_enough(tmp_path):
    told = {"KEFULAKE_CONNECTOR_CRM_BASE_URL": "http://127.0.0.1:8000", "KEFULAKE_CONNECTOR_CRM_KEY": "k"}
    found = access.load(tmp_path / "none.yaml", "crm", ApiKey("X-Key"), told)
    assert found.base_url == "http://127.0.0.1:8000"
    assert access.configured(tmp_path / "none.yaml", "crm", told)
    assert not access.configured(tmp_path / "none.yaml", "orders", told)


def test_a_secret_out_of_a_mounted_file_ends_with_a_line_end_and_no_header_does(tmp_path):
    told = {"KEFULAKE_CONNECTOR_CRM_BASE_URL": "http://127.0.0.1:8000", "KEFULAKE_CONNECTOR_CRM_TOKEN": "t0ken\n"}
    assert access.load(tmp_path / "none.yaml", "crm", Bearer(), told).secrets == {"token": "t0ken"}


@pytest.mark.parametrize(
    ("text", "mode", "auth", "said"),
    [
        (FILE, 0o640, Bearer(), "chmod 600"),  # others may read it
        ("crm: [t0p-s3cret", 0o600, Bearer(), "is no YAML"),
        ("- crm\n", 0o600, Bearer(), "must hold a mapping"),
        (FILE, 0o600, Basic(), r"unknown key\(s\) token"),  # of another form of authentication
        ("crm: {token: t0p-s3cret}", 0o600, Bearer(), "has no base_url"),
        (FILE, 0o600, ClientCredentials("/t"), "unknown key"),
        (
            FILE.replace("https", "http"),
            0o600,
            Bearer(),
            "must begin with https",
        ),  # secrets in the clear over a network
        (FILE.replace("t0p-s3cret", '"t0p\\ns3cret"'), 0o600, Bearer(), "token holds characters that no header"),
        (FILE.replace("crm.example", "me:t0p-s3cret@crm.example"), 0o600, Bearer(), "no name or password"),
    ],
)
def test_what_cannot_be_used_is_said_without_a_secret(file, text, mode, auth, said):
    with pytest.raises(AccessError, match=said) as refused:
        access.load(file(text, mode), "crm", auth, {})
    assert "s3cret" not in str(refused.value)
