"""Networks of Keras: read without running anything in them, on Keras's torch backend."""
