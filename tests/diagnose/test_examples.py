"""The examples of docs/diagnose.md that need libraries which are not always there."""

import re

import numpy as np
import pytest
from helpers import ROOT

PAGE = (ROOT / "docs" / "diagnose.md").read_text()
LIGHTNING, FLAX = re.findall(r"^```py\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


def test_pytorch_lightning(tmp_path):
    lightning, torch = pytest.importorskip("lightning"), pytest.importorskip("torch")
    space: dict = {}
    exec(LIGHTNING, space)

    class Model(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(16, 8)

        def training_step(self, batch):
            z = self.layer(batch[0]) * torch.tensor([1.0] * 6 + [1e-5] * 2)
            return {"loss": (z**2).mean(), "embeddings": z}

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=1e-3)

    data = torch.utils.data.TensorDataset(torch.randn(256, 16))
    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        callbacks=[space["WatchCollapse"]()],
        default_root_dir=tmp_path,
        enable_progress_bar=False,
        enable_checkpointing=False,
    )
    trainer.fit(Model(), torch.utils.data.DataLoader(data, batch_size=32))
    assert trainer.callback_metrics["collapse/collapsed_dimensions"] == 2


def test_flax():
    pytest.importorskip("flax")
    space: dict = {}
    exec(FLAX, space)
    report = space["monitor"].report()
    assert report.count == 20 * 64
    assert np.isfinite(report.values["rankme"])
