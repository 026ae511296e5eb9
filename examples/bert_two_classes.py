"""BERT for two classes of text: dropout 0.3, a linear layer, trained as a whole; the best epoch is kept.

``python examples/bert_two_classes.py reviews.csv [SOURCE]``

``reviews.csv`` has a column of texts and one of labels.
"""

import sys

import graft
from graft.strategies.fine_tune import FineTune

data, source = [*sys.argv[1:], "hf/google-bert/bert-base-uncased?pooling=cls"][:2]
strategy = FineTune(epochs=3, lr=2e-5, batch_size=16, dropout=0.3)
result = graft.fit(data, source=source, strategy=strategy)
print(result.verdict)
print(result.model.predict(["a warm and clever film", "two hours that nobody gives back"]))
