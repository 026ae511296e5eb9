"""VGG-16 or ResNet-50 with its last layer swapped for your classes, and fine-tuned, as scikit-learn does it.

python examples/swap_the_last_layer.py photos/ [NAME]
"""

import sys

import graft
from graft.sources.torchvision import Torchvision
from graft.strategies.fine_tune import FineTune

data, name = [*sys.argv[1:], "resnet50"][:2]
model = graft.Transfer(Torchvision(name), strategy=FineTune()).fit(data)
print(model.classes_, model.history_.score)
model.save("photos-model", overwrite=True)
