"""The only file that imports FFCV: its file format, its compiled decoder, its way of reading.

Lives here: `encode`, `Writer`, `Reader`, `open_reader`. Must not: order, augmentation, batches on a device.

FFCV's own epoch iterator and writer processes are not used. The first hangs when a transform fails, leaks its thread
when an epoch is left, hands out buffers that it overwrites, and cannot be seeded; the second hang when an image cannot
be read and place samples by chance. Files and pipelines are FFCV's own: any FFCV program can read what is written here.
"""

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray

from harness.data._once import once_per_file
from harness.errors import StageError, UserError

_torch_threads = torch.get_num_threads()
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # FFCV imports distutils
    from ffcv.fields import IntField, RGBImageField
    from ffcv.fields.rgb_image import IMAGE_MODES, SimpleRGBImageDecoder, encode_jpeg, resizer
    from ffcv.libffcv import imdecode, resize_crop
    from ffcv.loader import Loader, OrderOption
    from ffcv.memory_allocator import MemoryAllocator
    from ffcv.pipeline.compiler import Compiler
    from ffcv.writer import DatasetWriter, handle_sample
torch.set_num_threads(_torch_threads)  # importing FFCV sets it to 1 for the whole process

Pixels = NDArray[np.uint8]
Ints = NDArray[np.int64]

_JPEG, _RAW = int(IMAGE_MODES["jpg"]), int(IMAGE_MODES["raw"])
_imdecode, _resize_crop = Compiler.compile(imdecode), Compiler.compile(resize_crop)


class Encoded(NamedTuple):
    """An image as it is stored."""

    mode: int
    height: int
    width: int
    data: Pixels


def encode(image: Pixels, *, max_side: int | None, jpeg_quality: int | None) -> Encoded:
    """Shrink the longer side to `max_side` if it is longer, then JPEG at a quality, or plain pixels for None."""
    image = resizer(image, max_side)
    height, width = image.shape[:2]
    if jpeg_quality is None:
        return Encoded(_RAW, height, width, np.ascontiguousarray(image).reshape(-1))
    return Encoded(_JPEG, height, width, encode_jpeg(image, jpeg_quality))


class _EncodedField:
    """Stands in for FFCV's image field while writing: the image was encoded by a thread already."""

    def encode(self, destination: Any, image: Encoded, malloc: Callable[[int], tuple[int, Pixels]]) -> None:
        destination["mode"], destination["height"], destination["width"] = image[:3]
        destination["data_ptr"], storage = malloc(image.data.nbytes)
        storage[:] = image.data


class Writer:
    """An FFCV file of `count` samples with the fields image, label and index, appended in order: the bytes are fixed.

    A context manager; without all samples or after an exception it leaves no file.
    """

    def __init__(self, path: Path, count: int) -> None:
        self._path, self._done = path, 0
        self._file = DatasetWriter(str(path), {"image": RGBImageField(), "label": IntField(), "index": IntField()})
        self._file.num_samples = count
        self._fields = {"image": _EncodedField(), "label": IntField(), "index": IntField()}

    def __enter__(self) -> Self:
        self._file.prepare()
        self._memory = self._file.metadata_sm
        kind = self._file.metadata_type
        self._samples = np.frombuffer(self._memory.buf, dtype=kind, count=self._file.num_samples)
        self._pages = MemoryAllocator(str(self._path), self._file.data_region_start, self._file.page_size)
        self._pages.__enter__()
        return self

    def append(self, image: Encoded, label: int) -> None:
        """Add the next sample. Raises UserError if its stored form is larger than a page (8 MiB)."""
        if image.data.nbytes > self._file.page_size:
            raise UserError(f"image {self._done} is {image.width} x {image.height}, too large to store: set a max_side")
        names, sample = self._samples.dtype.names, (image, label, self._done)
        handle_sample(sample, self._done, names, self._samples, self._pages, self._fields)
        self._done += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pages.__exit__(kind, error, trace)
        complete = error is None and self._done == self._file.num_samples
        if complete:
            self._file.finalize(self._pages.allocations)
        del self._samples  # a view of the shared memory, which cannot be closed while it lives
        self._memory.close()
        self._memory.unlink()
        if not complete:
            self._path.unlink()


@njit(nogil=True, error_model="numpy")
def _render(data, mode, height, width, box, out):  # type: ignore[no-untyped-def]
    """Decode one image and write its box into `out` [size, size, 3]. Compiled once per process, for all files."""
    if mode == _JPEG:
        image = np.empty((height, width, 3), np.uint8)
        if _imdecode(data, image, height, width, height, width, 0, 0, 1, 1, False, False) != 0:
            raise ValueError("not a JPEG image")
    else:
        image = data.reshape((height, width, 3))
    top, left, rows, columns, mirrored = box
    if rows == out.shape[0] and columns == out.shape[1]:
        for row in range(rows):
            for column in range(columns):
                y, x = top + row, left + column
                for channel in range(3):
                    inside = 0 <= y < height and 0 <= x < width
                    out[row, column, channel] = image[y, x, channel] if inside else 0
    else:
        _resize_crop(image, top, top + rows, left, left + columns, out)
    if mirrored:
        for row in range(out.shape[0]):
            for column in range(out.shape[1] // 2):
                other = out.shape[1] - 1 - column
                for channel in range(3):
                    kept = out[row, column, channel]
                    out[row, column, channel] = out[row, other, channel]
                    out[row, other, channel] = kept


class _BoxDecoder(SimpleRGBImageDecoder):
    """FFCV decoder that takes the box it is told of each image; images and boxes come in with the call."""

    def declare_state_and_memory(self, previous_state: Any) -> Any:
        return replace(previous_state, jit_mode=True, shape=None, dtype=np.dtype("u1")), None

    def generate_code(self) -> Callable[..., Pixels]:
        read = self.memory_read

        def decode(indices, memory, metadata, storage):  # type: ignore[no-untyped-def]
            images, boxes = memory
            for i in range(len(indices)):
                image, b = metadata[indices[i]], boxes[i]
                height, width = np.int64(image["height"]), np.int64(image["width"])
                box = (b[0], b[1], b[2], b[3], b[4])
                _render(read(image["data_ptr"], storage), image["mode"], height, width, box, images[i])
            return images

        return decode


class Reader:
    """One FFCV file, open for reading by any number of threads.

    `heights`, `widths` and `labels` are int64 [n].
    """

    def __init__(self, path: Path) -> None:
        """Map the file and compile its pipeline (about 2 s for the first file of a process, 0.4 s for another)."""
        self._path = path
        loader = _loader(path)
        samples = loader.reader.metadata
        self.heights: Ints = samples["f0"]["height"].astype(np.int64)
        self.widths: Ints = samples["f0"]["width"].astype(np.int64)
        self.labels: Ints = samples["f1"].astype(np.int64)
        ((self._stage, _),), (node,) = loader.code[0], loader.graph.nodes
        self._memory_name = f"memory_{node.id}"
        context = loader.memory_manager.schedule_epoch([])
        context.__enter__()  # maps the file
        self._fixed = {"metadata": samples, "storage_state": context.state, f"shared_memory_{node.id}": None}
        self.decode(np.zeros(1, np.int64), np.array([[0, 0, 1, 1, 0]]), np.empty((1, 1, 1, 3), np.uint8))

    def __len__(self) -> int:
        return len(self.labels)

    def decode(self, indices: Ints, boxes: Ints, out: Pixels) -> None:
        """Fill `out` [n, size, size, 3] with the boxes [n, 5] of the samples `indices` [n], without the GIL."""
        try:
            self._stage(batch_indices=indices, **{self._memory_name: (out, boxes)}, **self._fixed)
        except ValueError as error:
            raise StageError(f"{self._path} is damaged: an image in it is {error}; delete it and run again") from error


def _loader(path: Path) -> Any:
    """FFCV's loader of the images alone; labels are read from the table of samples, without a pipeline."""
    threads = torch.get_num_threads()
    try:
        pipelines = {"image": [_BoxDecoder()], "label": None, "index": None}
        loader = Loader(str(path), 1, num_workers=1, os_cache=True, order=OrderOption.SEQUENTIAL, pipelines=pipelines)
    except (AssertionError, IndexError, KeyError, ValueError) as error:
        raise UserError(f"{path} is not a complete FFCV file: delete it and run again") from error
    finally:
        torch.set_num_threads(threads)  # the loader sets it for the whole process
    if len(loader.reader.alloc_table) != loader.reader.num_samples:  # the table is the tail of the file
        raise UserError(f"{path} is not a complete FFCV file: delete it and run again")
    return loader


open_reader = once_per_file(Reader)
"""The reader of a file, built once per process while the file is unchanged."""
