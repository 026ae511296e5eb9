"""Rows of each modality, read when they are asked for; parts of a dataset are views of it."""

from graft.data.examples.audio import AudioExamples, Recording
from graft.data.examples.image import ImageExamples, Picture
from graft.data.examples.joined import join
from graft.data.examples.table import TableExamples
from graft.data.examples.text import TextExamples

__all__ = ["AudioExamples", "ImageExamples", "Picture", "Recording", "TableExamples", "TextExamples", "join"]
