"""VGG-19 of Keras without its top: flatten, one dense softmax layer, Adam, early stopping, best weights kept.

``python examples/vgg19_keras.py photos/ [SOURCE]``

``photos/`` holds a folder for each class, or ``train`` and ``test`` above them.
"""

import sys

import graft

data, source = [*sys.argv[1:], "keras/VGG19?layer=block5_pool&pooling=flatten"][:2]
result = graft.fit(data, source=source, strategy="mlp_head?hidden=0&dropout=0")
print(result.verdict)
result.save("vgg19-model", overwrite=True)
