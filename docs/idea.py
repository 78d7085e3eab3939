"""Draws docs/idea.svg with the library's own functions: what the two samplers do with a few scores.

python docs/idea.py
"""

from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.colors import LinearSegmentedColormap

import bss

SAMPLES, EPOCHS, GROW_EPOCHS = 32, 8, 6
TEXT, UNSEEN = "#1f2933", "#e3e6ea"
# Okabe and Ito's blue and vermilion, which colour-blind readers tell apart, over a light middle that prints in grey.
BALANCE = LinearSegmentedColormap.from_list("balance", ["#0072B2", "#9fc6e0", "#f0d9a8", "#D55E00"])


def made_up_scores(generator: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Similarity and loss of the samples, (N,) each: where the modalities agree, the loss is mostly low."""
    similarity = generator.beta(2.2, 1.3, SAMPLES)
    loss = 0.25 + 2.2 * (1 - similarity) + generator.normal(0, 0.28, SAMPLES).clip(-0.25, 0.6)
    return torch.tensor(similarity), torch.tensor(loss)


def main() -> None:
    """Draw the three panels."""
    similarity, loss = made_up_scores(np.random.default_rng(7))
    difficulty = bss.difficulty(similarity, loss)
    ranking = bss.curriculum_order(difficulty)
    colour = BALANCE(difficulty.numpy() / 2)

    plt.rcParams.update({"font.size": 9, "text.color": TEXT, "axes.edgecolor": "#8794a3", "axes.labelcolor": TEXT})
    plt.rcParams.update({"xtick.color": TEXT, "ytick.color": TEXT, "svg.hashsalt": "bss", "svg.fonttype": "path"})
    figure, (scores, curriculum, paced) = plt.subplots(1, 3, figsize=(10.2, 3.3), width_ratios=[1, 1.25, 1.25])

    scores.scatter(similarity, loss, c=colour, s=34, edgecolors="#5b6775", linewidths=0.5)
    scores.set(xlabel="similarity of the modalities' predictions", ylabel="loss", xticks=[], yticks=[])
    scores.set_title("1  Score every sample", loc="left", fontweight="bold")
    scores.annotate("balanced", (0.62, 0.03), xycoords="axes fraction", ha="right", color="#0072B2", fontweight="bold")
    scores.annotate("imbalanced", (0.16, 0.94), xycoords="axes fraction", color="#B34E00", fontweight="bold")

    for epoch in range(EPOCHS):
        size = int(SAMPLES * bss.root_pacing(epoch, grow_epochs=GROW_EPOCHS))
        order = bss.weighted_order(bss.order_weights(difficulty), seed=3, epoch=epoch)
        cells = np.arange(SAMPLES)
        if size < SAMPLES:
            curriculum.plot([size - 0.2, SAMPLES - 0.6], [epoch + 0.43] * 2, color=UNSEEN, linewidth=1.5)
        curriculum.bar(cells[:size], 0.86, bottom=epoch, width=0.86, color=colour[ranking[:size]])
        paced.bar(cells, 0.86, bottom=epoch, width=0.86, color=colour[order])
    curriculum.set_title("2a  CL: grow the subset", loc="left", fontweight="bold")
    curriculum.set(xlabel="samples, balanced to imbalanced")
    paced.set_title("2b  SPL: draw a weighted order", loc="left", fontweight="bold")
    paced.set(xlabel="position in the epoch's order")
    for panel in (curriculum, paced):
        panel.set(xticks=[], yticks=[0.43, EPOCHS - 0.57], yticklabels=["epoch 1", f"epoch {EPOCHS}"])
        panel.invert_yaxis()
        panel.spines[:].set_visible(False)
        panel.tick_params(length=0)
    scores.spines[["top", "right"]].set_visible(False)
    figure.tight_layout(w_pad=2.2)
    figure.savefig(Path(__file__).with_suffix(".svg"), metadata={"Date": None, "Creator": None}, facecolor="white")


if __name__ == "__main__":
    main()
