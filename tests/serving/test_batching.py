"""Merging of requests: what is merged, what never meets, and what is refused, as TensorFlow Serving words it."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tfmedcai.serving.batching import Batching, BatchScheduler, read_batching
from tfmedcai.serving.errors import RequestError

SETTINGS = Path(__file__).parents[2] / "serving"


class Graph:
    """Doubles its input and remembers the sizes of its batches."""

    def __init__(self, seconds: float = 0.0):
        self.seconds, self.sizes, self.lock = seconds, [], threading.Lock()

    def __call__(self, inputs, outputs):
        with self.lock:
            self.sizes.append(len(inputs["x"]))
        time.sleep(self.seconds)
        if outputs == ["scalar"]:
            return [np.float32(1)]
        return [2 * inputs["x"] for _ in outputs]


@pytest.fixture
def scheduler():
    made = []

    def make(**parameters):
        made.append(BatchScheduler(Batching(**parameters)))
        return made[-1]

    yield make
    for each in made:
        each.close()


def ask_at_once(scheduler, graph, arrays, outputs=("y",)) -> list:
    answers = [None] * len(arrays)

    def ask(place):
        try:
            answers[place] = scheduler.run("model", graph, {"x": arrays[place]}, list(outputs))[0]
        except RequestError as error:
            answers[place] = error

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(len(arrays))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_requests_of_one_shape_run_together_and_each_gets_its_rows(scheduler):
    graph = Graph()
    arrays = [np.full((1, 3), value, np.float32) for value in range(4)]
    answers = ask_at_once(
        scheduler(max_batch_size=4, batch_timeout_micros=5_000_000, num_batch_threads=1), graph, arrays
    )
    assert graph.sizes == [4]
    for value, answer in enumerate(answers):
        np.testing.assert_array_equal(answer, np.full((1, 3), 2 * value))


def test_requests_of_other_shapes_or_types_do_not_meet(scheduler):
    graph = Graph()
    arrays = [np.zeros((1, 3), np.float32), np.zeros((1, 4), np.float32), np.zeros((1, 3), np.int32)]
    answers = ask_at_once(scheduler(max_batch_size=8, batch_timeout_micros=50_000), graph, arrays)
    assert graph.sizes == [1, 1, 1]
    assert [answer.shape for answer in answers] == [(1, 3), (1, 4), (1, 3)]


def test_a_lone_request_waits_the_timeout_and_no_longer(scheduler):
    batches = scheduler(max_batch_size=8, batch_timeout_micros=100_000)
    start = time.monotonic()
    batches.run("model", Graph(), {"x": np.zeros((1, 3))}, ["y"])
    assert 0.09 < time.monotonic() - start < 5


def test_batches_are_filled_up_to_an_allowed_size(scheduler):
    graph = Graph()
    batches = scheduler(max_batch_size=8, allowed_batch_sizes=(4, 8))
    (answer,) = batches.run("model", graph, {"x": np.arange(3.0)[:, None]}, ["y"])
    assert graph.sizes == [4]
    np.testing.assert_array_equal(answer, [[0], [2], [4]])


@pytest.mark.parametrize(
    ("inputs", "code", "message"),
    [
        ({"x": np.zeros((5, 1))}, "INVALID_ARGUMENT", "Task size 5 is larger than maximum input batch size 4"),
        (
            {"x": np.zeros(())},
            "INVALID_ARGUMENT",
            "Batching Run() input tensors must have at least one dimension",
        ),
        (
            {"x": np.zeros((1, 1)), "z": np.zeros((2, 1))},
            "INVALID_ARGUMENT",
            "Batching Run() input tensors must have equal 0th-dimension size",
        ),
    ],
)
def test_what_cannot_be_merged_is_refused(scheduler, inputs, code, message):
    with pytest.raises(RequestError) as refused:
        scheduler(max_batch_size=4).run("model", Graph(), inputs, ["y"])
    assert (refused.value.code.name, refused.value.message) == (code, message)


def test_an_output_without_rows_is_refused(scheduler):
    with pytest.raises(RequestError, match="FAILED_PRECONDITION: Batched output tensor has 0 dimensions"):
        scheduler(max_batch_size=4).run("model", Graph(), {"x": np.zeros((1, 1))}, ["scalar"])


def test_an_empty_request_does_not_wait(scheduler):
    answer = scheduler(max_batch_size=4, batch_timeout_micros=10**9).run("m", Graph(), {"x": np.zeros((0, 2))}, ["y"])
    assert answer[0].shape == (0, 2)


def test_a_full_queue_refuses_more(scheduler):
    batches = scheduler(max_batch_size=1, max_enqueued_batches=2, num_batch_threads=1)
    answers = ask_at_once(batches, Graph(seconds=0.5), [np.zeros((1, 1))] * 8)
    refused = [str(answer) for answer in answers if isinstance(answer, RequestError)]
    assert len(refused) >= 4
    assert set(refused) == {
        "UNAVAILABLE: The batch scheduling queue to which this task was submitted is full; currently 2 batches "
        "enqueued and max_enqueued_batches is 2"
    }


def test_the_shipped_file_is_read():
    assert read_batching(SETTINGS / "batching.config") == Batching(8, 2000, 64, 2)
    assert read_batching(None).max_batch_size == 1000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_batch_sise { value: 1 }", "must be the text of a BatchingParameters"),
        ("max_batch_size { value: 8 } allowed_batch_sizes: 4", r"end with `max_batch_size`, 8. Received \[4\]"),
        ("pad_variable_length_inputs: true", "is not supported"),
    ],
)
def test_a_wrong_file_is_one_clear_line(tmp_path, text, message):
    path = tmp_path / "batching.config"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_batching(path)
