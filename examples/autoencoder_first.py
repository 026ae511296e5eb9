"""One hidden layer of 10 units: trained as an autoencoder on all rows first, then on the labelled ones.

python examples/autoencoder_first.py
"""

from sklearn.datasets import load_breast_cancer

import graft
from graft.sources.table import Table
from graft.strategies.pretrain import Pretrain

X, y = load_breast_cancer(return_X_y=True)
source = Table("mlp", hidden=(10,))
for strategy in (Pretrain("autoencoder"), "fine_tune"):
    result = graft.fit((X, y), source=source, strategy=strategy)
    print(result.verdict)
