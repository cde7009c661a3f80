"""What is written is an ordinary FFCV file, and the owner of FFCV leaves the process as it was."""

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import torch

from harness.data._ffcv import open_reader
from harness.data.digits import Digits


def test_ffcv_itself_reads_the_file(digits_file: Path) -> None:
    from ffcv.fields.rgb_image import SimpleRGBImageDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import ToTensor

    threads = torch.get_num_threads()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipelines = {"image": [SimpleRGBImageDecoder(), ToTensor()]}
        loader = Loader(str(digits_file), 360, num_workers=1, order=OrderOption.SEQUENTIAL, pipelines=pipelines)
        ((pixels, labels, indices),) = loader
    torch.set_num_threads(threads)
    images = Digits().split("val", None)
    assert labels.flatten().tolist() == images.labels
    assert indices.flatten().tolist() == list(range(360))
    assert np.array_equal(pixels.numpy(), np.stack([images[i][0] for i in range(360)]))


def test_a_file_is_opened_once_whatever_is_done_with_it(digits_file: Path) -> None:
    assert open_reader(digits_file) is open_reader(digits_file)


def test_importing_leaves_the_threads_of_torch_alone() -> None:
    code = "import torch; torch.set_num_threads(3); import harness.data.stream; print(torch.get_num_threads())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "3\n"


def test_plans_are_made_without_loading_numpy_or_torch() -> None:
    """A source is part of a spec, and its check runs on a login node."""
    code = (
        "import sys, harness.data.digits, harness.data.cifar100, harness.data.image_folder as f\n"
        "try: f.ImageFolder(name='photos', classes=2).check(None)\n"
        "except Exception as error: print(type(error).__name__, {'torch', 'numpy', 'sklearn'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "UserError set()\n"
