"""Run by CI in an environment that holds the built wheel and its core dependencies, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path


def main(scripts: Path) -> None:
    """Check that the light install is light and works; raises AssertionError otherwise."""
    heavy = [name for name in ("torch", "pytorch_lightning", "sklearn", "matplotlib", "ray") if find_spec(name)]
    assert not heavy, f"the core install brought {heavy}"
    with tempfile.TemporaryDirectory() as folder:
        outside = Path(folder)
        (outside / "policy.yaml").write_text("version: 1\nextends: preset:starter@1\n")
        code = (
            "from datasets import Dataset\n"
            "import collapse_guard as cg\n"
            "rows = Dataset.from_dict({'text': list('abcdef'), 'label': [0, 0, 0, 1, 1, 2]})\n"
            "cg.GuardedDataset('policy.yaml').add_real(rows, source='web').save('gen0')\n"
        )
        subprocess.run([sys.executable, "-c", code], cwd=outside, check=True)
        command = [str(scripts / "collapse-guard"), "check", "-p", "policy.yaml", "-m", "gen0/manifest.cgm.json"]
        subprocess.run(command, cwd=outside, check=True)
        refused = subprocess.run(
            [str(scripts / "collapse-guard"), "demo"], cwd=outside, capture_output=True, text=True, check=False
        )
        assert refused.returncode == 2, refused
        assert "pip install 'collapse-guard[demo]'" in refused.stderr, refused.stderr
    print("the wheel works without extras")  # noqa: T201 - a script of CI


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
