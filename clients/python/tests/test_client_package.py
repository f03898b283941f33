"""The package as a whole: what an import loads, what it exports, how its methods describe themselves."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib.metadata import version

import pytest

import dropout_client
from dropout_client import AsyncClient, AsyncJob, AsyncModel, Client, Job, Model


def loaded_by(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after running the code."""
    program = f"{code}\nimport sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    answer = subprocess.run([sys.executable, "-I", "-c", program], check=True, capture_output=True, text=True)
    return set(answer.stdout.split())


HEAVY = {"numpy", "httpx", "anyio", "rich", "typer", "yaml", "ml_dtypes", "asyncio", "safetensors", "pydantic"}


def test_an_import_loads_no_other_package():
    loaded = loaded_by("import dropout_client")
    assert not loaded & HEAVY
    foreign = loaded - set(sys.stdlib_module_names) - {"dropout_client", "__main__"}
    assert not {name for name in foreign if not name.startswith(("_", "sitecustomize"))}


def test_a_client_does_not_load_numpy():
    assert "numpy" not in loaded_by("import dropout_client; dropout_client.Client()")


def test_the_version_is_that_of_the_distribution():
    assert dropout_client.__version__ == version("dropout-client")


def test_what_is_exported_exists():
    assert sorted(set(dropout_client.__all__)) == list(dropout_client.__all__)
    assert all(hasattr(dropout_client, name) for name in dropout_client.__all__)


@pytest.mark.parametrize("resource", ["dropout", "datasets", "jobs", "models"])
def test_both_clients_have_the_same_documented_methods(resource: str):
    blocking, awaiting = (getattr(client, resource) for client in (Client(), AsyncClient()))
    names = [name for name in dir(blocking) if not name.startswith("_") and name != "runner"]
    assert names == [name for name in dir(awaiting) if not name.startswith("_") and name != "runner"]
    for name in names:
        method, twin = getattr(blocking, name), getattr(awaiting, name)
        assert inspect.signature(method).parameters == inspect.signature(twin).parameters
        assert method.__doc__
        assert "self" not in inspect.signature(method).parameters


@pytest.mark.parametrize(("one", "other"), [(Job, AsyncJob), (Model, AsyncModel)])
def test_the_handles_have_the_same_methods(one: type, other: type):
    names = {name for name in dir(one) if not name.startswith("_")}
    assert names == {name for name in dir(other) if not name.startswith("_")}
    for name in names:
        if inspect.isfunction(getattr(one, name)):
            parameters = (inspect.signature(getattr(kind, name)).parameters for kind in (one, other))
            assert next(parameters) == next(parameters), name


def test_the_address_comes_from_the_argument_the_environment_or_the_default(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("DROPOUT_URL", raising=False)
    assert str(Client()._runner.http.base_url) == "http://127.0.0.1:8000"
    monkeypatch.setenv("DROPOUT_URL", "https://dropout.example/service")
    assert str(Client()._runner.http.base_url) == "https://dropout.example/service/"
    assert str(AsyncClient("http://other:1")._runner.http.base_url) == "http://other:1"
    with pytest.raises(ValueError, match=r"must begin with http:// or https://, which 'localhost:8000' does not"):
        Client("localhost:8000")


def test_the_command_line_says_which_extra_it_needs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    from dropout_client import __main__

    monkeypatch.setattr(__main__, "find_spec", lambda name: None if name == "typer" else object())
    with pytest.raises(SystemExit) as stop:
        __main__.main()
    assert stop.value.code == 2
    assert capsys.readouterr().err == (
        "dropout: the command line needs typer; install: pip install 'dropout-client[cli]'\n"
    )
