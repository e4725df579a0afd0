"""Train on facades at 256 px with the paper's recipe, stop and resume: does L1 on `val` decrease?

python benchmarks/facades.py DATA [--epochs 2] [--images 100]
DATA is a facades folder (train/ and val/, photo left, labels right). The run is stopped with SIGINT
in the middle and resumed with the same command. Each value is from one seed; 800 GAN steps at batch
size 1 are noisy, so the last error may be higher than the one at the stop. Writes
benchmarks/results/DATE-facades.json.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import torch

from viceversa.config.recipes import merge, read_recipe
from viceversa.config.run import RunConfig, make_method, resolve
from viceversa.data import index_split
from viceversa.data.dataset import ImageDataset
from viceversa.files import write_json
from viceversa.images.domain import Domain
from viceversa.inference import Translator
from viceversa.runtime.random_state import seed_everything


def val_l1(translator: Translator, data: Path, count: int, size: int = 256) -> float:
    """Return the mean absolute error in [-1, 1] on the first images of val, labels -> photo."""
    resized = {"data": {"preprocess": "resize", "crop_size": size}}
    config = resolve(merge(read_recipe("facades"), resized)).data
    index = index_split(data, "val", paired=True)
    assert index is not None
    dataset = ImageDataset(index, config, (Domain(), Domain()), paired=True, seed=0, training=False)
    errors = []
    for position in range(min(count, len(dataset))):
        batch = dataset.batch([(1, position)], torch.device("cpu"))
        assert batch is not None
        source, target = batch.a, batch.b
        errors.append((translator.tensor(source) - target).abs().mean())
    return float(torch.stack(errors).mean())


def untrained(config: RunConfig) -> Translator:
    """Return a translator with the initial weights of a run."""
    seed_everything(config.train.seed)
    network = make_method(config).translators()["ab"]
    return Translator(network, Domain(), Domain(), "cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--images", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "facades"
        settings = {
            "data.direction": "ba",
            "train.run": run,
            "train.epochs": options.epochs,
            "train.save_every": 100,
            "train.log_every": 50,
            "train.sample_every": 400,
        }
        command = [sys.executable, "-c", "from viceversa.cli import main; main()"]
        command += ["train", "pix2pix-paper", str(options.data)]
        command += [word for name, value in settings.items() for word in (f"--{name}", str(value))]
        config = resolve(merge(read_recipe("pix2pix-paper"), {"data": {"direction": "ba"}}))
        errors = {"before training": val_l1(untrained(config), options.data, options.images)}
        began = time.perf_counter()
        first = subprocess.Popen(command)
        log = run / "log.jsonl"
        half = 4 * options.epochs  # lines of 50 images: the middle of the run, for 400 images
        while first.poll() is None and (not log.exists() or log.read_text().count("\n") < half):
            time.sleep(1)
        first.send_signal(signal.SIGINT)
        stopped = first.wait()
        assert stopped == 130, f"the stopped run ended with {stopped}"
        model = run / "ba.safetensors"
        errors["stopped"] = val_l1(Translator.load(model), options.data, options.images)
        subprocess.run(command, check=True)
        errors["finished"] = val_l1(Translator.load(model), options.data, options.images)
        seconds = time.perf_counter() - began
    for name, error in errors.items():
        print(f"L1 on val, {name}: {error:.4f}")
    decreases = errors["finished"] < errors["before training"]
    print("L1 decreases" if decreases else "L1 does NOT decrease")
    write_json(
        Path(__file__).parent / "results" / f"{date.today().isoformat()}-facades.json",
        {
            "date": date.today().isoformat(),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, CPU only",
            "torch": torch.__version__,
            "recipe": "pix2pix-paper, labels -> photo, 256 px",
            "epochs": options.epochs,
            "val_images": options.images,
            "seconds": round(seconds),
            "l1": errors,
        },
    )


if __name__ == "__main__":
    main()
