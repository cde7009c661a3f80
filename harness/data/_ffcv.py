"""The only file that imports FFCV: its file format, its compiled decoder, its way of reading.

Lives here: `encode`, `Writer`, `Reader`, `open_reader`. Must not: order, augmentation, batches on a device.

FFCV's own epoch iterator and writer processes are not used. The first hangs when a transform fails, leaks its thread
when an epoch is left, hands out buffers that it overwrites, and cannot be seeded; the second hang when an image cannot
be read and place samples by chance. Files and pipelines are FFCV's own: any FFCV program can read what is written here.
"""

import hashlib
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, Self, cast

import cv2
import numba.typed
import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray

from harness.data._once import once_per_file
from harness.data._pages import Note, Pages
from harness.errors import StageError, UserError

_torch_threads, _compiled_dict = torch.get_num_threads(), numba.typed.Dict
numba.typed.Dict = dict  # FFCV fills one as it is imported, for no compiled code: six seconds of every process
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # FFCV imports distutils
    from ffcv.fields import IntField, RGBImageField
    from ffcv.fields.rgb_image import IMAGE_MODES, SimpleRGBImageDecoder, encode_jpeg
    from ffcv.libffcv import imdecode, resize_crop
    from ffcv.loader import Loader, OrderOption
    from ffcv.pipeline.compiler import Compiler
    from ffcv.types import (
        ALLOC_TABLE_TYPE,
        CURRENT_VERSION,
        TYPE_ID_HANDLER,
        FieldDescType,
        HeaderType,
        get_metadata_type,
    )
    from ffcv.utils import align_to_page
numba.typed.Dict = _compiled_dict
torch.set_num_threads(_torch_threads)  # importing FFCV sets it to 1 for the whole process

Pixels = NDArray[np.uint8]
Ints = NDArray[np.int64]

PAGE_BYTES = 8 << 20
"""FFCV's own choice."""
LONGEST_SIDE = 65_500
"""Of a JPEG file."""

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
    if max_side is not None:
        image = _shrunk(image, max_side)
    height, width = image.shape[:2]
    if jpeg_quality is None or max(height, width) > LONGEST_SIDE:  # the writer refuses such an image by its number
        return Encoded(_RAW, height, width, np.ascontiguousarray(image).reshape(-1))
    return Encoded(_JPEG, height, width, encode_jpeg(image, jpeg_quality))


def _shrunk(image: Pixels, max_side: int) -> Pixels:
    """As FFCV's `resizer` does it, but a thin image keeps at least one pixel each way."""
    height, width = image.shape[:2]
    ratio = max_side / max(height, width)
    if ratio >= 1:
        return image
    size = max(1, int(ratio * width)), max(1, int(ratio * height))
    return cast(Pixels, cv2.resize(image, size, interpolation=cv2.INTER_AREA))


class Writer:
    """An FFCV file with one sample per label and the fields image, label and index, appended in order.

    Its bytes depend on nothing else. Finished pages outlive the process: the next writer of the same `path`, `labels`
    and `whose` goes on behind them. `done` counts the samples so far.
    """

    def __init__(self, path: Path, labels: Sequence[int], whose: dict[str, Any], patience_s: float) -> None:
        self._fields: dict[str, Any] = {"image": RGBImageField(), "label": IntField(), "index": IntField()}
        self._samples = np.zeros(len(labels), get_metadata_type(list(self._fields.values())))
        self._samples["f1"], self._samples["f2"] = labels, np.arange(len(labels))
        self._allocations = np.zeros(len(labels), ALLOC_TABLE_TYPE)
        self._content = hashlib.sha256()
        self.done = 0
        head = HeaderType.itemsize + len(self._fields) * FieldDescType.itemsize + self._samples.nbytes
        start = align_to_page(head, PAGE_BYTES)
        self._pages = Pages(path, start=start, page_bytes=PAGE_BYTES, whose=whose, patience_s=patience_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pages.close()

    def resume(self, workers: int) -> Iterator[int]:
        """Take up the pages that are finished, and count their samples; before anything is appended."""
        for notes in self._pages.kept(workers):
            self._enter(notes)
            yield self.done

    def extend(self, images: Iterable[tuple[Encoded, str]]) -> None:
        """Add the next samples: images with their digests.

        Raises UserError for an image that is larger than a page or longer than a JPEG file can be.
        """
        for notes in self._pages.extend(map(_item, count(self.done), images)):
            self._enter(notes)

    def finish(self) -> str:
        """Complete the file. Returns the SHA-256 over the digests of all images."""
        kinds = {kind: number for number, kind in TYPE_ID_HANDLER.items()}
        fields = np.zeros(len(self._fields), FieldDescType)
        for place, (name, field) in zip(fields, self._fields.items(), strict=True):
            place["type_id"] = kinds[type(field)]
            place["name"][: len(name)] = list(name.encode())
        header = np.zeros(1, HeaderType)
        header["version"], header["num_fields"], header["page_size"] = CURRENT_VERSION, len(fields), PAGE_BYTES
        header["num_samples"], header["alloc_table_ptr"] = self.done, self._pages.end
        self._pages.enclose(header.tobytes() + fields.tobytes() + self._samples.tobytes(), self._allocations.tobytes())
        return self._content.hexdigest()

    def _enter(self, notes: list[Note]) -> None:
        """Note the samples of the next page in the tables."""
        for position, size, mode, height, width, digest in notes:
            self._samples["f0"][self.done] = (mode, width, height, position)
            self._allocations[self.done] = (self.done, position, size)
            self._content.update(bytes.fromhex(digest))
            self.done += 1


def _item(number: int, encoded: tuple[Encoded, str]) -> tuple[memoryview, Note]:
    """What goes on a page, and what must be known of it."""
    (mode, height, width, data), digest = encoded
    if data.nbytes > PAGE_BYTES or max(height, width) > LONGEST_SIDE:
        raise UserError(f"image {number} is {width} x {height}, too large to store: set a max_side")
    return data.data, [mode, height, width, digest]


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
