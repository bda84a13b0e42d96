"""STDiT3 against recorded forwards of Open-Sora 1.2, and properties that hold for any weights."""

import pytest
import torch
from einops import rearrange

from worker.models.opensora.attention import TILE, attend, attend_few, attend_frames, bias_of_heads
from worker.models.opensora.blocks import Taps
from worker.models.opensora.presets import tiny_transformer
from worker.models.opensora.stdit3 import STDiT3

CASES = [
    ("qknorm", "case_mask"),
    ("qknorm", "case_nomask"),
    ("qknorm", "case_xmask"),
    ("qknorm", "case_cfg_maskrepeat"),
    ("qknorm", "case_image_T1"),  # one frame
    ("qknorm", "case_longT_square"),
    ("noqknorm", "case_mask"),
    ("noqknorm", "case_xmask_nomask"),
    ("skip_y", "case_packed_list"),
    ("skip_y", "case_packed_xmask"),
]
CLOSE = {"atol": 2e-5, "rtol": 1e-5}


def arguments(case):
    """Turn the recorded `in.*` tensors into arguments of forward."""
    names = {"x", "timestep", "y", "mask", "x_mask", "fps", "height", "width"}
    given = {name: case[f"in.{name}"] for name in names if f"in.{name}" in case}
    if "in.y_lens" in case:
        given["mask"] = case["in.y_lens"].tolist()
    return given


def watch(model):
    """Collect the outputs of the parts that were recorded."""
    seen = {}
    parts = {
        f"{kind}_blocks.{i}": b
        for kind in ("spatial", "temporal")
        for i, b in enumerate(getattr(model, f"{kind}_blocks"))
    }
    for kind in ("spatial", "temporal"):
        for name in ("attn", "cross_attn", "mlp"):
            parts[f"{kind}_blocks.0.{name}"] = getattr(parts[f"{kind}_blocks.0"], name)
    parts |= {name: getattr(model, name) for name in ("x_embedder", "final_layer")}
    for name, part in parts.items():
        part.register_forward_hook(lambda _, __, out, name=name: seen.__setitem__(name, out))
    return seen


@pytest.mark.parametrize(("model", "case"), CASES)
def test_output_equals_the_recorded_forward(golden, model, case):
    recorded = golden.tensors(f"stdit3/{model}/{case}")
    transformer = golden.stdit3(model)

    out = transformer(**arguments(recorded))

    assert out.dtype == torch.float32
    torch.testing.assert_close(out, recorded["out"], **CLOSE)


@pytest.mark.parametrize(("model", "case"), CASES)
def test_every_part_equals_its_recorded_activation(golden, model, case):
    recorded = golden.tensors(f"stdit3/{model}/{case}")
    transformer = golden.stdit3(model)
    seen = watch(transformer)

    transformer(**arguments(recorded))

    assert seen
    for name, value in seen.items():
        expected = recorded.get(f"act.{name}")
        if expected is None:
            continue
        if name.startswith("temporal") and name.endswith(".attn"):
            value = rearrange(value, "B T S C -> (B S) T C")
        elif name.startswith("spatial") and name.endswith(".attn"):
            value = rearrange(value, "B T S C -> (B T) S C")
        torch.testing.assert_close(value.reshape(expected.shape), expected, **CLOSE, msg=name)


def test_packed_caption_holds_the_tokens_that_the_mask_keeps(golden):
    recorded = golden.tensors("stdit3/qknorm/case_mask")
    transformer = golden.stdit3("qknorm")

    caption = transformer.pack_caption(recorded["in.y"], recorded["in.mask"], batch=2)

    packed = caption.tokens[caption.mask[:, 0, 0]]
    torch.testing.assert_close(packed, recorded["act.y_packed"][0], **CLOSE)
    assert caption.mask.sum((1, 2, 3)).tolist() == recorded["act.y_lens"].tolist()


def test_bfloat16_rounds_the_timestep_as_the_released_model_does(golden):
    inputs = arguments(golden.tensors("stdit3/qknorm/case_mask"))
    expected = golden.tensors("stdit3/qknorm/case_mask_bf16")["out_bf16"]
    transformer = golden.stdit3("qknorm").bfloat16()

    out = transformer(**inputs)

    assert relative_l2(out, expected) < 0.02


def test_exact_timesteps_keep_bfloat16_near_the_float32_output(golden):
    inputs = arguments(golden.tensors("stdit3/qknorm/case_mask"))
    expected = golden.tensors("stdit3/qknorm/case_mask_bf16")["out_fp32"]
    transformer = golden.stdit3("qknorm").bfloat16()
    transformer.register_to_config(exact_timesteps=True)

    out = transformer(**inputs)

    assert relative_l2(out, expected) < 0.02


def test_state_dict_of_the_released_size_has_its_keys_and_shapes(golden):
    table = golden.json("stdit3/xl2_keys")
    with torch.device("meta"):
        transformer = STDiT3()

    ours = {name: list(tensor.shape) for name, tensor in transformer.state_dict().items()}

    assert ours == {row["key"]: row["shape"] for row in table["keys"]}
    assert sum(p.numel() for p in transformer.parameters()) == table["num_parameters"]


def test_operations_of_the_released_size_are_the_known_ones(count_operations):
    """13.53 T for one branch at 240p, 51 frames and 300 caption tokens, counted from the formulas."""
    one, two = (count_operations(depth, batch=1, keep_keys=False) for depth in (1, 2))

    assert one + 27 * (two - one) == pytest.approx(13.53e12, rel=2e-3)


def test_a_saved_folder_loads_the_same_model(golden, tmp_path):
    recorded = golden.tensors("stdit3/noqknorm/case_mask")
    golden.stdit3("noqknorm").save_pretrained(tmp_path)

    loaded = STDiT3.from_pretrained(tmp_path)

    torch.testing.assert_close(loaded(**arguments(recorded)), recorded["out"], **CLOSE)


@pytest.fixture
def model():
    return tiny_transformer(seed=3)


def inputs(batch=2, frames=3, height=6, width=4, length=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        "x": torch.randn(batch, 4, frames, height, width, generator=generator),
        "timestep": torch.full((batch,), 400.0),
        "y": torch.randn(batch, 1, length, 16, generator=generator),
        "mask": torch.ones(batch, length, dtype=torch.int64),
        "fps": torch.tensor([24.0]),
        "height": 48.0,
        "width": 32.0,
    }


def test_kept_keys_and_values_give_the_same_output(model):
    given = inputs()
    plain = model(**given)

    given["y"] = model.pack_caption(given["y"], given.pop("mask"), batch=2, keep_keys=True)

    assert torch.equal(model(**given), plain)


def test_caption_tokens_outside_the_mask_change_nothing(model):
    given = inputs()
    given["mask"][0, 3:] = 0
    plain = model(**given)

    given["y"][0, :, 3:] = 77.0

    assert torch.equal(model(**given), plain)


def test_order_of_caption_tokens_does_not_matter(model):
    given = inputs()
    plain = model(**given)

    given["y"] = given["y"].flip(2)

    torch.testing.assert_close(model(**given), plain, **CLOSE)


def test_caption_rows_of_different_length_do_not_disturb_each_other(model):
    given = inputs()
    given["mask"][1, 2:] = 0

    both = model(**given)

    for i in range(2):
        row = {k: v[i : i + 1] if k in ("x", "timestep", "y", "mask") else v for k, v in given.items()}
        torch.testing.assert_close(model(**row), both[i : i + 1], **CLOSE)


def test_odd_sizes_are_padded_with_zeros_on_the_right_and_bottom(model):
    odd = inputs(height=5, width=3)
    even = odd | {"x": torch.nn.functional.pad(odd["x"], (0, 1, 0, 1))}

    assert torch.equal(model(**odd), model(**even)[..., :5, :3])


def test_a_frame_mask_of_ones_changes_no_bit(model):
    given = inputs()

    masked = model(**given, x_mask=torch.ones(2, 3, dtype=torch.bool))

    assert torch.equal(masked, model(**given))


def test_taps_change_no_bit_and_report_what_was_asked(model):
    given = inputs()
    taps = Taps(change=True, temporal_attention_of=1)

    out = model(**given, taps=taps)

    assert torch.equal(out, model(**given))
    assert taps.results["change"].shape == taps.results["temporal_attention"].shape == (2, 3, 6, 32)


def test_adding_the_reported_change_replaces_the_blocks(model):
    given = inputs()
    taps = Taps(change=True)
    plain = model(**given, taps=taps)

    torch.testing.assert_close(model(**given, change=taps.results["change"]), plain, **CLOSE)


def test_every_parameter_but_the_fixed_frequencies_gets_a_gradient(model):
    with torch.enable_grad():
        model(**inputs()).square().mean().backward()

    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == ["rope.freqs"]


def test_gradient_checkpointing_gives_the_same_gradients(model):
    gradients = []
    for checkpointing in (False, True):
        model.zero_grad()
        if checkpointing:
            model.enable_gradient_checkpointing()
        with torch.enable_grad():
            model(**inputs()).square().mean().backward()
        gradients.append(model.spatial_blocks[0].attn.qkv.weight.grad.clone())

    torch.testing.assert_close(*gradients)


def test_fresh_weights_predict_zero_velocity():
    transformer = tiny_transformer(seed=0)
    transformer.initialize_weights()
    transformer.final_layer.linear.bias.data.zero_()

    assert not transformer(**inputs()).any()


def test_a_caption_without_tokens_is_refused(model):
    given = inputs()
    given["mask"][1] = 0

    with pytest.raises(ValueError) as error:
        model(**given)

    assert str(error.value) == "the caption mask keeps no token in row 1; every caption needs at least one token"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"patch_size": (2, 2, 2)},
            "patch_size (2, 2, 2) is not supported; time is never patched, use (1, 2, 2)",
        ),
        (
            {"hidden_size": 100, "num_heads": 16},
            "hidden_size 100 over num_heads 16 must be an even whole number: rotary positions turn pairs of channels",
        ),
        (
            {"hidden_size": 30, "num_heads": 3},
            "hidden_size 30 is not a multiple of 4, which the spatial position needs",
        ),
    ],
)
def test_a_config_that_cannot_work_is_refused(config, message):
    with pytest.raises(ValueError) as error:
        STDiT3(**config)

    assert str(error.value) == message


def relative_l2(a, b):
    return ((a - b).norm() / b.norm()).item()


@torch.enable_grad()
def test_attention_over_few_tokens_is_attention():
    q, k, v = (torch.randn(3, 2, 4, 8, requires_grad=True) for _ in range(3))
    expected, found = attend(q, k, v), attend_few(q, k, v)

    torch.testing.assert_close(found, expected)
    slopes = (torch.autograd.grad(one.square().sum(), (q, k, v)) for one in (found, expected))
    for ours, theirs in zip(*slopes, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("num_frames", "at_once"), [(21, 4), (15, 8), (1, 16), (64, 2)])
def test_heads_that_share_a_row_do_not_see_each_other(num_frames, at_once):
    """As many at once as fill the tile of a GPU and divide the heads."""
    q, k, v = torch.randn(3, 7, 16, num_frames, 8, generator=torch.Generator().manual_seed(1))

    bias = bias_of_heads(16, num_frames, q.dtype, q.device)

    assert bias.shape == (1, 1, at_once * num_frames, at_once * num_frames)
    torch.testing.assert_close(attend_frames(q, k, v, bias), attend(q, k, v))
    assert all(step % 16 == 0 for step in bias.stride()[:3])


@pytest.mark.parametrize(("num_heads", "num_frames"), [(16, TILE // 2 + 1), (7, 21), (16, TILE + 1)])
def test_heads_that_fit_no_tile_together_stay_alone(num_heads, num_frames):
    assert bias_of_heads(num_heads, num_frames, torch.float32, torch.device("cpu")) is None


def test_a_network_on_a_device_with_tiles_predicts_the_same(model):
    given = inputs()
    expected = model(**given)

    model.tiled_on = "cpu"

    assert model._frames(torch.zeros(2, 3, 6, 8)).bias is not None
    torch.testing.assert_close(model(**given), expected, **CLOSE)


@pytest.mark.gpu
def test_a_gpu_predicts_as_a_cpu_does(model):
    given = inputs()
    expected = model(**given)

    model.cuda()

    found = model(**{name: value.cuda() if isinstance(value, torch.Tensor) else value for name, value in given.items()})
    torch.testing.assert_close(found.cpu(), expected, atol=1e-4, rtol=1e-4)
