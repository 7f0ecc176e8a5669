"""The client against the real server: answers, batches, streams, deadlines, cancels, and what goes wrong."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lensora.core import models
from lensora.core.engines import NullContext
from lensora.core.errors import Cancelled, DeadlineExceeded, FailedPrecondition, Internal, InvalidArgument, Unavailable
from lensora.core.networks import LiteRt, Network, Onnx, Ssd
from lensora.runtime.triton import Client, share

SLEEP, KILL, REFUSE, BUG = -1.0, -2.0, -3.0, -4.0


def row(*numbers: float) -> dict[str, NDArray[Any]]:
    return {"x": np.array([numbers], np.float32)}


def _onnx() -> Network:
    return Onnx(models.path("u2netp"), 2)


def _ssd() -> Network:
    return Ssd(models.path("ssd-mobilenet-v2"), models.path("ssd-mobilenet-v2-text"))


def _litert() -> Network:
    return LiteRt(models.path("efficientnet-lite3"), 2)


@pytest.mark.parametrize(
    ("model", "takes", "gives", "make", "shape"),
    [
        ("saliency_u2netp", "planes", "map", _onnx, (2, 3, 320, 320)),
        ("detect_ssd", "picture", "rows", _ssd, (2, 300, 300, 3)),
        ("classify_efficientnet", "picture", "steps", _litert, (3, 280, 280, 3)),
    ],
)
async def test_a_hosted_network_says_what_the_embedded_one_says(
    client: Client, model: str, takes: str, gives: str, make: Any, shape: tuple[int, ...]
) -> None:
    random = np.random.default_rng(3)
    batch = random.normal(size=shape).astype(np.float32) if shape[1] == 3 else random.integers(0, 256, shape, np.uint8)
    answer = await client.infer(model, {takes: batch}, [gives])
    expected = await asyncio.to_thread(make(), batch, NullContext())
    assert answer.tensors[gives].shape == expected.shape and answer.version == "1"
    assert np.abs(answer.tensors[gives].astype(float) - expected.astype(float)).max() <= 1e-5
    assert expected.any()


async def test_requests_that_wait_are_run_together_and_each_gets_its_own(client: Client) -> None:
    first = asyncio.create_task(client.infer("echo", row(SLEEP, SLEEP, SLEEP)))
    others = [asyncio.create_task(client.infer("echo", row(number, number))) for number in range(1, 13)]
    answers = await asyncio.gather(*others)
    await first
    assert [answer.tensors["y"].tolist() for answer in answers] == [[[number, number]] for number in range(1, 13)]
    assert max(int(answer.tensors["together"][0, 0]) for answer in answers) > 1


async def test_rows_of_other_lengths_wait_together_and_are_run_apart(client: Client) -> None:
    rows = [row(SLEEP), *(row(*range(1, 2 + number % 3)) for number in range(9))]
    answers = await asyncio.gather(*(client.infer("echo", one) for one in rows))
    assert [answer.tensors["y"].tolist() for answer in answers] == [one["x"].tolist() for one in rows]


async def test_a_stream_tells_how_far_it_has_come_and_ends_with_the_result(client: Client) -> None:
    told: list[tuple[float, str]] = []
    answer = await client.stream(
        "steps", {"x": np.array([1, 2], np.float32)}, {"steps": 4}, lambda *news: told.append(news)
    )
    assert answer.tensors["y"].tolist() == [2.0, 4.0]
    assert told == [(0.0, "starting"), *((step / 4, f"step {step}") for step in range(4))]


async def test_a_cancel_reaches_the_model(client: Client, tmp_path: Path) -> None:
    ended, begun = tmp_path / "ended", asyncio.Event()
    parameters = {"steps": 100_000, "seconds": 0.02, "ended": str(ended)}
    tensors = {"x": np.zeros(1, np.float32)}
    task = asyncio.create_task(client.stream("steps", tensors, parameters, lambda *_: begun.set()))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await words(ended)).startswith("cancelled at ")


async def test_the_deadline_reaches_the_model(client: Client, tmp_path: Path) -> None:
    ended = tmp_path / "ended"
    parameters = {"steps": 100_000, "seconds": 0.02, "ended": str(ended)}
    with pytest.raises(DeadlineExceeded):
        await client.stream("steps", {"x": np.zeros(1, np.float32)}, parameters, lambda *_: None, seconds=0.5)
    assert (await words(ended)).startswith("cancelled at ")


async def test_what_hears_of_progress_may_call_it_off(client: Client, tmp_path: Path) -> None:
    def gone(*_: Any) -> None:
        raise Cancelled("enough")

    ended = tmp_path / "ended"
    parameters = {"steps": 100_000, "seconds": 0.02, "ended": str(ended)}
    with pytest.raises(Cancelled, match="enough"):
        await client.stream("steps", {"x": np.zeros(1, np.float32)}, parameters, gone)
    assert (await words(ended)).startswith("cancelled at ")


async def words(file: Path, wanted: str = "") -> str:
    """What is written into a file, once that is in it."""

    def read() -> str:
        until = time.monotonic() + 30
        while not (file.exists() and file.read_text() and wanted in file.read_text()) and time.monotonic() < until:
            time.sleep(0.02)
        return file.read_text()

    return await asyncio.to_thread(read)


async def test_a_deadline_of_a_batched_model(client: Client) -> None:
    with pytest.raises(DeadlineExceeded):
        await client.infer("echo", row(SLEEP, SLEEP, SLEEP, SLEEP, SLEEP), seconds=0.1)
    assert (await client.infer("echo", row(7))).tensors["y"].tolist() == [[7.0]]


async def test_a_models_own_error_comes_whole(client: Client) -> None:
    with pytest.raises(InvalidArgument, match="x: not this one") as caught:
        await client.infer("echo", row(REFUSE))
    assert caught.value.reason == "REFUSED"
    with pytest.raises(FailedPrecondition, match="nothing stands out") as late:
        await client.stream("steps", {"x": np.zeros(1, np.float32)}, {"steps": 3, "refuse_at": 1}, lambda *_: None)
    assert late.value.reason == "NO_SUBJECT"


async def test_a_defect_shows_no_traceback_but_to_the_log(client: Client, triton: Any) -> None:
    with pytest.raises(Internal) as caught:
        await client.infer("echo", row(BUG))
    assert caught.value.reason == "MODEL_FAILED" and "secret" not in caught.value.message
    told = "a secret that only the log may know"
    assert told in await words(triton.folder / "triton.log", told)


@pytest.mark.parametrize(
    "tensors",
    [
        {"planes": np.zeros((1, 3, 320, 321), np.float32)},
        {"planes": np.zeros((17, 3, 320, 320), np.float32)},
        {"planes": np.zeros((1, 3, 320, 320), np.float64)},
        {"other": np.zeros((1, 3, 320, 320), np.float32)},
        {},
    ],
    ids=["shape", "batch", "dtype", "name", "nothing"],
)
async def test_tensors_that_do_not_fit_are_refused_at_once(client: Client, tensors: dict[str, NDArray[Any]]) -> None:
    with pytest.raises(Internal) as caught:
        await client.infer("saliency_u2netp", tensors)
    assert caught.value.reason == "MODEL_MISMATCH"
    with pytest.raises(Internal) as streamed:
        await client.stream("steps", {"x": np.zeros((1, 1), np.float64)}, {}, lambda *_: None)
    assert streamed.value.reason == "MODEL_MISMATCH"


async def test_parameters_that_are_no_object(client: Client) -> None:
    with pytest.raises(InvalidArgument, match="one JSON object"):
        await client.stream("steps", {"x": np.zeros(1, np.float32)}, [1], lambda *_: None)  # type: ignore[arg-type]


async def test_nobody_there_and_no_such_model_are_told_apart(hasty: Client, free_port: int) -> None:
    with pytest.raises(Unavailable) as missing:
        await hasty.infer("no_such_model", row(1))
    with pytest.raises(Unavailable) as version:
        await hasty.infer("echo", row(1), version="9")
    assert missing.value.reason == version.value.reason == "MODEL_NOT_LOADED"
    nobody = Client(f"127.0.0.1:{free_port}", retry_seconds=0)
    with pytest.raises(Unavailable) as down:
        await nobody.infer("echo", row(1))
    assert down.value.reason == "TRITON_DOWN"
    await nobody.close()


async def test_a_model_that_cannot_load_says_what_it_needs_in_one_line(hasty: Client) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        await hasty.load("needy")
    assert caught.value.reason == "MODEL_PARAMETER"
    assert caught.value.message == "needy: set the parameter weights in its config, or NEEDY_WEIGHTS"
    assert not await hasty.is_ready("needy")
    (state,) = (state for state in await hasty.states() if state.name == "needy")
    assert not state.is_ready and caught.value.message in state.why


async def test_versions_are_pinned_shared_out_or_left_to_the_policy(client: Client) -> None:
    async def asked(number: int, version: str) -> str:
        answer = await client.infer("versioned", row(number), version=version)
        assert answer.tensors["version"].tolist() == [[answer.version.encode()]]
        return answer.version

    assert [await asked(1, "1"), await asked(1, "2"), await asked(1, "")] == ["1", "2", "2"]
    weights = {"1": 90, "2": 10}
    chosen = [share(weights, row(number)) for number in range(1000)]
    assert 70 <= chosen.count("2") <= 130
    assert chosen == [share(weights, row(number)) for number in range(1000)]
    answered = await asyncio.gather(*(asked(number, version) for number, version in enumerate(chosen[:200])))
    assert answered == chosen[:200]


async def test_a_canary_is_answered_without_running_anything(hasty: Client) -> None:
    for model in ("echo", "steps", "versioned", "saliency_u2netp", "detect_ssd", "classify_efficientnet"):
        await hasty.canary(model)
