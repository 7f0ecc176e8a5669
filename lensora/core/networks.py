"""The embedded networks, tensors in and tensors out.

A service calls one of these, or the same one behind Triton (``model_repository``): what comes before and after it is
the service's own either way, so that who runs the tensors is all that differs. Each imports its library when it is
made, because no process has all three.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lensora.core.engines import Context

SSD_ROWS = 100
"""Detections that the SSD gives per picture, at most."""


class Network(Protocol):
    """One network, loaded once; may be called from several threads at a time."""

    def __call__(self, batch: NDArray[Any], context: Context) -> NDArray[Any]:
        """Run it.

        Args:
            batch: (n, ...), n pictures as the network takes them.
            context: asked whether the work is still wanted, where that can take long.

        Returns:
            (n, ...), what it says of each. The same picture gives the same answer, whatever n.
        """


class Onnx:
    """U²-Net-p and its like in onnxruntime, on the CPU: (n, 3, h, w) float32 in, (n, 1, h, w) float32 out."""

    def __init__(self, path: Path, threads: int) -> None:
        """Load ``path``, to use ``threads`` threads per picture."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.use_deterministic_compute = True
        options.enable_mem_pattern = False  # as fast without, and 190 MB less
        # waiting threads sleep rather than spin: the other stages need the cores
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        # the fused, finest map; what follows it are the side outputs of training
        self._output = self._session.get_outputs()[0].name

    def __call__(self, batch: NDArray[Any], context: Context) -> NDArray[Any]:
        """See ``Network``; the files were exported for one picture at a time."""
        maps = []
        for planes in batch:
            maps.append(self._session.run([self._output], {self._input: planes[None]})[0])
            context.check()
        return np.concatenate(maps)


class Ssd:
    """SSD with MobileNetV2, trained on COCO, in OpenCV: (n, 300, 300, 3) uint8 sRGB in, (n, 100, 7) float32 out.

    Rows are (picture, class, score, x1, y1, x2, y2), boxes normalised; those that are left over are zero.
    """

    def __init__(self, graph: Path, text: Path) -> None:
        """Load the frozen graph and the text that tells OpenCV how to read it."""
        import cv2

        self._blob = cv2.dnn.blobFromImage
        # as fast as OpenCV 5's new engine here, and 37 MB less
        self._net = cv2.dnn.readNetFromTensorflow(str(graph), str(text), cv2.dnn.ENGINE_CLASSIC)
        self._net.enableWinograd(False)  # its copies of the kernels cost more memory than they save time
        self._turn = threading.Lock()

    def __call__(self, batch: NDArray[Any], context: Context) -> NDArray[Any]:
        """See ``Network``."""
        found = np.zeros((len(batch), SSD_ROWS, 7), np.float32)
        for picture, rows in zip(batch, found, strict=True):
            with self._turn:  # a cv2.dnn.Net keeps its input and output between the calls
                self._net.setInput(self._blob(picture))
                seen = np.asarray(self._net.forward(), np.float32).reshape(-1, 7)[:SSD_ROWS]
            rows[: len(seen)] = seen
            context.check()
        return found


class LiteRt:
    """EfficientNet-Lite3, quantised to 8 bits: (n, 280, 280, 3) uint8 sRGB in, (n, 1000) uint8 out, steps of 1/256."""

    def __init__(self, path: Path, threads: int) -> None:
        """Load ``path``, to use ``threads`` threads per picture."""
        from ai_edge_litert.interpreter import Interpreter  # type: ignore[import-untyped]

        self._interpreter = Interpreter(str(path), num_threads=threads)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]
        self._turn = threading.Lock()

    def __call__(self, batch: NDArray[Any], context: Context) -> NDArray[Any]:
        """See ``Network``."""
        steps = []
        for picture in batch:
            with self._turn:  # an interpreter keeps its input and output between the calls
                self._interpreter.set_tensor(self._input, picture[None])
                self._interpreter.invoke()
                steps.append(self._interpreter.get_tensor(self._output))
            context.check()
        return np.concatenate(steps)
