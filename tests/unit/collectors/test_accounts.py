"""The file of accounts: made private, read only when private, and its mistakes named without its secrets."""

import pytest
import yaml

from pipelines import contracts
from pipelines.collectors import accounts
from pipelines.collectors.refusals import REFUSALS, Refusal

POLICY = contracts.policy("gateway")
KEY = "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C"


def written(tmp_path, content, mode=0o600):
    path = tmp_path / "gateway.yaml"
    path.write_text(content, encoding="utf-8")
    path.chmod(mode)
    return path


def test_generated_file_is_private_complete_and_never_overwritten(tmp_path):
    path = tmp_path / "keys" / "gateway.yaml"
    names = [("app", "default"), ("wechat", "default"), ("wecom", "default"), ("app", "shop_sg")]
    assert accounts.generate(path, names, POLICY)
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_bytes()
    assert not accounts.generate(path, names, POLICY)
    assert path.read_bytes() == before
    known = accounts.load(path, POLICY)
    assert {key: account.scheme for key, account in known.items()} == {
        ("app", "default"): "hmac",
        ("wechat", "default"): "wechat",
        ("wecom", "default"): "wecom",
        ("app", "shop_sg"): "hmac",
    }
    assert len(known["app", "default"].secret) >= 43  # 32 random bytes
    assert len(known["wecom", "default"].aes_key) == 32


def test_a_file_others_can_read_is_refused(tmp_path):
    path = written(tmp_path, "app: {default: {secret: s}}", mode=0o640)
    with pytest.raises(accounts.AccountsError, match="chmod 600"):
        accounts.load(path, POLICY)


def test_a_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(accounts.AccountsError, match="kefulake up"):
        accounts.load(tmp_path / "none.yaml", POLICY)


def test_an_account_may_choose_its_scheme(tmp_path):
    path = written(
        tmp_path, f"mini_program: {{shop: {{scheme: wechat, token: t, encoding_aes_key: {KEY}, receiver_id: wx1}}}}"
    )
    assert accounts.load(path, POLICY)["mini_program", "shop"].scheme == "wechat"


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"secert": "hunter2"}, "known keys"),  # misspelt
        ({}, "needs"),
        ({"secret": ""}, "needs"),
        ({"scheme": "md5", "secret": "hunter2"}, "scheme"),
        ({"scheme": "wechat", "token": "hunter2", "encoding_aes_key": KEY}, "receiver_id"),
        ({"scheme": "wecom", "token": "hunter2"}, "encoding_aes_key"),
        ({"scheme": "wecom", "token": "hunter2", "encoding_aes_key": "short", "receiver_id": "w"}, "43 characters"),
        ("hunter2", "known keys"),
    ],
)
def test_mistakes_are_named_without_secrets(tmp_path, entry, said):
    path = written(tmp_path, yaml.safe_dump({"app": {"default": entry}}))
    with pytest.raises(accounts.AccountsError, match=said) as error:
        accounts.load(path, POLICY)
    assert "hunter2" not in str(error.value)
    assert "app" in str(error.value)


def test_an_account_never_shows_its_secret():
    assert "hunter2" not in repr(accounts.Account("app", "default", "hmac", secret="hunter2"))


def test_every_refusal_says_what_to_do():
    for error, answer in REFUSALS.items():
        assert 400 <= answer.status <= 503
        body = Refusal(error).body()
        assert body["reason"]
        assert body["what_to_do"]
