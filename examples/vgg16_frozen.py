"""VGG-16 of Keras, frozen: flatten, a dense layer of 1024 units, one output for two classes.

python examples/vgg16_frozen.py cats_and_dogs/ [SOURCE]
"""

import sys

import graft
from graft.strategies.mlp_head import MLPHead

data, source = [*sys.argv[1:], "keras/VGG16?layer=block5_pool&pooling=flatten"][:2]
result = graft.fit(data, source=source, strategy=MLPHead(hidden=1024))
print(result.verdict)
result.save("cats-and-dogs-model", overwrite=True)
