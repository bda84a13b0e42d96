"""Whose fault it is that an attempt broke."""

from typing import Any

import pytest
import torch
from sqlalchemy.exc import OperationalError, ProgrammingError

from shared.storage import StorageError, TemporaryFolderError
from worker.errors import GiveUp, Unfit
from worker.gate import Gate
from worker.jobs.faults import Blame, judge
from worker.models.video_model import RequestError

WRONG = Unfit("codec", "this machine cannot write MP4")
JOB, MACHINE, SURROUNDINGS, NOBODY = Blame.JOB, Blame.MACHINE, Blame.SURROUNDINGS, Blame.NOBODY

SORTED = [
    # error, blame where the machine's own trial passes, blame where it fails
    (GiveUp("too_long", "ask for less"), JOB, JOB),
    (RequestError("width 250 is not a multiple of 8"), JOB, JOB),  # what the model says of the request
    (MemoryError(), JOB, MACHINE),  # too large, or no memory at any size
    (ValueError("operands could not be broadcast"), NOBODY, MACHINE),  # a broken library says so too
    (FloatingPointError("values that are no numbers"), NOBODY, MACHINE),  # of this request, or of the model at all
    (KeyError("bias"), NOBODY, MACHINE),
    (RuntimeError("CUDA error: an illegal memory access was encountered"), MACHINE, MACHINE),
    (RuntimeError("HIP error: an illegal memory access was encountered"), MACHINE, MACHINE),
    (RuntimeError("CUDA driver error: device not ready"), MACHINE, MACHINE),
    (
        RuntimeError("CUDA driver error: out of memory"),
        JOB,
        MACHINE,
    ),  # beside torch's allocator, in no class of its own
    (torch.AcceleratorError("CUDA error: out of memory\nSearch for `cudaErrorMemoryAllocation'"), JOB, MACHINE),
    (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), JOB, MACHINE),
    (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), JOB, MACHINE),
    (Unfit("model_not_found", "/srv has no model"), MACHINE, MACHINE),
    (OSError(28, "No space left on device"), MACHINE, MACHINE),
    (ImportError("libcudnn.so.9"), MACHINE, MACHINE),
    (TemporaryFolderError("/tmp is full"), MACHINE, MACHINE),
    (StorageError("videos/a.mp4: not written"), SURROUNDINGS, SURROUNDINGS),
    (ProgrammingError("SELECT 1", {}, Exception("column jobs.a does not exist")), SURROUNDINGS, SURROUNDINGS),
    (OperationalError("SELECT 1", {}, Exception("server closed the connection")), SURROUNDINGS, SURROUNDINGS),
]


@pytest.mark.parametrize(("error", "if_sound", "if_sick"), SORTED, ids=[type(error).__name__ for error, *_ in SORTED])
def test_a_fault_is_the_jobs_only_where_the_machine_is_sound(error: Exception, if_sound: Blame, if_sick: Blame) -> None:
    assert judge(error, lambda: None).blame is if_sound
    assert judge(error, lambda: WRONG).blame is if_sick


@pytest.mark.parametrize(
    ("own", "free", "blame"), [(50, 24, MACHINE), (50, 26, JOB), (0, 0, JOB)], ids=["shared", "its own", "unused"]
)
def test_a_job_that_does_not_fit_beside_another_program_is_not_too_large(
    monkeypatch: pytest.MonkeyPatch, own: int, free: int, blame: Blame
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: own)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free, 100))

    fault = judge(torch.OutOfMemoryError("CUDA out of memory"), lambda: None)

    assert (fault.blame, fault.code) == (blame, "out_of_memory")
    assert ("beside what else" in fault.message) == (blame is MACHINE)


def test_a_machine_tries_itself_only_in_doubt() -> None:
    def trial() -> None:
        raise AssertionError("asked without doubt")

    assert judge(RequestError("too wide"), trial).blame is Blame.JOB
    assert judge(OSError(28, "No space left on device"), trial).blame is Blame.MACHINE


def test_what_a_user_is_told_of_a_machine_names_no_file() -> None:
    fault = judge(
        Unfit("model_unavailable", "model 'small' could not be loaded from '/srv/models/small'"), lambda: None
    )

    assert fault.code == "model_unavailable"
    assert fault.message == (
        "the machines that tried this video could not run it; try again later, or ask the operator for their logs"
    )


def test_a_closed_gate_says_why_until_it_opens() -> None:
    gate = Gate()

    gate.close("temporary_folder: /tmp is full… " + "x" * 2000)
    assert (gate.is_open, gate.reason[:31]) == (False, "temporary_folder: /tmp is full…")
    gate.open()
    assert (gate.is_open, gate.reason, gate.wait(0)) == (True, "", True)


def test_a_gate_that_is_stopped_at_the_moment_in_which_the_other_process_opens_it_stays_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate = Gate()

    def late(*said: Any) -> None:
        monkeypatch.undo()
        gate.stop()
        gate._write(*said)

    monkeypatch.setattr(gate, "_write", late)
    gate.open()

    assert (gate.is_open, gate.is_stopped, gate.reason) == (False, True, "stopping")
