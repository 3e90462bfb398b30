"""Airflow's environment for tests without a cluster: a home of their own, no examples, no database.

Import it before anything of Airflow, which reads its environment once a process.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

MODELS = Path(tempfile.mkdtemp(prefix="models-"))
"""The fleet's folder, for ``tests/dags``; other tests do not read the fleet through the settings."""

if "airflow" not in sys.modules:
    _home = tempfile.mkdtemp(prefix="airflow-")
    atexit.register(shutil.rmtree, _home, ignore_errors=True)
    os.environ["AIRFLOW_HOME"] = _home
    os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "True"
    os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
    os.environ["AIRFLOW__MODEL_REFRESH__MODELS_FOLDERS"] = str(MODELS)
atexit.register(shutil.rmtree, MODELS, ignore_errors=True)
