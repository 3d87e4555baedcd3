"""The tiled search among remembered frames."""

import torch

from univs.inference.dense_bank import BankSettings, DenseBank, ObjectValues
from univs.inference.dense_search import search
from univs.modeling.dense_memory import DenseMemory, DenseMemorySettings


def test_the_best_of_a_row_is_minus_the_squared_distance_to_the_nearest_cell() -> None:
    memory, bank = DenseMemory(DenseMemorySettings(key_dim=8)), DenseBank(BankSettings(window=60))
    remembered, keys = torch.randn(3, 8, 12, 20), torch.randn(8, 12, 20)
    for frame, stored in enumerate(remembered):
        bank.share(frame, stored, torch.zeros(12, 20, 36))
        bank.write(frame, 1, ObjectValues((0, 0, 12, 20), torch.zeros(12, 20, 36)), permanent=frame == 0)
    frames, region = bank.objects[1].frames, (2, 4, 10, 16)
    with torch.inference_mode():
        best = search(memory, bank, keys, {frames: [region]})[frames].rows(region).best
    shown = torch.cat([remembered[frame].flatten(1) for frame, _ in frames], 1)
    distances = torch.cdist(keys[:, 2:10, 4:16].flatten(1).t(), shown.t()).square().amin(1)
    torch.testing.assert_close(best, -memory.scale.exp().detach() * distances, rtol=1e-4, atol=1e-3)
