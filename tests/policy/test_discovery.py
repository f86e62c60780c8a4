"""Which policy is meant where none is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from collapse_guard.errors import InputError
from collapse_guard.policy.discovery import ENVIRONMENT, find_policy


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository with a folder two floors down, which is the working directory; a stray policy lies above it."""
    root = tmp_path / "repository"
    (root / ".git").mkdir(parents=True)
    (root / "src" / "deep").mkdir(parents=True)
    (tmp_path / "collapse_guard.yaml").write_text("version: 1\n")
    monkeypatch.chdir(root / "src" / "deep")
    return root


def test_what_is_named_goes_before_the_environment_a_file_and_the_project(repository: Path) -> None:
    (repository / "pyproject.toml").write_text('[tool.collapse_guard]\npolicy = "by_project.yaml"\n')
    environ = {ENVIRONMENT: "by_environment.yaml"}
    assert find_policy(environ={}).path == repository / "by_project.yaml"
    (repository / "collapse_guard.yaml").write_text("version: 1\n")
    found = find_policy(environ={})
    assert found.path == repository / "collapse_guard.yaml"
    assert "by_project.yaml, which [tool.collapse_guard] of pyproject.toml names, is not the policy" in found.notes[0]
    assert find_policy(environ=environ).path == Path("by_environment.yaml")
    assert find_policy(Path("named.yaml"), environ=environ).path == Path("named.yaml")


def test_every_way_of_finding_a_policy_says_which_it_was(repository: Path) -> None:
    (repository / "pyproject.toml").write_text('[tool.collapse_guard]\npolicy = "a.yaml"\n')
    assert find_policy(environ={}).by == "pyproject.toml [tool.collapse_guard]"
    assert find_policy(environ={ENVIRONMENT: "b.yaml"}).by == ENVIRONMENT
    assert find_policy(Path("c.yaml"), environ={}).by == "--policy"
    (repository / "src" / "collapse_guard.yml").write_text("version: 1\n")
    assert find_policy(environ={}).by == "found as collapse_guard.yml"


def test_the_search_ends_at_the_root_of_the_git_repository(repository: Path) -> None:
    assert (repository.parent / "collapse_guard.yaml").exists()
    with pytest.raises(InputError, match="no policy: neither --policy, nor COLLAPSE_GUARD_POLICY"):
        find_policy(environ={})


def test_a_file_in_the_working_directory_is_named_as_it_is_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "collapse_guard.yaml").write_text("version: 1\n")
    assert find_policy(environ={}).path == Path("collapse_guard.yaml")


def test_without_config_nothing_is_looked_for_and_no_project_is_read(repository: Path) -> None:
    (repository / "pyproject.toml").write_text("[tool.collapse_guard]\nnonsense = 1\n")
    assert find_policy(Path("named.yaml"), is_isolated=True).path == Path("named.yaml")
    with pytest.raises(InputError, match="--no-config looks for no policy: name it with --policy FILE"):
        find_policy(environ={ENVIRONMENT: "b.yaml"}, is_isolated=True)


def test_defaults_of_the_project_are_those_of_the_nearest_table(repository: Path) -> None:
    text = 'policy = "a.yaml"\nfail-on = "warning"\nignore = ["CG103"]\n'
    (repository / "pyproject.toml").write_text(f"[tool.collapse_guard]\n{text}")
    (repository / "src" / "pyproject.toml").write_text("[project]\nname = 'part'\n")
    found = find_policy(environ={})
    assert (found.path, found.project.fail_on, found.project.ignore) == (repository / "a.yaml", "warning", ("CG103",))


def test_two_policies_side_by_side_are_an_error_and_one_that_cannot_be_read_is_not_passed_by(repository: Path) -> None:
    (repository / "collapse_guard.yaml").symlink_to(repository / "nowhere")
    (repository / "pyproject.toml").write_text('[tool.collapse_guard]\npolicy = "a.yaml"\n')
    assert find_policy(environ={}).path == repository / "collapse_guard.yaml"
    (repository / "collapse_guard.yml").write_text("version: 1\n")
    with pytest.raises(InputError, match=r"two policies: .*collapse_guard\.yaml and collapse_guard\.yml beside it"):
        find_policy(environ={})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tool.collapse_guard]\npolcy = 'a'\n", r"'polcy': unknown key; did you mean 'policy'\?"),
        ('[tool.collapse_guard]\n"a\\n::error::b" = 1\n', r"unknown key"),
        ("[tool.collapse_guard]\nfail_on = 'never'\n", r"fail_on: Input should be 'error' or 'warning', got 'never'"),
        ("[tool.collapse_guard]\nignore = ['CG20']\n", r"ignore: 'CG20' would leave out CG201, CG202, CG204, CG208"),
        ("[tool.collapse_guard]\nfail_on = 'error'\nfail-on = 'warning'\n", r"says a key twice"),
        ("[tool.collapse-guard]\nfail_on = 'error'\n", r"the table is called \[tool.collapse_guard\]"),
        ("[tool.collapse_guard]\npolicy = 3\n", r"policy: Input should be a valid string, got 3"),
        ("tool = {collapse_guard = 1}\n", r"is a table of keys, got 1"),
        ("[tool\n", r"pyproject.toml: cannot be read: .* mend it, or pass --no-config"),
        ("x = '\\ud800'\n\x00", r"pyproject.toml: cannot be read"),
    ],
)
def test_a_project_file_that_cannot_be_used_is_one_line(repository: Path, text: str, said: str) -> None:
    (repository / "pyproject.toml").write_text(text)
    with pytest.raises(InputError, match=said) as caught:
        find_policy(environ={})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[tool]\nother = 1\n", "tool = 3\n", "[tool.ruff]\nline-length = 3\n"])
def test_a_project_that_says_nothing_of_the_guard_changes_nothing(repository: Path, text: str) -> None:
    (repository / "pyproject.toml").write_text(text)
    (repository / "collapse_guard.yaml").write_text("version: 1\n")
    assert find_policy(environ={}).project.policy is None
