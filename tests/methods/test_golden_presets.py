"""Test the losses of ten float64 steps of each recipe of a paper against recorded values.

They change only if the mathematics does. Print new values after an intended change with
`python tests/methods/test_golden_presets.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from viceversa.batch import Batch
from viceversa.config.recipes import merge, read_recipe
from viceversa.config.run import make_method, resolve
from viceversa.runtime.training import Runtime
from viceversa.training.setup import make_optimizers, set_learning_rates
from viceversa.training.step import MicroBatch, update

pytestmark = pytest.mark.slow

PRESETS = (
    "pix2pix-paper",
    "pix2pix-reference",
    "cyclegan-paper",
    "cyclegan-reference",
    "gdl",
    "cut",
    "fastcut",
    "cut-paired",
    "reggan",
    "cyclegan-reg",
)
TINY = {
    "unet": {"width": 4, "depth": 3, "dropout": 0.0},
    "resnet": {"width": 4, "blocks": 2},
    "gdl-unet": {"width": 4, "depth": 3},
}
# preset -> the sum of all losses at steps 1, 2, 5 and 10, then the last step's losses by name
GOLDEN: dict[str, tuple[list[float], dict[str, float]]] = {
    "pix2pix-paper": (
        [63.44668936794804, 64.14816632541604, 66.96196706962169, 67.64728130018693],
        {
            "d_real": 0.7247463566704403,
            "d_fake": 0.640681194692548,
            "g_l1": 65.52289350091606,
            "g_gan": 0.7589602479078934,
        },
    ),
    "pix2pix-reference": (
        [62.75603569938278, 63.46153652984865, 66.27744188484564, 67.06761006621242],
        {
            "d_real": 0.36558021209574515,
            "d_fake": 0.3245567684900891,
            "g_l1": 65.6291705250404,
            "g_gan": 0.748302560586196,
        },
    ),
    "cyclegan-paper": (
        [16.64789652354094, 16.568391291539385, 16.123466236676208, 16.083307213351393],
        {
            "g_gan_ab": 0.7352524209116665,
            "g_gan_ba": 0.8140193444972816,
            "g_cycle_a": 6.359369656193174,
            "g_cycle_b": 6.560267851186348,
            "d_a_real": 0.8547212325384979,
            "d_a_fake": 0.04274694626366292,
            "d_b_real": 0.6727834749654255,
            "d_b_fake": 0.04414628679533871,
        },
    ),
    "cyclegan-reference": (
        [22.08168841811398, 21.73144283307523, 21.559271570502144, 21.611141202273636],
        {
            "g_gan_ab": 0.7523859769139745,
            "g_gan_ba": 0.8079498283030985,
            "g_cycle_a": 6.498140395749506,
            "g_cycle_b": 6.414961146001028,
            "g_identity_b": 3.0954688539060453,
            "g_identity_a": 3.2398763909212676,
            "d_a_real": 0.3909521910075976,
            "d_a_fake": 0.019599304003172363,
            "d_b_real": 0.36626466946719344,
            "d_b_fake": 0.025542446000756582,
        },
    ),
    "gdl": (
        [19.425299147205624, 19.83467023362866, 19.069622920886328, 17.234601685019822],
        {
            "g_gan_ab": 0.6197342150510244,
            "g_gan_ba": 0.5686284989494141,
            "g_cycle_a": 6.1405242513441785,
            "g_cycle_b": 6.6901849590442595,
            "g_identity_b": 1.2394181196139067,
            "g_identity_a": 1.3541082676670324,
            "d_a_real": 0.2590041303553269,
            "d_a_fake": 0.04869371094739053,
            "d_b_real": 0.2748038921189543,
            "d_b_fake": 0.03950163992833613,
        },
    ),
    "cut": (
        [10.235688874911396, 6.7163559273389755, 6.530004852516543, 6.123566159371948],
        {
            "d_real": 0.3781280063937073,
            "d_fake": 0.00032136625427221983,
            "g_gan": 0.9504307266897154,
            "g_nce": 2.4021690659665955,
            "g_identity": 2.3925169940676576,
        },
    ),
    "fastcut": (
        [89.26025035584769, 54.15017639499681, 53.713292321667595, 50.939410183407745],
        {
            "d_real": 0.35117064305380563,
            "d_fake": 0.0005188488380629317,
            "g_gan": 0.935664193177866,
            "g_nce": 49.65205649833801,
        },
    ),
    "cut-paired": (
        [260.99959565186373, 159.74484482627867, 159.25498717798672, 154.94495694879254],
        {
            "d_real": 0.3512058823485382,
            "d_fake": 0.0003877121006654457,
            "g_gan": 0.9432833374638874,
            "g_nce": 50.36898099012997,
            "g_identity": 49.74503636207177,
            "g_asp": 52.17860208921783,
            "g_pyramid": 1.357460575459863,
        },
    ),
    "reggan": (
        [14.693167727675728, 14.74277213914627, 15.161614897686269, 15.044233890268165],
        {
            "g_correction": 13.061784340836173,
            "g_smoothness": 0.0013246780266197309,
            "g_shift": 0.0066508188287506854,
            "g_gan": 0.8783040711666639,
            "flow_mean": 0.03650088608264923,
            "flow_max": 0.14424578845500946,
            "d_real": 0.9099175052303823,
            "d_fake": 0.005505801641915857,
        },
    ),
    "cyclegan-reg": (
        [29.293725431935563, 29.154295687314125, 29.674786954131992, 29.58347877540572],
        {
            "g_gan_ab": 0.8119289958037366,
            "g_gan_ba": 0.8315592832540207,
            "g_cycle_a": 6.519339351794637,
            "g_cycle_b": 6.561414602770358,
            "g_correction": 13.135711985366248,
            "g_smoothness": 0.0004176161659291619,
            "g_shift": 0.00613158214532207,
            "flow_mean": 0.034832119941711426,
            "flow_max": 0.09021778404712677,
            "d_a_real": 0.7919038862080565,
            "d_a_fake": 0.0077724397329054775,
            "d_b_real": 0.7822787032502083,
            "d_b_fake": 0.009970424925452798,
        },
    ),
}


@pytest.fixture(autouse=True)
def in_float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def images(step: int) -> tuple[Tensor, Tensor]:
    """Return two smooth images of each domain that change from step to step."""
    n = torch.arange(2.0).view(2, 1, 1, 1) + 0.3 * step
    c = torch.arange(1.0, 4.0).view(1, 3, 1, 1)
    y, x = torch.arange(32.0).view(1, 1, 32, 1), torch.arange(32.0).view(1, 1, 1, 32)
    return torch.sin(0.11 * y + 0.05 * x * c + n), torch.cos(0.07 * x * c + 0.03 * y + 2 * n)


def ten_steps(preset: str) -> list[dict[str, float]]:
    """Return the losses of each step. Each step is an epoch, so that the learning rate decays."""
    sections = read_recipe(preset)
    tiny = {
        "generator": TINY[sections["generator"]["name"]],
        "discriminator": {"width": 4, "layers": 2},
        "train": {"epochs": 10, "device": "cpu", "precision": "fp32"},
    }
    tiny["method"] = {
        "cyclegan": {"pool_size": 3},  # full, and replacing images, within ten steps
        "reggan": {"registration_width": 4},
        "cyclegan-reg": {"pool_size": 3, "registration_width": 4},
    }.get(sections["method"]["name"], {})
    config = resolve(merge(sections, tiny))
    torch.manual_seed(0)
    method = make_method(config).train()
    runtime = Runtime("cpu")
    optimizers = make_optimizers(method, config.train, runtime)
    losses = []
    for step in range(1, 11):
        set_learning_rates(optimizers, config.train, step)
        result = update(
            method,
            [MicroBatch(Batch(*images(step), progress=(step - 1) / 10))],
            optimizers,
            runtime,
        )
        losses.append({name: float(value) for name, value in result.items()})
    return losses


@pytest.mark.parametrize("preset", PRESETS)
def test_losses_match_the_golden_values(preset: str) -> None:
    steps = ten_steps(preset)
    totals, last = GOLDEN[preset]
    for number, total in zip((1, 2, 5, 10), totals, strict=True):
        assert sum(steps[number - 1].values()) == pytest.approx(total, abs=1e-9)
    assert steps[-1] == pytest.approx(last, abs=1e-9)


def test_two_runs_are_identical() -> None:
    assert ten_steps("gdl") == ten_steps("gdl")


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [("method", "d_weight", 0.7), ("method", "lambda_l1", 99.0), ("generator", "norm", "group")],
)
def test_changed_setting_changes_the_losses(
    section: str, key: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = merge(read_recipe("pix2pix-paper"), {section: {key: value}})
    monkeypatch.setitem(globals(), "read_recipe", lambda name: changed)
    assert ten_steps("pix2pix-paper")[-1] != pytest.approx(GOLDEN["pix2pix-paper"][1], abs=1e-9)


if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    for name in PRESETS:
        run = ten_steps(name)
        totals = [sum(run[number - 1].values()) for number in (1, 2, 5, 10)]
        print(f'    "{name}": ({totals!r}, {run[-1]!r}),')
