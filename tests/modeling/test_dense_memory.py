"""The dense memory: exact start, learning, and what it stores."""

import torch

from univs.modeling.dense_memory import DenseMemory, DenseMemorySettings, fold, unfold
from univs.modeling.losses.following import UNKNOWN, ClipMasks, following_losses, hard_pixel_cross_entropy, remembered

SETTINGS = DenseMemorySettings(
    fine_channels=4, middle_channels=6, coarse_channels=8, key_dim=8, code_dim=4, decoder_dim=8, detail_dim=4, top_k=5
)


def backbone_maps(frames: int, height: int = 8, width: int = 12) -> dict[str, torch.Tensor]:
    """Maps [frames, C, h, w] of strides 4, 8, 16 for a grid of ``height`` x ``width`` cells of stride 8."""
    sizes = {"res2": (4, 2 * height, 2 * width), "res3": (6, height, width), "res4": (8, height // 2, width // 2)}
    return {name: torch.randn(frames, *size) for name, size in sizes.items()}


def test_folding_loses_nothing():
    masks = torch.rand(3, 8, 12)
    assert torch.equal(unfold(fold(masks)), masks)


def test_untrained_it_carries_the_mask_of_an_identical_frame():
    torch.manual_seed(0)
    memory = DenseMemory(SETTINGS)
    maps = memory.maps({name: x.repeat(2, 1, 1, 1) for name, x in backbone_maps(1).items()})
    mask = torch.zeros(1, 16, 24)
    mask[:, 4:12, 6:18] = 1
    with torch.no_grad():
        memory.scale.fill_(8.0)  # so sharp that each cell reads itself
        values = memory.values(maps.frame(0), mask)
        read = memory.read(memory.affinity(maps.keys[1], maps.keys[:1]), values[None])
        logits, carried = memory.decode(read, maps.frame(1).context)
    assert torch.equal(logits, carried)  # the decoder starts at zero
    assert torch.equal(logits > 0, mask > 0)


def test_keys_start_at_the_principal_directions():
    memory = DenseMemory(SETTINGS)
    directions = torch.linalg.qr(torch.randn(14, 14)).Q
    scales = torch.linspace(5, 0.1, 14)
    memory.match.start_from(torch.randn(4000, 14) * scales @ directions.t())
    learned = memory.match.project.weight.flatten(1)
    overlap = (learned @ directions[:, :8]).square().sum()
    assert overlap > 7.5  # of 8: the same subspace


def test_following_learns():
    torch.manual_seed(0)
    memory = DenseMemory(SETTINGS)
    features = backbone_maps(3)
    ids = torch.zeros(3, 64, 96, dtype=torch.uint8)
    ids[:, 16:40, 20:60] = 1
    ids[:, 44:60, 60:90] = 2
    ids[1, 40:, :10] = UNKNOWN
    optimizer = torch.optim.Adam(memory.parameters(), 5e-3)
    history = []
    for _ in range(12):
        clips = [ClipMasks.from_id_map(ids)]
        losses = following_losses(memory, [memory.maps(features)], clips, 0.5, [0.0, 0.2, 0.4])
        total = sum(losses.values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        history.append(float(total.detach()))
    assert set(losses) == {"loss_follow_mask", "loss_follow_dice", "loss_carried_mask", "loss_carried_dice"}
    assert history[-1] < 0.8 * history[0]
    assert all(p.grad is not None for p in memory.parameters())


def test_unknown_pixels_do_not_count():
    logits, targets = torch.randn(1, 4, 4), torch.zeros(1, 4, 4)
    known = torch.zeros(1, 4, 4)
    assert hard_pixel_cross_entropy(logits, targets, known, 0.5) == 0


def test_memory_frames_of_a_training_clip():
    assert remembered(1, 0.9) == [0]
    assert remembered(2, 0.9) == [0, 1]
    assert remembered(5, 0.0) == [0, 1, 4]
    assert remembered(5, 0.99) == [0, 3, 4]
