"""ResNet-50 as a feature extractor for CIFAR-10, and a linear layer on its features.

``python examples/resnet50_cifar10.py cifar10/ [SOURCE]``

``cifar10/`` holds ``train`` and ``test``, with a folder for each class.  The linear layer is solved for
instead of trained by SGD: the same model, at its optimum.
"""

import sys

import graft

data, source = [*sys.argv[1:], "torchvision/resnet50"][:2]
result = graft.fit(data, source=source, strategy="linear_probe")
print(result.verdict)
print(result.scores)
result.save("cifar10-model", overwrite=True)
