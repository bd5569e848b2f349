"""The command line: what to serve, and clear words when that cannot be."""

from pathlib import Path

import pytest

from tests.zava_mcp.conftest import SNAPSHOT
from zava_mcp import __main__ as command
from zava_mcp.database import load_shop, open_engine, put_shop
from zava_mcp.http import bound_socket
from zava_mcp.store import RetailStore


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--snapshot", "missing.json"], "Cannot read the snapshot missing.json: No such file or directory.\n"),
        (
            ["--transport", "http", "--host", "0.0.0.0", "--api-key-env", "ZAVA_TEST_NO_KEY"],
            "--host 0.0.0.0 can be reached from other machines, and no key is set. Set ZAVA_TEST_NO_KEY, or stay on",
        ),
        (["--database", "nonsense"], "'nonsense' is no database URL such as 'sqlite:///shop.db'"),
    ],
)
def test_a_request_that_cannot_be_served_ends_with_a_sentence(
    arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(arguments) == 2
    assert capsys.readouterr().err.startswith(problem)


def test_a_stored_shop_is_never_overwritten(
    tmp_path: Path, imported: RetailStore, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path}/shop.db"
    engine = open_engine(url)
    put_shop(engine, imported)
    assert command.main(["--database", url, "--snapshot", str(SNAPSHOT)]) == 2
    assert "holds a shop already: leave out --snapshot and --seed" in capsys.readouterr().err
    assert command.main(["--database", url, "--seed", "7"]) == 2
    assert load_shop(engine).digest() == imported.digest()
    engine.dispose()


def test_a_port_in_use_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with bound_socket("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        assert command.main(["--transport", "http", "--port", port, "--snapshot", str(SNAPSHOT)]) == 2
    assert capsys.readouterr().err == (
        f"Cannot listen on 127.0.0.1:{port}: Address already in use. Choose another --port.\n"
    )


def test_snapshot_and_seed_exclude_one_another(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--snapshot", "a.json", "--seed", "1"])
    assert "not allowed with" in capsys.readouterr().err
