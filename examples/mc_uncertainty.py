"""Ask a network how sure it is: Monte-Carlo dropout on handwritten digits, clean and with noise.

Run the service (``dropout-service serve``), then ``python examples/mc_uncertainty.py``.
Needs scikit-learn for its data.
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from dropout_client import ClassPrediction, Client

TRAINING_ROWS = 600
NOISE = (0.0, 0.1, 0.2, 0.4, 0.8)  # standard deviations; a pixel is between 0 and 1


def main() -> None:
    """Train on clean digits, then look at the entropy of predictions as noise grows."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    training, rest = order[:TRAINING_ROWS], order[TRAINING_ROWS:]

    with Client() as client:
        model = client.jobs.submit(
            name="digits",
            task="classification",
            data={"x": digits.data[training] / 16, "y": digits.target[training]},
            model={"hidden": [128, 128], "dropout": 0.5, "input_dropout": 0.1},
            epochs=60,
            # All pixels have one scale; dividing a pixel that is almost never set by its tiny deviation would
            # blow up the noise.
            standardize=False,
            seed=1,
        ).result()

        print("noise  accuracy  entropy  from disagreement (nats, means)")
        for noise in NOISE:
            x = digits.data[rest] / 16 + np.random.default_rng(1).normal(scale=noise, size=digits.data[rest].shape)
            prediction = model.predict(x, mc_samples=50, seed=1)
            assert isinstance(prediction, ClassPrediction)  # a classification; tells the type checker
            assert prediction.entropy is not None  # there are samples
            assert prediction.mutual_information is not None
            accuracy = (prediction.classes == digits.target[rest]).mean()
            entropy, disagreement = prediction.entropy.mean(), prediction.mutual_information.mean()
            print(f"{noise:5.1f}  {accuracy:8.1%}  {entropy:7.3f}  {disagreement:17.3f}")


if __name__ == "__main__":
    main()
