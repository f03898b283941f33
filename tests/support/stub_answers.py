"""What a stub of the service answers about jobs and models."""

from __future__ import annotations

JOB = {"id": "job_1", "status": "running", "created_at": "2026-11-22T09:00:00Z", "progress": 0.25, "news": "ignored"}
DONE = {**JOB, "status": "succeeded", "stop_reason": "completed", "progress": 1.0, "model": "model_1"}
MODEL = {
    "id": "model_1",
    "task": "classification",
    "created_at": "2026-11-22T09:00:00Z",
    "size_bytes": 3,
    "digest": "sha256:x",
}
