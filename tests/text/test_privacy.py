"""What is taken out of a text before it is published."""

from pathlib import Path

import pytest

from bench.text.privacy import scrub


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("/home/me", "~"),
        ("python -m bench --ratings=/home/me/x.csv -I/home/me/y", None),
        ("cannot read /home/me. It is '/home/me', /home/me: gone", None),
        ("/gpfs/home/me/x", "/gpfs~/x"),
    ],
)
def test_the_home_folder_becomes_a_tilde(text: str, scrubbed: str | None) -> None:
    assert scrub(text) == (scrubbed or text.replace("/home/me", "~"))


@pytest.mark.parametrize("text", ["/home/me2/x", "/home/me-old", "/home/me.bak/x", "/home/meme"])
def test_a_folder_whose_name_is_longer_stays(text: str) -> None:
    assert scrub(text) == text


@pytest.mark.parametrize("home", ["/", "", "."])
def test_a_home_that_is_none_changes_nothing(monkeypatch: pytest.MonkeyPatch, home: str) -> None:
    monkeypatch.setenv("HOME", home)
    assert scrub("/tmp/a ./b x. /") == "/tmp/a ./b x. /"


def test_without_a_home_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", unknown)
    assert scrub("/home/me --token=x") == "/home/me --token=***"


def test_the_folder_behind_a_link_is_home_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "me").symlink_to(tmp_path / "disk")
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    assert scrub(f"{tmp_path}/me/a {tmp_path}/disk/b") == "~/a ~/b"


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("https://user:p@ss@host/x@y", "https://host/x@y"),
        ("git+ssh://git@host/x", "git+ssh://host/x"),
        ("https://host/x?mail=a@b", "https://host/x?mail=a@b"),
        ("see https://host and a@b", "see https://host and a@b"),
        ("https://host/x?token=abc&y=1#f", "https://host/x?token=***&y=1#f"),
    ],
)
def test_users_and_passwords_are_taken_out_of_addresses(text: str, scrubbed: str) -> None:
    assert scrub(text) == scrubbed


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("--token=abc --rank=3", "--token=*** --rank=3"),
        ("API_KEY=abc python", "API_KEY=*** python"),
        ("Mkl_License=x,y&z;w", "Mkl_License=***"),
        ("solver:license=z,rank=3 numpy", "solver:license=*** numpy"),
        ("--password hunter2 --rank 3", "--password *** --rank 3"),
        ("-auth  hunter2", "-auth  ***"),
        ("--no-auth --rank 3", "--no-auth --rank 3"),
        ("--my-credentials 'a b' c", "--my-credentials *** c"),
        ("--secret=\"a b\"'c d'e f", "--secret=*** f"),
        ("'--passphrase=my secret' x", "'--passphrase=***' x"),
        ("'--password=it'\"'\"'s a secret' x", "'--password=***' x"),
        ("['--password', 'hunter2', 'x']", "['--password', *** 'x']"),
        ('["--token=a b", "x"]', '["--token=***", "x"]'),
        ("token=abc", "token=***"),
        ("password: hunter2 of me", "password: *** of me"),
        ("{'password': 'hunter2'}", "{'password': ***"),
        ('{"api_key": "hunter2", "rank": 3}', '{"api_key": *** "rank": 3}'),
        ("PASSWORD = 'hunter 2' # x", "PASSWORD = *** # x"),
        ("{'Authorization': 'Bearer eyJ', 'x': 1}", "{'Authorization': *** 'x': 1}"),
        ("Authorization: Bearer eyJ rank", "Authorization: *** rank"),
        ("Cookie: session=abc", "Cookie: ***"),
        ("MYSQL_PWD=hunter2 x", "MYSQL_PWD=*** x"),
        ("--pwd hunter2 x", "--pwd *** x"),
    ],
)
def test_values_of_secrets_are_hidden(text: str, scrubbed: str) -> None:
    assert scrub(text) == scrubbed
    assert scrub(scrubbed) == scrubbed


@pytest.mark.parametrize(
    "text",
    [
        "pytest bench/ --benchmark-only -q -k mse --columns user,item --missing-ids keep",
        "KeyError: 'abc'",
        "the key is 3, monkeys have tokens",
        "--author me --keys 3 --authored 2",
        "KeyError: 'abc' (details: a.txt)",
        "--token=",
        "",
    ],
)
def test_other_texts_stay(text: str) -> None:
    assert scrub(text) == text
