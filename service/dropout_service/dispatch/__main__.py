"""``python -m dropout_service.dispatch [PARENT_PID]``: run the dispatcher, as ``dispatch.launch`` starts it."""

from __future__ import annotations

import os
import sys

from dropout_service.dispatch.config import DispatchConfig
from dropout_service.dispatch.dispatcher import main
from dropout_service.dispatch.launch import CONFIG_VARIABLE

if __name__ == "__main__":
    parent_pid = int(sys.argv[1]) if len(sys.argv) > 1 else None
    main(DispatchConfig.from_json(os.environ.pop(CONFIG_VARIABLE)), parent_pid=parent_pid)
