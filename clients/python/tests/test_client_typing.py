from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_the_public_api_has_the_types_that_it_promises(tmp_path: Path):
    """``typing_api.py`` under the strict rules; an ignore that nothing needs is a fault too."""
    source = Path(__file__).with_name("typing_api.py")
    (tmp_path / "api.py").write_text(source.read_text())
    (tmp_path / "pyrightconfig.json").write_text(
        json.dumps({"typeCheckingMode": "strict", "reportUnnecessaryTypeIgnoreComment": "error"})
    )
    command = [sys.executable, "-m", "basedpyright", "--pythonpath", sys.executable, "--outputjson"]
    answer = subprocess.run([*command, "-p", str(tmp_path)], check=False, capture_output=True, text=True)
    report = json.loads(answer.stdout)
    assert report["summary"]["filesAnalyzed"] == 1
    assert [f"{one['range']['start']['line'] + 1}: {one['message']}" for one in report["generalDiagnostics"]] == []
